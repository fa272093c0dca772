"""Videos that begin with another video: one that goes on, or one that is drawn anew.

Both read it once from start to end with a few sections of frames in memory, so a long one
costs no more than a short one. Shape letters: docs/notation.md.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framepack.domain.plan import Plan
from framepack.domain.schedule import overlap_frames
from framepack.media.source_video import source_frames
from framepack.models.autoencoder import encode_clip
from framepack.pipeline.components import Components
from framepack.pipeline.decode import TEMPORAL_STRIDE, Seam
from framepack.pipeline.history import LatentHistory
from framepack.pipeline.run_state import RunState
from framepack.pipeline.workspace import Workspace

__all__ = ["encode_source", "state_after_video"]

Frame = NDArray[np.uint8]


def state_after_video(
    workspace: Workspace, components: Components, history: LatentHistory
) -> RunState:
    """The state of a run whose first sections are the end of a video.

    The video's frames become the run's first segment, all but those that the first new section
    is blended with; what the model sees of it is encoded.

    Args:
        workspace: a run whose plan has given sections.
        components: the VAE.
        history: of nothing but the start picture.
    """
    plan = workspace.plan
    per_section = TEMPORAL_STRIDE * plan.latent_window_size
    seen = per_section * plan.num_given_sections + 1
    overlap = overlap_frames(plan.latent_window_size, stride=TEMPORAL_STRIDE)
    held = overlap if plan.num_given_sections else 1  # the start picture itself comes again
    tail: deque[Frame] = deque(maxlen=max(seen, held))

    def settled() -> Iterator[Frame]:
        waiting: deque[Frame] = deque()
        for frame in _frames(plan, plan.request.extend):
            tail.append(frame)
            waiting.append(frame)
            if len(waiting) > held:
                yield waiting.popleft()[None]

    first = -plan.num_prefix_frames
    segment = workspace.write_segment("source", first, settled())
    seam = None
    if plan.num_given_sections:
        pixels = _pixels(tail)
        seam = Seam(pixels[:, :, -overlap:].clone(), seen - overlap)
        latents = encode_clip(components.vae, pixels.to(components.device)).cpu()
        sections = latents[:, :, 1:].split(plan.latent_window_size, dim=2)
        for section, own in zip(plan.sections, sections, strict=False):
            workspace.save_latents(section, own)
            history = history.add(own)
    return RunState(
        num_done=plan.num_given_sections,
        history=history,
        seam=seam,
        segments=(segment,) if segment is not None else (),
        statistics={},
    )


def encode_source(workspace: Workspace, components: Components) -> None:
    """Encode the video to draw anew, section by section, as far as that is not done yet.

    A section is encoded with the one before it, which the VAE looks back on.
    """
    plan = workspace.plan
    window = plan.latent_window_size
    per_section = TEMPORAL_STRIDE * window
    in_play_order = sorted(plan.sections, key=lambda section: section.index)
    if all(workspace.source_path(section).exists() for section in in_play_order):
        return
    frames = _held_to_the_end(_frames(plan, plan.request.video))
    seen = deque(islice(frames, 1), maxlen=2 * per_section + 1)
    for section in in_play_order:
        seen.extend(islice(frames, per_section))
        latents = encode_clip(components.vae, _pixels(seen).to(components.device))
        workspace.save_source(section, latents[:, :, -window:].cpu())


def _frames(plan: Plan, path: Path | None) -> Iterator[Frame]:
    assert path is not None, "the plan has a video"
    return source_frames(path, fps=plan.generated_fps, width=plan.width, height=plan.height)


def _held_to_the_end(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames, and the last one for ever: sections may end after the video."""
    frame = None
    for frame in frames:
        yield frame
    while frame is not None:
        yield frame


def _pixels(frames: deque[Frame]) -> Tensor:
    """[1, 3, F, H, W] fp32 in -1..1."""
    stacked = torch.from_numpy(np.stack(frames))
    return stacked.permute(3, 0, 1, 2).unsqueeze(0).float() / 127.5 - 1
