"""Turn each section's latents into final frames, holding only the seam in memory.

The decoder is causal in time, so neighbouring sections are decoded in overlapping
windows and cross-faded. With a window of w latents, ``4*w - 3`` pixel frames at the
growing end can still change: the seam. Every other frame is final once its section
is decoded, leaves memory, and is encoded exactly once.

    bi-directional (rendered end to start)        forward-only

    time ->                                       time ->
    [ new section      ]                          [final|seam]
              [seam|final]                               [ new section ]
    becomes                                       becomes
    [seam|   final        ]                       [ final       |seam]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framepack.domain.plan import Plan, Section
from framepack.domain.schedule import overlap_frames
from framepack.media import images
from framepack.pipeline.history import LatentHistory

__all__ = [
    "TEMPORAL_STRIDE",
    "Seam",
    "SettledFrames",
    "blend",
    "decode_section",
    "decode_window",
    "joined_start",
    "settle",
]

TEMPORAL_STRIDE = 4
"""Pixel frames per latent frame after the first one (HunyuanVideo's causal VAE)."""


@dataclass(frozen=True)
class SettledFrames:
    """What one section's decoding leaves behind.

    Attributes:
        pixels: [1, 3, F, H, W] in -1..1, frames that can no longer change. F may be 0.
        start_frame: place of the first of them in the video.
        seam: what the next section will cross-fade with; None after the last section.
    """

    pixels: Tensor
    start_frame: int
    seam: "Seam | None"

    def frames(self, num_frames: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames as uint8 [T, H, W, 3], a few at a time.

        Frames past ``num_frames`` (the length of the video) are left out.
        """
        return _frames(self.pixels, self.start_frame, num_frames)


@dataclass(frozen=True)
class Seam:
    """Frames at the growing end of the video that can still change.

    Attributes:
        pixels: [1, 3, F, H, W] in -1..1.
        start_frame: place of the first of them in the video.
    """

    pixels: Tensor
    start_frame: int

    def frames(self, num_frames: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames as they are now; see :meth:`SettledFrames.frames`."""
        return _frames(self.pixels, self.start_frame, num_frames)


def decode_section(
    plan: Plan,
    section: Section,
    history: LatentHistory,
    start_latent: Tensor,
    seam: Seam | None,
    decode: Callable[[Tensor], Tensor],
) -> SettledFrames:
    """Decode one section, blend it with the seam and settle what is final.

    The tiny VAE sees the past alone. So of frames that two windows share, those of the window
    that began earlier are taken as they are, and nothing is blended: with sections of 8 latents
    and more they are, bit for bit, those of the whole video decoded at once. Only what goes on
    from a given video is blended with it, because another VAE made its frames.

    Args:
        plan: the plan the section belongs to.
        section: the section whose latents were just added to ``history``.
        history: latents with the section's included.
        start_latent: [1, C, 1, h, w]; decoded as the first frame where ``plan.has_start``.
        seam: what the section before left; None for the first-rendered one.
        decode: latents [1, C, T, h, w] -> pixels [1, 3, 4*T - 3, H, W] in -1..1, fp32.

    Source: the released section loop; window and overlap in docs/notation.md.
    """
    # On the host from here: pixels are large, and blending them is a small part of the work.
    current = decode(decode_window(plan, section, history, start_latent)).cpu()
    overlap = overlap_frames(plan.latent_window_size, stride=TEMPORAL_STRIDE)
    if seam is None:
        joined = current
    elif plan.request.vae == "tiny" and section.render_index != plan.num_given_sections:
        joined = current if plan.is_inverted else _continued(seam.pixels, current, overlap)
    elif plan.is_inverted:
        joined = blend(current, seam.pixels, overlap)
    else:
        joined = blend(seam.pixels, current, overlap)
    return settle(plan, section, joined)


def decode_window(
    plan: Plan, section: Section, history: LatentHistory, start_latent: Tensor
) -> Tensor:
    """Return the latents to decode for this section, [1, C, T, h, w], time order.

    The first-rendered section is decoded alone, later ones together with the section
    they touch. The start latent joins the section that holds the video's first frame;
    a stand-in anchor (text to video) is never decoded.
    """
    sections = 1 if section.is_first_rendered else 2
    latents = history.newest(sections * plan.latent_window_size)
    if section.index == 0 and plan.has_start:
        return torch.cat([start_latent.to(latents), latents], dim=2)
    return latents


def blend(before: Tensor, after: Tensor, overlap: int) -> Tensor:
    """Join two clips [1, 3, F, H, W] whose last and first ``overlap`` frames coincide.

    The weight of ``before`` falls linearly from 1 to 0 over the overlap, both included.

    Source: the released ``soft_append``.
    """
    if overlap > min(before.shape[2], after.shape[2]):
        raise ValueError(
            f"cannot blend {overlap} frames of clips with {before.shape[2]} and "
            f"{after.shape[2]} frames; the overlap must fit in both"
        )
    weights = torch.linspace(1, 0, overlap, dtype=before.dtype, device=before.device)
    weights = weights.view(1, 1, -1, 1, 1)
    head, tail = before[:, :, :-overlap], before[:, :, -overlap:]
    mixed = weights * tail + (1 - weights) * after[:, :, :overlap]
    return torch.cat([head, mixed, after[:, :, overlap:]], dim=2)


def _continued(before: Tensor, after: Tensor, overlap: int) -> Tensor:
    """Both clips [1, 3, F, H, W], with what they share from the first."""
    return torch.cat([before, after[:, :, overlap:]], dim=2)


def settle(plan: Plan, section: Section, joined: Tensor) -> SettledFrames:
    """Split ``joined`` [1, 3, F, H, W] into final frames and the new seam.

    After the last section everything is final. The seam is a copy, so the larger clip
    it was cut from can be freed.
    """
    start = joined_start(plan, section)
    if section.is_last_rendered:
        return SettledFrames(joined, start, None)
    overlap = overlap_frames(plan.latent_window_size, stride=TEMPORAL_STRIDE)
    if plan.is_inverted:
        seam = Seam(joined[:, :, :overlap].clone(), start)
        return SettledFrames(joined[:, :, overlap:], start + overlap, seam)
    num_final = joined.shape[2] - overlap
    seam = Seam(joined[:, :, num_final:].clone(), start + num_final)
    return SettledFrames(joined[:, :, :num_final], start, seam)


def joined_start(plan: Plan, section: Section) -> int:
    """Return the place in the video of the first frame that this section's decoding covers."""
    if section.index == 0:
        return 0
    # A forward section's decoding also covers the seam of the section before it.
    sections_before = section.index if plan.is_inverted else section.index - 1
    first_latent = TEMPORAL_STRIDE if plan.has_start else 0
    return TEMPORAL_STRIDE * plan.latent_window_size * sections_before + first_latent


def _frames(
    pixels: Tensor, start_frame: int, num_frames: int, batch: int = 8
) -> Iterator[NDArray[np.uint8]]:
    end = min(pixels.shape[2], num_frames - start_frame)
    for first in range(0, max(end, 0), batch):
        yield images.to_frames(pixels[:, :, first : min(first + batch, end)])
