"""Enlarge frames by a network, tile by tile. This module imports torch; load it late.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from framepack.weights.upscaler_files import Upscaler

__all__ = ["DEFAULT_TILE", "OVERLAP", "enlarge", "upscale_frames"]

Frame = npt.NDArray[np.uint8]

DEFAULT_TILE = 256
"""Side of a tile in pixels; with ESRGAN at scale 4 one takes some 2 GB of memory."""
OVERLAP = 32
"""Pixels around a tile that the network sees besides, so that no seam shows."""


def upscale_frames(
    frames: Iterable[Frame],
    network: Upscaler,
    *,
    tile: int = DEFAULT_TILE,
    device: torch.device | str = "cpu",
) -> Iterator[Frame]:
    """Yield frames, each [H * scale, W * scale, 3]; one is in memory at a time.

    Args:
        frames: each [H, W, 3], uint8, RGB.
        network: computes on ``device``.
        tile: see :func:`enlarge`.
        device: a torch device.
    """
    for frame in frames:
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
        made = enlarge(pixels, network, tile=tile, device=device)
        yield np.ascontiguousarray(made[0].permute(1, 2, 0).numpy())


@torch.inference_mode()
def enlarge(
    pixels: Tensor,
    network: Upscaler,
    *,
    tile: int = DEFAULT_TILE,
    overlap: int = OVERLAP,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Enlarge one picture.

    Each tile is computed with ``overlap`` pixels around it, which are cut off again, so memory
    depends on the tile alone.

    Args:
        pixels: [1, 3, H, W], uint8, on the CPU.
        network: computes on ``device``.
        tile: side of a tile in pixels; 0 takes the whole picture at once.
        overlap: pixels around a tile.
        device: a torch device.

    Returns:
        [1, 3, H * scale, W * scale], uint8, on the CPU.
    """
    height, width = pixels.shape[-2:]
    scale, step = network.scale, network.multiple
    side = max(tile // step, 1) * step if tile else max(height, width)
    around = -(-overlap // step) * step
    made = torch.empty((1, 3, height * scale, width * scale), dtype=torch.uint8)
    for rows, columns in product(_spans(height, side, around), _spans(width, side, around)):
        seen = pixels[..., rows.seen, columns.seen].to(device, torch.float32) / 255
        result = network(seen)[..., _scaled(rows.inside, scale), _scaled(columns.inside, scale)]
        made[..., _scaled(rows.kept, scale), _scaled(columns.kept, scale)] = (
            result.clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
        )
    return made


class _Span(NamedTuple):
    """A tile along one side: what of the picture it is, what the network sees, where it lies."""

    kept: slice
    seen: slice
    inside: slice


def _spans(length: int, side: int, around: int) -> Iterator[_Span]:
    for start in range(0, length, side):
        end = min(start + side, length)
        first, last = max(start - around, 0), min(end + around, length)
        yield _Span(slice(start, end), slice(first, last), slice(start - first, end - first))


def _scaled(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
