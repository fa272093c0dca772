"""A camera that sways: latents shifted to and fro, once, on their way from noise to picture.

What the remaining steps make begins from where the noise and the layout in it have gone. Latents
move by whole places, since a place holds a block of pixels and means nothing between two.
Beyond the edge they go on mirrored, so nothing comes in from the other side and no column is
drawn out.
"""

# Shape letters are those of docs/notation.md:
#   B batch  C channels  T latent frames  H W latent size

import math

import torch
from torch import Tensor

from framepack.domain.schedule import MAX_SWAY

__all__ = ["shifted", "sway", "sway_offsets", "sway_step"]


def sway_step(num_steps: int, share: float) -> int:
    """The step after which latents are shifted, so that one is before and one after it.

    Args:
        num_steps: in all, at least 2.
        share: of the steps.
    """
    return min(max(round(num_steps * share), 1), num_steps - 1)


def sway_offsets(num_frames: int, width: int, scale: float) -> list[int]:
    """Shifts of latent frames in latent places: right, back, left and back.

    Frame t has ``sin(2 pi t / T) * scale * MAX_SWAY * W``, rounded.

    Source: the sine is that of a fork of the original program, which rolls latents around.
    """
    most = scale * MAX_SWAY * width
    return [round(math.sin(2 * math.pi * t / num_frames) * most) for t in range(num_frames)]


def sway(latents: Tensor, scale: float) -> Tensor:
    """Shift each latent frame, [B, C, T, H, W], by :func:`sway_offsets`."""
    return shifted(latents, sway_offsets(latents.shape[2], latents.shape[4], scale))


def shifted(latents: Tensor, offsets: list[int]) -> Tensor:
    """Shift each frame to the right, mirrored at the edges.

    Args:
        latents: [B, C, T, H, W].
        offsets: T shifts, each less than W; negative ones go left.
    """
    width = latents.shape[4]
    places = torch.arange(width, device=latents.device)
    frames = []
    for frame, offset in zip(latents.unbind(2), offsets, strict=True):
        source = (places - offset) % (2 * width)  # with its mirror image a row has this period
        frames.append(frame[..., torch.minimum(source, 2 * width - 1 - source)])
    return torch.stack(frames, dim=2)
