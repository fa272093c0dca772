"""Frames in other forms than a video: numbered pictures, and raw frames in safetensors.

The raw file holds one tensor ``frames``, uint8 [T, H, W, 3] RGB, and text metadata: format,
frames, width, height, fps, codec, options, ext, interpolate, and the document of a video file under
comment. It is written and read frame by
frame, so its size on the disk, not in memory, is the limit.

Shape letters (docs/notation.md): T frames, H W size in pixels.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError, safe_open

from framepack.domain.errors import InvalidRequest
from framepack.media.files import StrPath, atomic_file, check_readable, shown
from framepack.media.metadata import parse_document

__all__ = [
    "PICTURE_SUFFIXES",
    "RAW_SUFFIX",
    "RawFrames",
    "open_raw_frames",
    "write_pictures",
    "write_raw_frames",
]

Frame = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".jpg")
"""Kinds of numbered pictures: exact, or smaller."""
RAW_SUFFIX = ".safetensors"

_NAME = "frames"
_JPEG_QUALITY = 95


def write_pictures(
    frames: Iterable[Frame], folder: StrPath, stem: str, suffix: str = ".png"
) -> int:
    """Write ``STEM-00000.png`` and so on; return their number.

    Args:
        frames: each [H, W, 3], uint8, RGB.
        folder: made if missing; pictures of the same names are replaced.
        stem: start of their names.
        suffix: one of ``PICTURE_SUFFIXES``.

    Raises:
        WorkspaceError: the disk is full or the folder cannot be written.
    """
    options = {"quality": _JPEG_QUALITY} if suffix == ".jpg" else {"compress_level": 4}
    kind = "JPEG" if suffix == ".jpg" else "PNG"
    number = 0
    for number, frame in enumerate(frames, start=1):
        with atomic_file(Path(folder) / f"{stem}-{number - 1:05d}{suffix}") as temporary:
            Image.fromarray(frame).save(temporary, kind, **options)
    return number


def write_raw_frames(
    frames: Iterable[Frame],
    path: StrPath,
    *,
    shape: tuple[int, int, int],
    metadata: Mapping[str, object],
) -> None:
    """Write raw frames; one is in memory at a time.

    Args:
        frames: each [H, W, 3], uint8, RGB.
        path: the safetensors file.
        shape: (T, H, W) of all frames together.
        metadata: stored as text beside format, frames, width and height.

    Raises:
        ValueError: other frames than ``shape`` says.
        WorkspaceError: the disk is full or the file cannot be written.
    """
    count, height, width = shape
    size = count * height * width * 3
    texts = {
        "format": "video",
        "frames": str(count),
        "width": str(width),
        "height": str(height),
        **{name: str(value) for name, value in metadata.items()},
    }
    entry = {"dtype": "U8", "shape": [count, height, width, 3], "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": texts, _NAME: entry}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        written = 0
        for frame in frames:
            if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
                raise ValueError(f"frame {written} is {frame.dtype} {list(frame.shape)}")
            file.write(np.ascontiguousarray(frame).data)
            written += 1
        if written != count:
            raise ValueError(f"{written} frames came, {count} were announced")


@dataclass(frozen=True)
class RawFrames:
    """A file of raw frames.

    Attributes:
        path: the file.
        num_frames, height, width: of its tensor.
        fps: frames per second, if the file says so.
        metadata: all that it says.
    """

    path: Path
    num_frames: int
    height: int
    width: int
    fps: float | None
    metadata: Mapping[str, str]

    @property
    def document(self) -> dict[str, Any]:
        """The request that made the frames, as video files carry it; empty if it is not there."""
        return parse_document(self.metadata.get("comment", ""))

    def frames(self) -> Iterator[Frame]:
        """Read the frames one by one, each [H, W, 3] uint8 RGB."""
        with safe_open(self.path, framework="numpy") as file:
            tensor = file.get_slice(_NAME)
            for index in range(self.num_frames):
                yield tensor[index]


def open_raw_frames(path: StrPath) -> RawFrames:
    """Look into a file of raw frames.

    Raises:
        InvalidRequest: missing, damaged, or without frames of the right kind.
    """
    found = check_readable(path, "raw frames")
    try:
        with safe_open(found, framework="numpy") as file:
            names = list(file.keys())
            if _NAME not in names:
                others = ", ".join(names[:5]) or "nothing"
                raise InvalidRequest(
                    f"{shown(path)} holds no tensor {_NAME!r} but {others}; give a file that "
                    "`framepack generate --raw` wrote"
                )
            tensor = file.get_slice(_NAME)
            shape, kind = tensor.get_shape(), tensor.get_dtype()
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise InvalidRequest(f"{shown(path)} is no safetensors file: {error}") from error
    if len(shape) != 4 or shape[3] != 3 or kind != "U8" or not all(shape):
        raise InvalidRequest(
            f"the frames in {shown(path)} are {kind} {shape}; U8 [T, H, W, 3] is needed"
        )
    return RawFrames(found, shape[0], shape[1], shape[2], _rate(metadata), metadata)


def _rate(metadata: Mapping[str, str]) -> float | None:
    try:
        fps = float(metadata.get("fps", ""))
    except ValueError:
        return None
    return fps if 0 < fps <= 1000 else None
