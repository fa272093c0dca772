"""Files that come with a request, and where a job keeps them."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.media.files import shown
from framepack.service.records import StoreFull

__all__ = [
    "PICTURES",
    "SECTION_FILES",
    "VIDEOS",
    "Input",
    "link_or_copy",
    "named_files",
    "store_inputs",
]

PICTURES = ("image", "end_image")
"""Fields of a request that name a picture."""
VIDEOS = ("extend", "video")
"""Fields of a request that name a video."""
SECTION_FILES = ("section_images", "section_prompts")
"""Fields of a request whose entries may name a picture."""

_SUFFIXES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\x00": ".tiff",
    b"MM\x00*": ".tiff",
}


@dataclass(frozen=True, slots=True)
class Input:
    """A file that came with a request.

    Attributes:
        path: where it lies now.
        name: as the sender calls it, for messages.
        is_ours: it may be moved away; otherwise it is copied, or linked where the disk can.
    """

    path: Path
    name: str
    is_ours: bool = False


def store_inputs(inputs: Mapping[str, Input], folder: Path) -> dict[str, Path]:
    """Put files into a job's folder under names of ours.

    Args:
        inputs: by the field of the request that they are for, or any word that an entry of
            ``section_images`` names.
        folder: where they go.

    Returns:
        Their absolute paths, by the same words.

    Raises:
        InvalidRequest: one is gone.
        StoreFull: no space is left.
    """
    stored = {}
    for number, (word, given) in enumerate(inputs.items()):
        base = word if word.isidentifier() else f"file-{number}"
        target = folder / f"{base}{_suffix(given.path)}"
        try:
            if given.is_ours:
                shutil.move(given.path, target)
            else:
                link_or_copy(given.path, target)
        except FileNotFoundError as error:
            raise InvalidRequest(f"file {shown(given.name)} is gone; send it again") from error
        except OSError as error:
            raise StoreFull(
                f"file {shown(given.name)} cannot be kept: {error.strerror}; free some space"
            ) from error
        stored[word] = target.absolute()
    return stored


def named_files(fields: Mapping[str, Any], stored: Mapping[str, Path]) -> dict[str, Any]:
    """Fields of a request with the paths of stored files in the place of their words.

    Args:
        fields: of a request; those that name files, where they are given, name a stored one.
        stored: by word, see :func:`store_inputs`.

    Raises:
        InvalidRequest: a file is named that did not come with the request.
    """
    known = {name: value for name, value in fields.items() if name not in (*PICTURES, *VIDEOS)}
    for name in (*PICTURES, *VIDEOS):
        asked = fields.get(name)
        if asked is not None and str(asked) not in stored:
            raise _not_sent(name, asked)
        if asked is not None or name in stored:
            known[name] = stored[str(asked) if asked is not None else name]
    for name in SECTION_FILES:
        if name in fields:
            known[name] = _cues(name, fields[name], stored)
    return known


def _cues(name: str, value: Any, stored: Mapping[str, Path]) -> Any:
    """Entries for sections; mappings may have a picture, texts of ``section_images`` are one."""
    if isinstance(value, Mapping):
        return {key: _cue(name, entry, stored) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_cue(name, entry, stored) for entry in value]
    if name == "section_images" and value not in (None, ""):
        raise InvalidRequest(
            "section_images is a text; give a list of uploads or of data URLs, or an object that "
            "leads from section numbers to them"
        )
    return value


def _cue(name: str, entry: Any, stored: Mapping[str, Path]) -> Any:
    if isinstance(entry, Mapping) and entry.get("image") is not None:
        return {**entry, "image": _stored(name, entry["image"], stored)}
    if isinstance(entry, str) and name == "section_images":
        return str(_stored(name, entry, stored))
    return entry


def _stored(name: str, word: Any, stored: Mapping[str, Path]) -> Path:
    if str(word) not in stored:
        raise _not_sent(name, word)
    return stored[str(word)]


def _not_sent(name: str, word: object) -> InvalidRequest:
    text = str(word)
    found = repr(text) if len(text) <= 60 else f"{text[:40]!r}... ({len(text)} characters)"
    return InvalidRequest(
        f"{name} is {found}, which is no file that came with the request; send the file itself, "
        "a data URL, or the id of an upload"
    )


def link_or_copy(source: Path, target: Path) -> None:
    """Inputs are never changed, so one copy on the disk serves several jobs."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _suffix(path: Path) -> str:
    """Decoders go by what is in a file; the suffix is for people who look into the folder."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if head[4:8] == b"ftyp":
        return ".avif" if head[8:12] in (b"avif", b"avis") else ".mp4"
    if head[:4] == b"\x1aE\xdf\xa3":
        return ".mkv"
    if head[4:9] == b"\0\0\0\0{":
        return ".safetensors"
    return next((suffix for magic, suffix in _SUFFIXES.items() if head.startswith(magic)), "")
