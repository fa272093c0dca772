"""Keep the latents that later sections look back on, and nothing older.

The network sees a packed history of constant length: the nearest latent frames at
full rate (1x), older ones in coarser patches (2x, 4x). The decoder needs one section
of context besides. Everything older is forgotten here, so memory does not depend on
the length of the video. Shape letters: docs/notation.md.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from framepack.domain.errors import HistoryTooShort
from framepack.domain.packing import FrameIndices

__all__ = ["HistoryWindow", "LatentHistory", "frames_to_keep"]


@dataclass(frozen=True)
class HistoryWindow:
    """The clean context of one section, tier by tier, not yet patchified.

    Each tensor is [1, C, t, h, w] in the frame order of the section's indices:
    time order, so nearest first in the inverted layout and nearest last in the
    forward one.
    """

    clean_1x: Tensor
    history_2x: Tensor
    history_4x: Tensor


@dataclass(frozen=True)
class LatentHistory:
    """The newest latent frames of an unfinished video, always the same number of them.

    Attributes:
        latents: [1, C, T, h, w] fp32, in time order. Frames not generated yet are
            zeros; the released weights expect them as tokens, not masked out.
        grows_backward: True where sections are rendered from the end of the video to
            its start (inverted anti-drifting), so that new frames go in front.
    """

    latents: Tensor
    grows_backward: bool

    @classmethod
    def empty(cls, frame: Tensor, *, num_frames: int, grows_backward: bool) -> "LatentHistory":
        """Return a history of zeros.

        Args:
            frame: any latent of the video, [1, C, 1, h, w]; gives shape and device.
            num_frames: latent frames to hold; see :func:`frames_to_keep`.
            grows_backward: see the class.
        """
        shape = (*frame.shape[:2], num_frames, *frame.shape[3:])
        zeros = torch.zeros(shape, dtype=torch.float32, device=frame.device)
        return cls(zeros, grows_backward)

    def add(self, latents: Tensor) -> "LatentHistory":
        """Return the history after ``latents`` [1, C, t, h, w] (time order) were generated.

        The oldest frames are dropped; the result owns its memory.
        """
        new = latents.to(self.latents)
        kept = self.latents.shape[2] - new.shape[2]
        if kept <= 0:
            raise HistoryTooShort(
                f"history holds {self.latents.shape[2]} latent frames, a section of "
                f"{new.shape[2]} would push all of them out; make it longer with frames_to_keep()"
            )
        if self.grows_backward:
            joined = torch.cat([new, self.latents[:, :, :kept]], dim=2)
        else:
            joined = torch.cat([self.latents[:, :, -kept:], new], dim=2)
        return LatentHistory(joined, self.grows_backward)

    def newest(self, num_frames: int) -> Tensor:
        """Return the ``num_frames`` newest latent frames, [1, C, num_frames, h, w], time order.

        Raises:
            HistoryTooShort: fewer frames are held.
        """
        held = self.latents.shape[2]
        if num_frames > held:
            raise HistoryTooShort(
                f"history holds {held} latent frames, {num_frames} were asked for; "
                "make it longer with frames_to_keep()"
            )
        if self.grows_backward:
            return self.latents[:, :, :num_frames]
        return self.latents[:, :, held - num_frames :]

    def window(self, indices: FrameIndices, *, end_latent: Tensor | None = None) -> HistoryWindow:
        """Split the newest frames into the tiers that ``indices`` names.

        Args:
            indices: the section's frame indices; only the tier lengths are read.
            end_latent: [1, C, 1, h, w], stands in the 1x slot instead of history. Given
                for the first-rendered section of a video with an end picture and for no
                other, so that the picture does not leak into later history.

        Source: FramePack, arXiv 2504.12626; tier order of the released weights.
        """
        near, middle, far = (
            len(indices.clean_1x),
            len(indices.history_2x),
            len(indices.history_4x),
        )
        newest = self.newest(near + middle + far)
        if self.grows_backward:
            clean_1x, history_2x, history_4x = newest.split([near, middle, far], dim=2)
        else:
            history_4x, history_2x, clean_1x = newest.split([far, middle, near], dim=2)
        if end_latent is not None:
            clean_1x = end_latent.to(newest).expand_as(clean_1x)
        return HistoryWindow(clean_1x, history_2x, history_4x)


def frames_to_keep(indices: FrameIndices, latent_window_size: int) -> int:
    """Return how many latent frames later sections and the decoder can still ask for.

    That is the packed context (19 in the released layout) or two sections for the decode
    window, whichever is longer, and always more than one section.
    """
    context = len(indices.clean_1x) + len(indices.history_2x) + len(indices.history_4x)
    return max(context, 2 * latent_window_size)
