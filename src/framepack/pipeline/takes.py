"""Runs that begin where another run stands: the sections they keep, and their first state.

A run that keeps sections of another one gets their latents, and the frames that are encoded
already. What is missing, the seam to the next section and frames in another format, is
decoded again from the latents, so the video is the one that the whole request would give.
"""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from framepack.domain.errors import WorkspaceError
from framepack.domain.plan import Plan
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Conditions
from framepack.pipeline.decode import decode_section
from framepack.pipeline.from_video import state_after_video
from framepack.pipeline.history import LatentHistory, frames_to_keep
from framepack.pipeline.reroll import measured
from framepack.pipeline.run_state import RunState, Segment
from framepack.pipeline.workspace import Workspace

__all__ = ["Kept", "empty_history", "first_state", "keep_sections"]


@dataclass(frozen=True)
class Kept:
    """What a run has from another one.

    Attributes:
        num_sections: how many sections, in render order.
        segments: their frames, by render index, as far as they can be used as they are.
    """

    num_sections: int
    segments: dict[int, Segment]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        segments = {str(index): asdict(segment) for index, segment in self.segments.items()}
        return {"num_sections": self.num_sections, "segments": segments}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what :meth:`to_dict` gave."""
        segments = {int(index): Segment(**each) for index, each in values["segments"].items()}
        return cls(values["num_sections"], segments)


def keep_sections(source: Workspace, target: Workspace, num_sections: int) -> None:
    """Give a new run the first sections, in render order, of another one.

    Args:
        source: has rendered them; it is only read.
        target: a run that has not begun, whose plan has the same sections in these places.
        num_sections: how many.

    Raises:
        WorkspaceError: the source lacks one of them, or a file cannot be copied.
    """
    state = source.load_state()
    done = state.num_done if state is not None else 0
    if state is None or done < num_sections:
        raise WorkspaceError(
            f"the run in {source.directory} has finished {done} of the {num_sections} sections "
            f"that are to be kept; finish it with `framepack resume {source.directory}`"
        )
    segments: dict[int, Segment] = {}
    if source.segment_format == target.segment_format:
        by_name = {segment.name: segment for segment in state.segments}
        for section in source.plan.sections[:num_sections]:
            segment = by_name.get(section.segment_name)
            # The last one holds the end as well, and may be cut short.
            if segment is not None and not section.is_last_rendered:
                segments[section.render_index] = segment
    for section in source.plan.sections[:num_sections]:
        _share(source.latents_path(section), target.latents_path(section))
    for segment in segments.values():
        _share(source.segment_path(segment.name), target.segment_path(segment.name))
    target.keep(Kept(num_sections, segments).to_dict(), source.component_hashes)


def first_state(workspace: Workspace, components: Components, conditions: Conditions) -> RunState:
    """The state of a run before its first own section.

    Without kept sections and without a video to extend that is zeros for history, ended by the
    start picture if forward.
    """
    plan = workspace.plan
    history = empty_history(plan, conditions)
    state = RunState(num_done=0, history=history, seam=None, segments=(), statistics={})
    if plan.request.extend is not None:
        state = state_after_video(workspace, components, history)
    if workspace.kept is None:
        return state
    kept = Kept.from_dict(workspace.kept)
    for section in plan.sections[state.num_done : kept.num_sections]:
        index = section.render_index
        history = state.history.add(workspace.load_latents(section))
        segment = kept.segments.get(index)
        seam, reference = None, state.reference
        is_measured = bool(plan.request.reroll) and reference is None
        if segment is None or is_measured or _is_seam_needed(index, kept):
            settled = decode_section(
                plan, section, history, conditions.start_latent, state.seam, components.decode
            )
            seam = settled.seam
            reference = measured(settled) if is_measured else reference
            segment = segment or workspace.write_segment(
                section.segment_name, settled.start_frame, settled.frames(plan.num_kept_frames)
            )
        segments = (*state.segments, segment) if segment is not None else state.segments
        state = RunState(index + 1, history, seam, segments, {}, reference)
    return state


def empty_history(plan: Plan, conditions: Conditions) -> LatentHistory:
    """What the first section of a video looks back on."""
    num_frames = frames_to_keep(plan.sections[0].indices, plan.latent_window_size)
    history = LatentHistory.empty(
        conditions.start_latent, num_frames=num_frames, grows_backward=plan.is_inverted
    )
    return history if plan.is_inverted else history.add(conditions.start_anchor)


def _is_seam_needed(index: int, kept: Kept) -> bool:
    """Whether what comes after a kept section is decoded, and blended with its end."""
    return index == kept.num_sections - 1 or index + 1 not in kept.segments


def _share(source: Path, target: Path) -> None:
    """Have the same file in two places; both are only ever replaced as a whole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without links
            shutil.copy2(source, target)
    except OSError as error:
        raise WorkspaceError(
            f"cannot copy {source} to {target}: {error.strerror or error}"
        ) from error
