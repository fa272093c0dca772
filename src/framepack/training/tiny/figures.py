"""Plain figures of pictures and clips: nearness, sharpness, and how long sharpness lasts.

Shape letters (docs/notation.md): F frames, H W size in pixels. Pixels are in 0..1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MAX_DB", "detail", "kept_sharpness", "psnr", "sharpness"]

MAX_DB = 60.0
"""What identical pictures score; beyond it the error is below 8-bit rounding."""

_LUMA = (0.299, 0.587, 0.114)
_SMALLEST = 1e-6  # a flat picture has no sharpness to lose


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all elements, at most ``MAX_DB``.

    Args:
        found: pixels in 0..1, any shape.
        wanted: the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if found.shape != wanted.shape:
        raise ValueError(f"cannot compare {tuple(found.shape)} with {tuple(wanted.shape)} pixels")
    error = float((found - wanted).square().mean())
    return MAX_DB if error <= 10 ** (-MAX_DB / 10) else -10 * math.log10(error)


def sharpness(frame: Tensor) -> float:
    """Mean length of the luma gradient, in luma per pixel.

    It follows edges and texture and barely noise: a Gaussian blur of one pixel takes a third
    off a photograph's.

    Args:
        frame: [3, H, W] in 0..1.
    """
    luma = _luma(frame)
    along_x = (luma[1:-1, 2:] - luma[1:-1, :-2]) / 2
    along_y = (luma[2:, 1:-1] - luma[:-2, 1:-1]) / 2
    return float((along_x.square() + along_y.square()).sqrt().mean())


def detail(frame: Tensor) -> float:
    """Variance of the luma's Laplacian: the finest detail, noise included.

    Args:
        frame: [3, H, W] in 0..1.
    """
    luma = F.pad(_luma(frame)[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    beside = luma[1:-1, 2:] + luma[1:-1, :-2] + luma[2:, 1:-1] + luma[:-2, 1:-1]
    return float((beside - 4 * luma[1:-1, 1:-1]).var())


def kept_sharpness(clip: Tensor, truth: Tensor | None = None) -> float:
    """Sharpness of the last frame as a share of the first frame's.

    Args:
        clip: [F, 3, H, W] in 0..1.
        truth: what the clip should have been, the same shape. Its own ratio is divided out:
            zooming in softens a picture, and a pan may leave the sharp part of it.
    """
    kept = sharpness(clip[-1]) / max(sharpness(clip[0]), _SMALLEST)
    return kept if truth is None else kept / max(kept_sharpness(truth), _SMALLEST)


def _luma(frame: Tensor) -> Tensor:
    weights = frame.new_tensor(_LUMA, dtype=torch.float32)
    return torch.einsum("chw,c->hw", frame.float(), weights)
