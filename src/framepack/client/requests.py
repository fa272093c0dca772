"""What a caller asks for, as the server takes it: which values are files, and what is JSON."""

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

from framepack.client.calls import File, Source
from framepack.domain.errors import InvalidRequest
from framepack.domain.timeline import CueKind, read_cues

__all__ = ["FILE_FIELDS", "Draft"]

FILE_FIELDS = ("image", "end_image", "video", "extend", "audio")
"""Fields that stand for a file of the caller."""

_ON_SERVER = re.compile(r"(upload|video)_[0-9a-f]{24}|data:.*", re.DOTALL)
_CUES: dict[str, CueKind] = {
    "section_images": "image",
    "section_prompts": "prompt",
    "section_seeds": "seed",
    "section_loras": "loras",
}


class Draft:
    """A request whose files are still with the caller.

    Args:
        fields: of ``GenerationRequest``, ``JobOptions`` and the server. A file is a path, bytes,
            the id of an upload, or, where a video is needed, of a finished video.

    Attributes:
        files: what must be sent ahead, each once.

    Raises:
        InvalidRequest: a file is not there.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.files: dict[bytes | Path, File] = {}
        self._fields = {name: value for name, value in fields.items() if value is not None}
        for name in FILE_FIELDS:
            if name in self._fields:
                self._note(self._fields[name], name)
        for name in _CUES.keys() & self._fields.keys():
            cues = self._fields[name] = _cues(self._fields[name], name)
            for cue in cues:
                if "image" in cue:
                    self._note(cue["image"], name)

    def body(self, ids: Mapping[bytes | Path, str]) -> dict[str, Any]:
        """The request with uploads in place of files.

        Args:
            ids: of the uploads, by the files' keys.
        """
        body = {name: _plain(value) for name, value in self._fields.items()}
        for name in FILE_FIELDS:
            if name in self._fields:
                body[name] = _named(self._fields[name], ids)
        for name in _CUES.keys() & self._fields.keys():
            body[name] = [
                {**cue, "image": _named(cue["image"], ids)} if "image" in cue else cue
                for cue in self._fields[name]
            ]
        return body

    def _note(self, source: Any, field: str) -> None:
        if not isinstance(source, (str, PathLike, bytes)):
            raise InvalidRequest(f"{field} is {source!r:.60}; needed is a path, or bytes")
        if not _is_there(source):
            name = field if isinstance(source, bytes) else None
            self.files[_key(source)] = File.of(source, name)


def _cues(value: Any, name: str) -> list[dict[str, Any]]:
    try:
        cues = read_cues(value, _CUES[name])
    except ValueError as error:
        raise InvalidRequest(f"{name} cannot be read: {error}") from error
    return [cue.model_dump(mode="json", exclude_none=True) for cue in cues]


def _is_there(source: Source) -> bool:
    return isinstance(source, str) and _ON_SERVER.fullmatch(source) is not None


def _named(source: Source, ids: Mapping[bytes | Path, str]) -> str:
    return str(source) if _is_there(source) else ids[_key(source)]


def _key(source: Source) -> bytes | Path:
    """A path is the same file however it is given."""
    return source if isinstance(source, bytes) else Path(source)


def _plain(value: Any) -> Any:
    """Values that JSON knows."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value
