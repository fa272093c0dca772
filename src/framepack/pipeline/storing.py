"""Put sections on the disk, beside the denoising of the next one where that costs it nothing.

A section counts as finished when the run's state says so, and only then is it told. Sections
are stored in the order of rendering, one at a time, and a process that is killed meanwhile goes
on from the section before, as it does at any other moment.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from framepack.domain.errors import WorkspaceError, is_out_of_memory
from framepack.domain.events import SectionDone
from framepack.domain.plan import Section
from framepack.media.drift import SectionMeasures
from framepack.pipeline.decode import SettledFrames
from framepack.pipeline.history import LatentHistory
from framepack.pipeline.run_state import RunState
from framepack.pipeline.statistics import RunStatistics
from framepack.pipeline.workspace import Workspace

__all__ = ["Rendered", "SectionStore", "costs_nothing_beside"]

logger = logging.getLogger(__name__)


def costs_nothing_beside(device: torch.device) -> bool:
    """Whether frames can be encoded while a device denoises, and not slow it down.

    A processor would take turns: with both on two cores a run took 10 to 30 % longer.
    """
    return device.type != "cpu"


@dataclass(frozen=True)
class Rendered:
    """A section that is made, but not stored yet.

    Attributes:
        section: of the plan.
        latents: [1, C, T, h, w].
        history: what the next section looks back on.
        settle: gives the frames that became final with it; decodes them, if that is done
            elsewhere.
        started_s: of the run's time, when it was begun.
        num_steps: denoising steps that went into it.
        measures: of its frames, where drift is watched.
        drift: how far it drifts; None if not watched.
        num_rerolls: how often it was made again because it drifted.
    """

    section: Section
    latents: Tensor
    history: LatentHistory
    settle: Callable[[], SettledFrames]
    started_s: float
    num_steps: int
    measures: SectionMeasures | None = None
    drift: float | None = None
    num_rerolls: int = 0


@dataclass(frozen=True)
class _Pending:
    rendered: Rendered
    seconds: float
    state: Future[RunState]


class SectionStore(AbstractContextManager["SectionStore"]):
    """Stores the sections of a run, at most one of them beside other work.

    Leaving the ``with`` block, in whatever way, waits for what is being stored.

    Args:
        workspace: of the run, locked.
        state: what it holds.
        stats: of the run; time counts as far as the run waits.
        is_beside: store in a thread while the caller goes on; else :meth:`put` does the work.

    Attributes:
        state: what is on the disk.
    """

    def __init__(
        self, workspace: Workspace, state: RunState, stats: RunStatistics, *, is_beside: bool
    ) -> None:
        self.state = state
        self._workspace, self._stats = workspace, stats
        self._pending: _Pending | None = None
        self._thread = ThreadPoolExecutor(1, "framepack-store") if is_beside else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being stored; if that fails now, the run is ending anyway."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        if self._pending is not None and (error := self._pending.state.exception()):
            index = self._pending.rendered.section.index
            logger.warning("section %d could not be stored: %s", index, error)

    def put(self, rendered: Rendered) -> None:
        """Begin to store a section, when the one before it is stored; see :meth:`stored`.

        The last section is waited for.

        Args:
            rendered: the section; its tensors must not change any more.

        Raises:
            FramePackError: it cannot be decoded elsewhere, the disk is full or refuses, or
                memory ran out; where it is stored beside other work, :meth:`stored` raises it.
        """
        assert self._pending is None, "the section before is told first"
        stats, section, before = self._stats, rendered.section, self.state
        stats.end_section(rendered.num_steps)
        # Copied here, for a thread's copies would wait for the steps of the next section.
        history = replace(rendered.history, latents=rendered.history.latents.cpu())
        state = RunState(
            num_done=section.render_index + 1,
            history=history,
            seam=None,
            segments=before.segments,
            statistics=stats.to_state(),
            reference=before.reference or rendered.measures,
        )
        store = partial(self._store, section, rendered.latents.cpu(), rendered.settle, state)
        with stats.stage("write"):
            if self._thread is None or section.is_last_rendered:
                done = Future[RunState]()
                done.set_result(store())
            else:
                done = self._thread.submit(store)
        self._pending = _Pending(rendered, stats.elapsed_s - rendered.started_s, done)

    def stored(self, *, wait: bool = False) -> Iterator[SectionDone]:
        """Tell of the section that was put last, once, when it is stored.

        Args:
            wait: until it is stored; else say nothing of one that is not.

        Raises:
            FramePackError: as for :meth:`put`.
        """
        pending = self._pending
        if pending is None or not (wait or pending.state.done()):
            return
        self._pending = None
        with self._stats.stage("write"):
            self.state = pending.state.result()
        self._stats.num_frames = self.state.statistics["num_frames"]
        yield self._told(pending)

    @torch.inference_mode()
    def _store(
        self,
        section: Section,
        latents: Tensor,
        settle: Callable[[], SettledFrames],
        state: RunState,
    ) -> RunState:
        """Write frames and latents, and then the state, which says that they are there."""
        workspace = self._workspace
        settled = settle()
        try:
            segment = workspace.write_segment(
                section.segment_name,
                settled.start_frame,
                settled.frames(workspace.plan.num_kept_frames),
            )
            workspace.save_latents(section, latents)
            state = replace(state, seam=settled.seam)
            if segment is not None:
                num_frames = state.statistics["num_frames"] + segment.num_frames
                state = replace(
                    state,
                    segments=(*state.segments, segment),
                    statistics={**state.statistics, "num_frames": num_frames},
                )
            workspace.commit(state)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # Networks that take less would not help: it is the computer's own memory.
            raise WorkspaceError(
                f"memory ran out while section {section.index} was written to "
                f"{workspace.directory}; close other programs and resume the run"
            ) from error
        return state

    def _told(self, pending: _Pending) -> SectionDone:
        rendered, workspace = pending.rendered, self._workspace
        name = rendered.section.segment_name
        segment = next((each for each in self.state.segments if each.name == name), None)
        return SectionDone(
            elapsed_s=self._stats.elapsed_s,
            section=rendered.section.index,
            render_index=rendered.section.render_index,
            num_sections=workspace.plan.num_sections,
            seconds=pending.seconds,
            segment=str(workspace.segment_path(segment.name)) if segment else None,
            drift=rendered.drift,
            num_rerolls=rendered.num_rerolls,
        )
