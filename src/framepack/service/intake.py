"""Files that strangers send: what they are is settled before a decoder sees them.

First the bytes at the start, so that only the kinds listed here go on: no playlists, no lists of
other files, no pictures made of programs. Then the size that the header announces. Then pictures
are decoded once, and videos and sound in a process of their own, with limits on its memory and
time: decoders of video have crashed and hung on damaged files, and the server must not.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from framepack.domain.errors import InvalidRequest
from framepack.media.files import check_readable, shown
from framepack.media.images import image_size
from framepack.service.inputs import VIDEOS

__all__ = ["Kind", "check_file", "check_inputs", "kinds_of"]

Kind = Literal["picture", "video", "sound", "tensors"]

_HEAD = 4096
_PROBE_S = 60.0
_ANIMATION_PIXELS = 2_000_000_000
"""Pixels of all frames of a repeating picture, which is decoded whole."""

_PICTURES = (
    rb"\x89PNG\r\n\x1a\n",
    rb"\xff\xd8\xff",
    rb"GIF8[79]a",
    rb"RIFF....WEBP",
    rb"BM",
    rb"II\*\x00",
    rb"MM\x00\*",
    rb"....ftyp(?:avif|avis|mif1)",
    rb"P[1-6]\s",
    rb"\x00\x00\x00\x0cjP  \r\n\x87\n",
    rb"\xff\x4f\xff\x51",
)
_VIDEOS = (
    rb"....ftyp(?:isom|iso[2-9]|mp4[12]|mp42|M4V |M4VH|avc1|qt  |dash|msdh|3g[pe2].|f4v |mmp4)",
    rb"....(?:moov|mdat|wide|free|skip).*",
    rb"\x1a\x45\xdf\xa3",
    rb"RIFF....AVI ",
    rb"GIF8[79]a",
    rb"RIFF....WEBP",
    rb"FLV\x01",
)
_SOUNDS = (
    rb"ID3",
    rb"\xff[\xe2-\xff]",
    rb"fLaC",
    rb"OggS",
    rb"RIFF....WAVE",
    rb"FORM....AIF[FC]",
    rb"....ftyp(?:M4A |M4B |isom|mp42|mp41|iso[2-9])",
    *_VIDEOS,
)
_TENSORS = (
    rb"....\x00\x00\x00\x00\{",  # safetensors: the length of its header, then the header
)
_STARTS: Mapping[Kind, tuple[bytes, ...]] = {
    "picture": _PICTURES,
    "video": _VIDEOS,
    "sound": _SOUNDS,
    "tensors": _TENSORS,
}
_KNOWN: Mapping[Kind, re.Pattern[bytes]] = {
    kind: re.compile(b"|".join(starts), re.DOTALL) for kind, starts in _STARTS.items()
}
_NAMES: Mapping[Kind, str] = {
    "picture": "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM",
    "video": "MP4, MOV, MKV, WebM, AVI, FLV, GIF or WebP",
    "sound": "MP3, M4A, FLAC, Ogg, WAV, AIFF or a video",
    "tensors": "safetensors",
}


def check_inputs(stored: Mapping[str, Path], *, max_pixels: int) -> None:
    """Check files of a request.

    Args:
        stored: by the field that they are for, or another word, which is a picture's.
        max_pixels: of one picture or frame.

    Raises:
        InvalidRequest: one is of another kind, damaged or too large.
    """
    for word, path in stored.items():
        kind: Kind = "video" if word in VIDEOS else "sound" if word == "audio" else "picture"
        check_file(path, kind, max_pixels=max_pixels)


def kinds_of(path: Path) -> tuple[Kind, ...]:
    """What a file may be, by its first bytes; empty for what nobody needs to send.

    Raises:
        InvalidRequest: it is missing or empty.
    """
    with check_readable(path, "file").open("rb") as file:
        head = file.read(_HEAD)
    return tuple(kind for kind, known in _KNOWN.items() if known.match(head))


def check_file(path: Path, kind: Kind, *, max_pixels: int) -> None:
    """Check a file by decoding its beginning, or all of a picture; tensors by their first bytes.

    Raises:
        InvalidRequest: it is of another kind, damaged or too large.
    """
    if kind not in kinds_of(path):
        raise InvalidRequest(
            f"{kind} {shown(path)} is no {kind} that is read here; send {_NAMES[kind]}"
        )
    if kind == "tensors":
        return  # its reader takes no more memory than it asks for
    if kind == "picture":
        image_size(path, max_pixels=max_pixels)
        return
    _probe(path, kind, max_pixels)


def _probe(path: Path, kind: Kind, max_pixels: int) -> None:
    command = [sys.executable, "-P", "-m", "framepack.service.probe"]
    limits = [str(max_pixels), str(_ANIMATION_PIXELS)]
    try:
        done = subprocess.run(
            [*command, kind, str(path.absolute()), *limits],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _damaged(path, kind, f"it takes longer than {_PROBE_S:g} s to read") from error
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode == 0:
        return
    if done.returncode == InvalidRequest.exit_code and said:
        raise InvalidRequest(said)
    raise _damaged(path, kind, "its decoder stopped at a limit of memory or time, or crashed")


def _damaged(path: Path, kind: Kind, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"{kind} {shown(path)} cannot be read: {reason}; the file is damaged or too large"
    )
