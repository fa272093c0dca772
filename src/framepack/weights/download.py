"""Fetch a model's files from the Hugging Face hub, with consent, resumable and verified.

Only this module uses the network, and only when it is called. Every file is compared with the
checksum that the hub states; the checksums are kept beside the files, so that ``verify`` can
repeat the comparison without the network.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import huggingface_hub.utils
from huggingface_hub import HfApi, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from framepack.domain.errors import CheckpointError, FramePackError
from framepack.domain.settings import Settings
from framepack.models.parts import ComponentSource, ModelSpec
from framepack.weights.consent import require_licence
from framepack.weights.hashing import HashCache, git_blob_sha1, write_json
from framepack.weights.locate import candidate_roots, locate_all, read_json

__all__ = [
    "MANIFEST_NAME",
    "DownloadProgress",
    "DownloadReport",
    "RemoteFile",
    "download",
    "verify",
    "wanted_files",
]

logger = logging.getLogger(__name__)

MANIFEST_NAME = ".framepack-manifest.json"
"""Checksums of a repository's files, kept in the folder that holds them."""

_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
_CHUNK_BYTES = 1024 * 1024
_TIMEOUT_S = 30
_ATTEMPTS = 5
_MARGIN_BYTES = 512 * 2**20
# The hub client's own HTTP library differs between its versions; its errors share these bases.
_HUB_ERRORS: tuple[type[Exception], ...] = HfHubHTTPError.__bases__


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a hub repository.

    Attributes:
        repo: ``owner/name``.
        path: inside the repository, ``/`` between levels.
        num_bytes: its size.
        sha256: checksum of a large (LFS) file, else None.
        git_id: git blob id of a small one.
    """

    repo: str
    path: str
    num_bytes: int
    sha256: str | None
    git_id: str


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far a download is; counts all files of the model, present ones as done.

    Attributes:
        file: ``owner/name/path`` being fetched or checked.
        done_bytes, total_bytes: over all files.
        stage: what is happening to the file.
    """

    file: str
    done_bytes: int
    total_bytes: int
    stage: str


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """What a download or a verification did.

    Attributes:
        folders: repository to the folder that holds its files.
        num_files: files compared with their checksums.
        fetched_bytes: bytes that came over the network.
    """

    folders: dict[str, Path]
    num_files: int
    fetched_bytes: int


Progress = Callable[[DownloadProgress], None]


def download(
    spec: ModelSpec,
    settings: Settings,
    progress: Progress | None = None,
    *,
    endpoint: str | None = None,
) -> DownloadReport:
    """Fetch all files of a model that are not here yet, and check every one.

    A stopped download goes on where it was, inside a file too. Files go to
    ``<models_dir>/<owner>/<repo>`` where a models folder is set, else to the hub cache.

    Args:
        spec: the model; one without hub repositories needs nothing.
        settings: where to put files; offline mode; consent to the licence.
        progress: told of every megabyte.
        endpoint: another hub, for mirrors.

    Raises:
        LicenceNotAccepted: the licence was not accepted; the text says how.
        MissingWeights: offline mode, and something is missing.
        CheckpointError: a file differs from its checksum even after a second attempt.
        FramePackError: the hub cannot be reached or refuses, or the disk is too small.
    """
    if settings.offline:
        locate_all(spec, settings)
        return verify(spec, settings)
    if spec.repos:
        require_licence(spec.licence, settings)
    with _hub_errors_explained():
        plans = [_plan_repo(repo, spec, endpoint) for repo in spec.repos]
        total = sum(file.num_bytes for plan in plans for file in plan.files)
        _check_disk(plans, settings, total)
        tally = _Tally(progress or (lambda _: None), total)
        folders = {plan.repo: _fetch_repo(plan, settings, tally, endpoint) for plan in plans}
    num_files = sum(len(plan.files) for plan in plans)
    return DownloadReport(folders, num_files, tally.fetched_bytes)


def verify(spec: ModelSpec, settings: Settings, progress: Progress | None = None) -> DownloadReport:
    """Compare every file of a model that was downloaded with its kept checksum; no network.

    Raises:
        CheckpointError: files changed, or are missing; names them.
    """
    checked: list[tuple[Path, str, dict[str, Any]]] = []
    folders: dict[str, Path] = {}
    for repo in spec.repos:
        for root in candidate_roots(repo, settings):
            if (root / MANIFEST_NAME).is_file():
                folders[repo] = root
                files: Any = read_json(root / MANIFEST_NAME).get("files", {})
                checked += [(root, name, entry) for name, entry in files.items()]
                break
    tally = _Tally(progress or (lambda _: None), sum(e["num_bytes"] for _, _, e in checked))
    cache = HashCache()
    damaged = []
    for root, name, entry in checked:
        path = root / name
        tally.show(str(path), "checking")
        if not path.is_file():
            damaged.append(f"{path} is missing")
        elif path.stat().st_size != entry["num_bytes"] or cache.renew(path) != entry["sha256"]:
            damaged.append(f"{path} differs from what was downloaded")
        tally.add(entry["num_bytes"], str(path), "checking")
    if damaged:
        raise CheckpointError(
            f"{'; '.join(damaged)}. `framepack models download {spec.key}` fetches them again"
        )
    return DownloadReport(folders, len(checked), 0)


def wanted_files(files: list[RemoteFile], sources: list[ComponentSource]) -> list[RemoteFile]:
    """Of a repository's files, those that the components need: weights, configs, vocabularies.

    Pickle files, READMEs, and safetensors copies beside an indexed or plain original are left.
    """
    folders = {source.subfolder for source in sources}
    here = [
        file
        for file in files
        if _parent(file.path) in folders and PurePosixPath(file.path).suffix in _SUFFIXES
    ]
    return [file for file in here if not _is_variant(file.path)]


@dataclass(frozen=True, slots=True)
class _RepoPlan:
    repo: str
    revision: str
    files: list[RemoteFile]


class _Tally:
    """Sums the bytes of all files for the progress callback."""

    def __init__(self, report: Progress, total_bytes: int) -> None:
        self._report = report
        self._total = total_bytes
        self._done = 0
        self.fetched_bytes = 0

    def show(self, file: str, stage: str, partial_bytes: int = 0) -> None:
        self._report(DownloadProgress(file, self._done + partial_bytes, self._total, stage))

    def add(self, num_bytes: int, file: str, stage: str) -> None:
        self._done += num_bytes
        self.show(file, stage)


@contextmanager
def _hub_errors_explained() -> Iterator[None]:
    """Turn what the hub client raises into one line."""
    try:
        yield
    except _HUB_ERRORS as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FramePackError(
            f"the download stopped: {first}. Check the connection and access to the repository, "
            "then repeat it; what has arrived is kept"
        ) from error


def _plan_repo(repo: str, spec: ModelSpec, endpoint: str | None) -> _RepoPlan:
    """Ask the hub what a repository holds now."""
    api = HfApi(endpoint=endpoint)
    revision = api.model_info(repo).sha
    if revision is None:
        raise FramePackError(f"{repo} has no revision on the hub; try again later")
    listed = []
    for entry in api.list_repo_tree(repo, recursive=True, revision=revision):
        if not isinstance(entry, RepoFile):
            continue  # a folder
        lfs = entry.lfs
        listed.append(
            RemoteFile(repo, entry.path, entry.size, lfs.sha256 if lfs else None, entry.blob_id)
        )
    sources = [source for source in spec.sources.values() if source.repo == repo]
    files = wanted_files(listed, sources)
    for source in sources:
        if not any(_parent(file.path) == source.subfolder for file in files):
            raise FramePackError(
                f"{source} holds no safetensors, config or vocabulary; name another source"
            )
    return _RepoPlan(repo, revision, sorted(files, key=lambda file: file.path))


def _fetch_repo(plan: _RepoPlan, settings: Settings, tally: _Tally, endpoint: str | None) -> Path:
    """Fetch a repository's wanted files; return the folder that holds them."""
    root = _root(plan, settings)
    cache = HashCache()
    entries: dict[str, dict[str, object]] = {}
    for file in plan.files:
        path = root / file.path
        shown = f"{file.repo}/{file.path}"
        tally.show(shown, "checking")
        if not _matches(path, file, cache):
            _discard(path)
            _fetch(file, plan, settings, tally, endpoint)
            tally.show(shown, "checking", file.num_bytes)
            if not _matches(path, file, cache):
                _refetch(file, path, plan, settings, tally, endpoint, cache)
        entries[file.path] = {"num_bytes": file.num_bytes, "sha256": cache.sha256(path)}
        tally.add(file.num_bytes, shown, "checking")
    manifest = {"version": 1, "repo": plan.repo, "revision": plan.revision}
    # Another model may have taken other folders of the same repository before.
    known = read_json(root / MANIFEST_NAME) if (root / MANIFEST_NAME).is_file() else {}
    if known.get("revision") == plan.revision and isinstance(known.get("files"), dict):
        entries = {**dict(known["files"]), **entries}  # type: ignore[call-overload]
    write_json(root / MANIFEST_NAME, manifest | {"files": entries})
    return root


def _refetch(
    file: RemoteFile,
    path: Path,
    plan: _RepoPlan,
    settings: Settings,
    tally: _Tally,
    endpoint: str | None,
    cache: HashCache,
) -> None:
    """Second and last attempt for a file that arrived damaged."""
    logger.warning("%s differs from the hub's checksum; fetching it again", path)
    _discard(path)
    _fetch(file, plan, settings, tally, endpoint)
    if not _matches(path, file, cache):
        found = cache.sha256(path) if file.sha256 else git_blob_sha1(path)
        _discard(path)
        raise CheckpointError(
            f"{file.repo}/{file.path} arrived damaged twice: checksum {found}, the hub states "
            f"{file.sha256 or file.git_id}. Check the connection (a proxy may change files) and "
            "try again"
        )


def _fetch(
    file: RemoteFile,
    plan: _RepoPlan,
    settings: Settings,
    tally: _Tally,
    endpoint: str | None,
) -> None:
    """Get one file into place, large ones piece by piece."""
    if file.sha256 is not None:
        _fetch_large(file, plan, settings, tally, endpoint)
    else:
        tally.fetched_bytes += file.num_bytes
    # Small files come this way; a large one is found in place, checked and entered in the cache.
    found = Path(
        hf_hub_download(
            file.repo,
            file.path,
            revision=plan.revision,
            endpoint=endpoint,
            cache_dir=settings.hub_cache,
            local_dir=settings.models_dir / file.repo if settings.models_dir else None,
        )
    )
    blob = _blob(file, settings)
    if blob is not None and blob.is_file() and not found.is_symlink():
        blob.replace(found)  # Windows without symbolic links: the cache has made a copy


def _fetch_large(
    file: RemoteFile,
    plan: _RepoPlan,
    settings: Settings,
    tally: _Tally,
    endpoint: str | None,
) -> None:
    """Continue or begin a large file. The hub client itself would begin again after a stop."""
    models_dir = settings.models_dir
    target = _blob(file, settings) or (models_dir or Path()) / file.repo / file.path
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    url = hf_hub_url(file.repo, file.path, revision=plan.revision, endpoint=endpoint)
    for attempt in range(1, _ATTEMPTS + 1):
        before = _size(part)
        try:
            _append_from(url, part, file, tally)
            if _size(part) == file.num_bytes:
                part.replace(target)
                return
        except _HUB_ERRORS as error:
            status = getattr(getattr(error, "response", None), "status_code", 0)
            if attempt == _ATTEMPTS or 400 <= status < 500:
                raise
            logger.warning("%s stopped at %d bytes: %s", url, _size(part), error)
        if _size(part) <= before:
            time.sleep(min(2**attempt, 10))
    raise FramePackError(
        f"{file.repo}/{file.path} stopped at {_size(part)} of {file.num_bytes} bytes; "
        "repeat the download, it goes on from there"
    )


def _append_from(url: str, part: Path, file: RemoteFile, tally: _Tally) -> None:
    """Ask for what is missing of ``part`` and append it."""
    if _size(part) > file.num_bytes:
        part.unlink()
    hub: Any = huggingface_hub.utils
    headers: dict[str, str] = dict(hub.build_hf_headers())
    # Compressed transfer would make byte positions meaningless.
    headers |= {"Accept-Encoding": "identity", "Range": f"bytes={_size(part)}-"}
    if not _size(part):
        del headers["Range"]
    if _size(part) == file.num_bytes:
        return
    shown = f"{file.repo}/{file.path}"
    with hub.get_session().stream(
        "GET", url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=True
    ) as response:
        hub.hf_raise_for_status(response)
        resumes = response.status_code == 206
        with part.open("ab" if resumes else "wb") as stream:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                stream.write(chunk)
                tally.fetched_bytes += len(chunk)
                tally.show(shown, "fetching", min(stream.tell(), file.num_bytes))


def _matches(path: Path, file: RemoteFile, cache: HashCache) -> bool:
    if not path.is_file() or path.stat().st_size != file.num_bytes:
        return False
    if file.sha256 is not None:
        return cache.sha256(path) == file.sha256
    return git_blob_sha1(path) == file.git_id


def _discard(path: Path) -> None:
    """Remove a file, and what it points to in the hub cache."""
    target = path.resolve()
    path.unlink(missing_ok=True)
    target.unlink(missing_ok=True)


def _blob(file: RemoteFile, settings: Settings) -> Path | None:
    """Where the hub cache keeps a large file's content; None in a models folder."""
    if settings.models_dir is not None or file.sha256 is None:
        return None
    return _storage(file.repo, settings) / "blobs" / file.sha256


def _root(plan: _RepoPlan, settings: Settings) -> Path:
    if settings.models_dir is not None:
        return settings.models_dir / plan.repo
    return _storage(plan.repo, settings) / "snapshots" / plan.revision


def _storage(repo: str, settings: Settings) -> Path:
    return settings.hub_cache / f"models--{repo.replace('/', '--')}"


def _check_disk(plans: list[_RepoPlan], settings: Settings, total_bytes: int) -> None:
    """Fail before the first byte when the disk cannot hold what is missing."""
    present = sum(
        file.num_bytes
        for plan in plans
        for file in plan.files
        if _size(_root(plan, settings) / file.path) == file.num_bytes
    )
    target = settings.models_dir or settings.hub_cache
    existing = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    needed = total_bytes - present + _MARGIN_BYTES if present < total_bytes else 0
    if needed > free:
        raise FramePackError(
            f"the download needs {needed / 1e9:.1f} GB on {existing}, {free / 1e9:.1f} GB are "
            "free; free some, or set LOCAL_MODELS_DIR to a folder on a larger disk"
        )


def _is_variant(path: str) -> bool:
    """Whether a safetensors file is a copy in another number format, like model.fp16."""
    name = PurePosixPath(path).name
    return name.endswith((".safetensors", ".safetensors.index.json")) and any(
        mark in name.split(".") for mark in ("fp16", "bf16", "fp8", "non_ema")
    )


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
