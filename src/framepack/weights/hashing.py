"""Content hashes of weight files, remembered so that unchanged files are not read twice."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from platformdirs import user_cache_path

__all__ = [
    "HashCache",
    "git_blob_sha1",
    "hash_folder",
    "identify_folder",
    "sha256_file",
    "write_json",
]

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 4 * 1024 * 1024
_CONTENT_SUFFIXES = frozenset({".safetensors", ".gguf", ".json", ".txt", ".model", ".jinja"})


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def git_blob_sha1(path: Path) -> str:
    """The id under which git, and so the hub, knows a small file. Reads it whole."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class HashCache:
    """SHA-256 by path, valid while a file's size and modification time stay the same.

    Args:
        path: JSON file to remember in; the user's cache folder when None. A file that cannot
            be read or written only costs time.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or user_cache_path("framepack", appauthor=False) / "hashes.json"
        self._entries = self._read()

    def sha256(self, path: Path) -> str:
        """Hexadecimal SHA-256 of ``path``, from memory when the file has not changed."""
        real = path.resolve()
        stat = real.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = self._entries.get(str(real))
        if entry is not None and entry[:2] == stamp:
            return str(entry[2])
        digest = sha256_file(real)
        self._entries[str(real)] = [*stamp, digest]
        self._write()
        return digest

    def known(self, path: Path) -> str | None:
        """The same if it is remembered; nothing is read."""
        real = path.resolve()
        stat = real.stat()
        entry = self._entries.get(str(real))
        return str(entry[2]) if entry and entry[:2] == [stat.st_size, stat.st_mtime_ns] else None

    def renew(self, path: Path) -> str:
        """The same, read from disk whatever is remembered."""
        self._entries.pop(str(path.resolve()), None)
        return self.sha256(path)

    def _read(self) -> dict[str, list[int | str]]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {key: row for key, row in entries.items() if isinstance(row, list) and len(row) == 3}

    def _write(self) -> None:
        try:
            write_json(self._path, self._entries)
        except OSError as error:
            logger.debug("hashes are not remembered in %s: %s", self._path, error)


def hash_folder(folder: Path, cache: HashCache | None = None) -> str:
    """One SHA-256 for a component: its weights, config and vocabulary, by name and content.

    Files whose names start with a dot, and files of other kinds (READMEs), do not count.

    Args:
        folder: the component's folder; subfolders are other components and are left out.
        cache: memory for the files' hashes; the user's own when None.

    Returns:
        64 hexadecimal digits, the same on every machine.
    """
    cache = cache or HashCache()
    digest = hashlib.sha256()
    for path in _content_files(folder.iterdir()):
        digest.update(f"{path.name}\0{cache.sha256(path)}\n".encode())
    return digest.hexdigest()


def identify_folder(folder: Path, cache: HashCache | None = None) -> str:
    """What tells a component from others without reading its weights.

    Files whose hashes are remembered count by content, others by path, size and time.

    Args:
        folder, cache: as for :func:`hash_folder`.

    Returns:
        64 hexadecimal digits.
    """
    cache = cache or HashCache()
    digest = hashlib.sha256()
    for path in _content_files(folder.iterdir()):
        stat = path.stat()
        file = cache.known(path) or f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        digest.update(f"{path.name}\0{file}\n".encode())
    return digest.hexdigest()


def write_json(path: Path, document: object) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1, sort_keys=True)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)  # gone already once it has taken its place


def _content_files(entries: Iterable[Path]) -> list[Path]:
    found = [
        path
        for path in entries
        if path.suffix.lower() in _CONTENT_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    return sorted(found, key=lambda path: path.name)
