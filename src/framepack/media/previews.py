"""A section in the making as a picture of a few kilobytes that moves."""

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from framepack.domain.errors import WorkspaceError
from framepack.media.files import shown

__all__ = ["MAX_BYTES", "moving_preview"]

MAX_BYTES = 6000
"""A preview is no larger."""

_FRAME_MS = 4000 // 30  # a latent frame stands for four frames
_SIZES = ((96, 60), (96, 30), (64, 30), (48, 20), (32, 10))  # longer side in pixels, quality


def moving_preview(strip: Path, num_frames: int) -> bytes:
    """Show the frames that a picture has side by side one after the other.

    Args:
        strip: [h, num_frames * w] pixels, as runs leave it.
        num_frames: frames in it.

    Returns:
        An endlessly repeating WebP of at most ``MAX_BYTES``.

    Raises:
        WorkspaceError: the picture is gone, damaged, or has another number of frames.
    """
    try:
        with Image.open(strip) as picture:
            whole = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise WorkspaceError(f"{shown(strip)} cannot be read ({error}); wait for the next") from (
            error
        )
    if whole.width % num_frames:
        raise WorkspaceError(
            f"{shown(strip)} is {whole.width} pixels wide, which is no multiple of {num_frames} "
            "frames; wait for the next"
        )
    smaller = (_animated(whole, num_frames, side, quality) for side, quality in _SIZES)
    return next((data for data in smaller if len(data) <= MAX_BYTES), None) or _still(whole)


def _animated(whole: Image.Image, num_frames: int, side: int, quality: int) -> bytes:
    first, *others = _frames(whole, num_frames, side)
    buffer = io.BytesIO()
    first.save(
        buffer, "WEBP", save_all=True, append_images=others, duration=_FRAME_MS, loop=0,
        quality=quality, method=4,
    )  # fmt: skip
    return buffer.getvalue()


def _still(whole: Image.Image) -> bytes:
    """All frames, very small: of hundreds of them not even the smallest sizes fit."""
    buffer = io.BytesIO()
    whole.thumbnail((256, 256))
    whole.save(buffer, "WEBP", quality=10)
    return buffer.getvalue()


def _frames(whole: Image.Image, num_frames: int, side: int) -> Iterator[Image.Image]:
    width, height = whole.width // num_frames, whole.height
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    for index in range(num_frames):
        frame = whole.crop((index * width, 0, (index + 1) * width, height))
        yield frame.resize(size, Image.Resampling.BICUBIC)
