"""Find a model's files on this machine. Never uses the network and never imports torch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from framepack.domain.errors import CheckpointError, InvalidRequest, MissingWeights
from framepack.domain.settings import Settings
from framepack.models.parts import COMPONENTS, ComponentSource, ModelSpec
from framepack.models.spec import PRESETS

__all__ = [
    "WeightFiles",
    "are_weights_present",
    "candidate_roots",
    "find_weight_files",
    "locate",
    "locate_all",
    "read_json",
]

_NETWORKS = frozenset({"transformer", "vae", "text_encoder", "text_encoder_2", "image_encoder"})
_BASE_NAMES = ("diffusion_pytorch_model", "model")
_GGUF = ".gguf"
_UNSAFE_SUFFIXES = (".pth", ".pt", ".pkl", ".ckpt", ".bin")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The safetensors files of one network, or the GGUF file of a transformer.

    Attributes:
        files: one file, or every shard, in the order of their names.
        weight_map: tensor name to shard name, from the index; None for a single file.
    """

    files: tuple[Path, ...]
    weight_map: Mapping[str, str] | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.files)


def locate(spec: ModelSpec, component: str, settings: Settings) -> Path:
    """Folder that holds all files of one component.

    Searched in this order: the source's own folder, ``<models_dir>/<owner>/<repo>``, the hub
    cache.

    Raises:
        MissingWeights: nowhere complete; says what is missing and how to get it.
        CheckpointError: only files that can run code when they are read are there.
    """
    folder, problem = _search(spec.sources[component], component, settings)
    if folder is None:
        raise MissingWeights(_advice(spec, {component: problem}, settings))
    return folder


def locate_all(spec: ModelSpec, settings: Settings) -> dict[str, Path]:
    """Folder of every component, by name.

    Raises:
        MissingWeights: at least one is not complete; one message names them all.
        CheckpointError: as for ``locate``.
    """
    found: dict[str, Path] = {}
    problems: dict[str, str] = {}
    for component in COMPONENTS:
        folder, problem = _search(spec.sources[component], component, settings)
        if folder is None:
            problems[component] = problem
        else:
            found[component] = folder
    if problems:
        error = MissingWeights(_advice(spec, problems, settings))
        if not any(spec.sources[component].repo for component in problems):
            error.exit_code = InvalidRequest.exit_code  # a recipe that names folders in vain
        raise error
    return found


def are_weights_present(spec: ModelSpec, settings: Settings) -> bool:
    """Whether every component is complete on this machine."""
    try:
        locate_all(spec, settings)
    except (MissingWeights, CheckpointError):
        return False
    return True


def find_weight_files(folder: Path) -> WeightFiles:
    """List the safetensors files of the network in ``folder``, or its one GGUF file.

    Raises:
        CheckpointError: the index is damaged, several files stand there without one, or there
            are only pickle files, which are refused because reading them can run code.
        MissingWeights: nothing is there, or a shard is missing.
    """
    for base in _BASE_NAMES:
        index = folder / f"{base}.safetensors.index.json"
        if index.is_file():
            return _sharded(index)
    found = sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("."))
    if not found:
        gguf = _gguf_files(folder)
        if len(gguf) == 1:
            return WeightFiles((gguf[0],))
        raise _nothing_usable(folder)
    # A half-precision copy (model.fp16.safetensors) may stand beside the file it was made from.
    chosen = [path for path in found if path.stem in _BASE_NAMES] or found
    if len(chosen) == 1:
        return WeightFiles((chosen[0],))
    raise CheckpointError(
        f"{folder} holds {', '.join(path.name for path in found)} without an index; needed: one "
        "safetensors file, or shards with their *.safetensors.index.json (copy it there as well)"
    )


def candidate_roots(repo: str, settings: Settings) -> Iterator[Path]:
    """Folders that may hold a hub repository's files, most wanted first; they all exist."""
    if settings.models_dir is not None:
        own = settings.models_dir / repo
        if own.is_dir():
            yield own
    storage = settings.hub_cache / f"models--{repo.replace('/', '--')}"
    snapshots = storage / "snapshots"
    if not snapshots.is_dir():
        return
    reference = storage / "refs" / "main"
    current = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
    revisions = [path for path in snapshots.iterdir() if path.is_dir()]
    yield from sorted(
        revisions, key=lambda path: (path.name != current, -path.stat().st_mtime_ns, path.name)
    )


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file cannot be read or is not a JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; fetch the file again") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch the file again")
    return document


def _search(source: ComponentSource, component: str, settings: Settings) -> tuple[Path | None, str]:
    """The first complete folder, or None and what is wrong with the most wanted one."""
    path = source.path
    if path is not None and path.suffix.lower() == _GGUF and not path.is_dir():
        problem = _why_not_gguf(path, component)
        return (None, problem) if problem else (path.parent, "")
    if source.path is not None:
        folders = [source.path]
    else:
        roots = candidate_roots(str(source.repo), settings)
        folders = [root / source.subfolder for root in roots]
    problems = []
    for folder in folders:
        problem = _what_is_missing(folder, component)
        if problem is None:
            return folder, ""
        problems.append(problem)
    return None, problems[0] if problems else "not on this machine"


def _what_is_missing(folder: Path, component: str) -> str | None:
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if component == "feature_extractor":
        wanted: tuple[str, ...] = ("preprocessor_config.json",)
    elif component in _NETWORKS:
        wanted = ("config.json",)
    else:
        wanted = _TOKENIZER_FILES
    if not any((folder / name).is_file() for name in wanted):
        return f"{folder} has no {' or '.join(wanted)}"
    if component in _NETWORKS:
        try:
            files = find_weight_files(folder)
        except MissingWeights as error:
            return str(error)
        if component != "transformer" and files.files[0].suffix.lower() == _GGUF:
            return f"{folder} has a GGUF file, which only the transformer is read from"
    return None


def _gguf_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() == _GGUF)


def _why_not_gguf(path: Path, component: str) -> str | None:
    """What is wrong with a GGUF file that a component is to be read from; None if nothing is.

    Its folder stands for it from here on, so nothing else may be there to be read instead.
    """
    if component != "transformer":
        return f"{path} is a GGUF file, which only the transformer is read from"
    if not path.is_file():
        return f"there is no file {path}"
    if not (path.parent / "config.json").is_file():
        return f"{path} needs the config.json of the transformer it was made from beside it"
    others = {*_gguf_files(path.parent), *path.parent.glob("*.safetensors*")} - {path}
    if others:
        return (
            f"{path} stands beside {', '.join(sorted(each.name for each in others))}; put it with "
            "its config.json into a folder of its own"
        )
    return None


def _sharded(index: Path) -> WeightFiles:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; fetch the file again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{index} names the shard {name!r}; needed: safetensors files beside the index"
            )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise MissingWeights(
            f"{index.parent} has {len(names) - len(missing)} of {len(names)} weight files; "
            f"missing: {', '.join(missing)}"
        )
    return WeightFiles(tuple(index.parent / name for name in names), weight_map)


def _nothing_usable(folder: Path) -> MissingWeights | CheckpointError:
    unsafe = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in _UNSAFE_SUFFIXES)
    if unsafe:
        return CheckpointError(
            f"{folder} holds {', '.join(unsafe)}: such pickle files can run any code when they "
            "are read and are refused; needed: the same weights as .safetensors, which most "
            "publishers offer beside them"
        )
    if gguf := _gguf_files(folder):
        return CheckpointError(
            f"{folder} holds {', '.join(path.name for path in gguf)}; needed: one GGUF file, with "
            "its config.json, in a folder of its own"
        )
    return MissingWeights(f"{folder} has no .safetensors file")


def _advice(spec: ModelSpec, problems: Mapping[str, str], settings: Settings) -> str:
    listed = "; ".join(
        f"{', '.join(names)}: {problem}" for problem, names in _by_problem(problems).items()
    )
    text = f"weights of {spec.title} ({spec.key}) are missing: {listed}."
    repos = dict.fromkeys(spec.sources[name].repo for name in problems)
    if all(repo is not None for repo in repos):
        pages = ", ".join(f"https://huggingface.co/{repo}" for repo in repos)
        offline = " (offline is set: unset it first)" if settings.offline else ""
        return (
            f"{text} They come from {pages}; `framepack models download {spec.key}` gets them"
            f"{offline}; `--model tiny` needs none"
        )
    if spec.is_packaged and spec == PRESETS.get(spec.key):
        return f"{text} They are part of the package; install framepack-studio again"
    if spec.is_packaged:
        return (
            f"{text} Folders of the package hold the parts of its own model only; name other "
            f"folders in the recipe, or leave these parts out to take those of its base, "
            f"{spec.base}"
        )
    return f"{text} Put the files there, or name another folder or repository for them"


def _by_problem(problems: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for component, problem in problems.items():
        grouped.setdefault(problem, []).append(component)
    return grouped
