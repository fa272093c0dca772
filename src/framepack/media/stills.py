"""Single pictures as files: PNG, which carries its tags, JPEG and WebP, which do not.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from framepack.domain.errors import InvalidRequest
from framepack.media.files import StrPath, atomic_file, check_readable, shown

__all__ = [
    "STILL_SUFFIXES",
    "TAGGED_STILLS",
    "is_still",
    "num_pictures",
    "read_still_tags",
    "still_facts",
    "write_still",
]

STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of files that hold one picture."""
TAGGED_STILLS = (".png",)
"""Those of them that hold text as long as a request with its pictures."""

_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_QUALITY = 95
_MOVING = ("GIF", "WEBP", "PNG", "AVIF")
# TGA is left out: nothing in its head says what it is.
_TOLD_BY_CONTENT = (*_MOVING, "JPEG", "MPO", "BMP", "TIFF", "JPEG2000", "PPM")


def write_still(
    frame: npt.NDArray[np.uint8], path: StrPath, tags: Mapping[str, str] | None = None
) -> None:
    """Write one picture, complete or not at all.

    Args:
        frame: [H, W, 3], uint8, RGB.
        path: ends in one of ``STILL_SUFFIXES``.
        tags: texts by name that a PNG carries, as international text chunks; others carry none.

    Raises:
        WorkspaceError: the disk is full or the file cannot be written.
    """
    kind = _KINDS[Path(path).suffix.lower()]
    picture = Image.fromarray(frame)
    with atomic_file(path) as temporary:
        if kind == "PNG":
            texts = PngImagePlugin.PngInfo()
            for name, text in (tags or {}).items():
                # Not compressed: readers limit what a compressed chunk may grow to.
                texts.add_itxt(name.capitalize(), text)
            picture.save(temporary, kind, pnginfo=texts)
        elif kind == "JPEG":
            picture.save(temporary, kind, quality=_QUALITY, subsampling=0)
        else:
            picture.save(temporary, kind, quality=_QUALITY, method=4)


def is_still(path: StrPath) -> bool:
    """Whether a file holds one picture: by its suffix, and a WebP by its frames.

    Raises:
        InvalidRequest: missing, damaged, or no picture.
    """
    suffix = Path(path).suffix.lower()
    if suffix != ".webp":
        return suffix in STILL_SUFFIXES
    with _opened(path) as picture:
        return getattr(picture, "n_frames", 1) == 1


def num_pictures(path: StrPath) -> int:
    """How many pictures a file shows: one, those of an animation, or 0 if it is of another kind.

    Told by the content, whatever the file is called; nothing but headers is read.

    Raises:
        InvalidRequest: missing, a folder, empty, or not readable.
    """
    check_readable(path, "picture")
    Image.init()
    kinds = [kind for kind in _TOLD_BY_CONTENT if kind in Image.OPEN]
    try:
        with Image.open(path, formats=kinds) as picture:
            moves = picture.format in _MOVING
            return int(getattr(picture, "n_frames", 1)) if moves else 1
    except Image.DecompressionBombError:
        return 1  # a picture, whose size others refuse
    except (OSError, ValueError, SyntaxError, EOFError):
        return 0


def still_facts(path: StrPath) -> tuple[int, int, str, str]:
    """Width and height in px, kind and layout of the pixels, such as ``png`` and ``RGB``.

    Raises:
        InvalidRequest: missing, damaged, or no picture.
    """
    with _opened(path) as picture:
        return picture.width, picture.height, (picture.format or "").lower(), picture.mode


def read_still_tags(path: StrPath) -> dict[str, str]:
    """All texts that a picture carries, by their names in small letters.

    Raises:
        InvalidRequest: missing, damaged, or no picture.
    """
    with _opened(path) as picture:
        texts = getattr(picture, "text", {})  # loads a PNG, for texts that follow the pixels
        return {str(name).lower(): str(text) for name, text in texts.items()}


@contextmanager
def _opened(path: StrPath) -> Iterator[Image.Image]:
    try:
        with Image.open(check_readable(path, "picture")) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidRequest(
            f"picture {shown(path)} cannot be read ({error}); the file is damaged or of another "
            "kind"
        ) from error
