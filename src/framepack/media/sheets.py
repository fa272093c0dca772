"""Pictures of videos: thumbnails, contact sheets, animated pictures for documents.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from framepack.media.files import StrPath, atomic_file, shown

__all__ = ["contact_sheet", "write_animation", "write_thumbnail"]

Frame = npt.NDArray[np.uint8] | Image.Image

_GAP = 4
_LABEL_HEIGHT = 16


def write_thumbnail(frame: Frame, path: StrPath, *, max_side: int = 512) -> tuple[int, int]:
    """Write a JPEG (quality 80) whose longer side is at most ``max_side`` pixels.

    A smaller frame keeps its size.

    Args:
        frame: [H, W, 3], uint8, RGB, or a picture.

    Returns:
        Width and height of the thumbnail.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    image = _picture(frame)
    scale = min(1.0, max_side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    with atomic_file(path) as temporary:
        image.save(temporary, "JPEG", quality=80)
    return size


def contact_sheet(
    frames: Iterable[Frame],
    columns: int,
    path: StrPath,
    *,
    labels: Sequence[str] | None = None,
) -> tuple[int, int]:
    """Write frames side by side, row by row, on white; the format follows the suffix.

    Args:
        frames: each [H, W, 3], uint8, RGB, or a picture; smaller ones stand top left.
        columns: frames per row, 1 or more.
        labels: one line of text above each frame.

    Returns:
        Width and height of the sheet in pixels.

    Raises:
        ValueError: no frame, no column, or labels that do not match the frames.
        WorkspaceError: the file cannot be written.
    """
    pictures = [_picture(frame) for frame in frames]
    if not pictures or columns < 1:
        raise ValueError(f"{len(pictures)} frames in {columns} columns; one of each is needed")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"{len(labels)} labels for {len(pictures)} frames; give one for each")
    header = _LABEL_HEIGHT if labels is not None else 0
    cell_width = max(picture.width for picture in pictures) + _GAP
    cell_height = max(picture.height for picture in pictures) + _GAP + header
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        left = _GAP + index % columns * cell_width
        top = _GAP + index // columns * cell_height
        if labels is not None:
            draw.text((left, top), labels[index], fill="black", font=ImageFont.load_default(12))
        sheet.paste(picture, (left, top + header))
    _save(sheet, path)
    return sheet.size


def write_animation(
    frames: Iterable[Frame], path: StrPath, *, fps: float, quality: int = 80
) -> int:
    """Write an endlessly repeating ``.webp`` or ``.gif`` for a README; returns the frames.

    Durations are whole milliseconds in WebP and hundredths of a second in GIF; they vary by
    one so that the whole keeps its length.

    Args:
        frames: each [H, W, 3], uint8, RGB, or a picture, all of one size.
        fps: frames per second; at most 50 for GIF, where viewers slow down faster ones.
        quality: WebP's, 0 to 100.

    Raises:
        ValueError: no frame, another suffix, or too fast.
        WorkspaceError: the file cannot be written.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".webp", ".gif"):
        raise ValueError(
            f"animation {shown(path)} ends in {kind or 'no suffix'}; .webp or .gif is needed"
        )
    step_ms = 1 if kind == ".webp" else 10
    if not 0 < fps <= 500 / step_ms:
        raise ValueError(f"{fps} frames per second; {kind} shows up to {500 // step_ms}")
    pictures = [_picture(frame) for frame in frames]
    if not pictures:
        raise ValueError(f"no frame for {shown(path)}; at least one is needed")
    edges = [round(1000 / fps / step_ms * index) * step_ms for index in range(len(pictures) + 1)]
    durations = [end - start for start, end in pairwise(edges)]
    options = {"quality": quality, "method": 6} if kind == ".webp" else {"disposal": 1}
    with atomic_file(path) as temporary:
        pictures[0].save(
            temporary,
            kind[1:].upper(),
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            **options,
        )
    return len(pictures)


def _picture(frame: Frame) -> Image.Image:
    return frame.convert("RGB") if isinstance(frame, Image.Image) else Image.fromarray(frame)


def _save(image: Image.Image, path: StrPath) -> None:
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind is None:
        raise ValueError(f"{shown(path)} has no picture suffix; end it in .png, .jpg or .webp")
    with atomic_file(path) as temporary:
        image.save(temporary, kind)
