"""How much of a frame the model's own VAE decodes at once, by what the device holds."""

from typing import Any

import torch
from torch import Tensor

from framepack.memory.placement import tile_side
from framepack.pipeline.device import memory_bytes

__all__ = ["decoding_tile"]

_DEVICE_SHARE = 0.6  # of the device's memory, for the activations of one decoded tile
_LIVE_ACTIVATIONS = 4  # of the decoder's largest, at its peak
_TILE_FRAMES = 17


def decoding_tile(
    latents: Tensor,
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    *,
    memory_share: float = 1.0,
    total_bytes: int | None = None,
) -> tuple[int | None, int]:
    """Side of the spatial tiles in px, None for whole frames, and the bytes to decode one.

    It depends on the device's memory in all, not on what is free, so a resumed run decides as
    the first one did.

    Args:
        latents: [1, C, T, h, w].
        config: of the VAE.
        dtype: number format of the VAE.
        device: where it decodes.
        memory_share: of the device's memory, that is reckoned with.
        total_bytes: of the device, that may be used; None for all of its memory.
    """
    stride = config.spatial_compression_ratio
    height, width = latents.shape[3] * stride, latents.shape[4] * stride
    channels = max(config.block_out_channels[:2])
    per_pixel = _TILE_FRAMES * channels * dtype.itemsize * _LIVE_ACTIVATIONS
    total = memory_bytes(device)[1] if total_bytes is None else total_bytes
    side = tile_side(height, width, per_pixel, int(total * memory_share * _DEVICE_SHARE))
    return side, (side * side if side else height * width) * per_pixel
