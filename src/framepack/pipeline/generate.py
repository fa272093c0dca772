"""READ THIS FIRST: how a plan becomes a video.

Texts and pictures are encoded once. Then, section by section, noise is denoised next to
the packed history of what was generated before, the new latents join the history, the
decoder turns them into frames, the seam to the neighbouring section is blended, and
frames that can no longer change are encoded and put on disk. After each section the run
directory holds all that the next one needs. At the end the segments become one file.

The bi-directional variant runs through the video from its end to its start, the
forward-only one from start to end; nothing here depends on which.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

import framepack
from framepack.domain.events import (
    Event,
    Finished,
    Planned,
    StageStarted,
    StepDone,
)
from framepack.domain.plan import Plan, Section
from framepack.domain.settings import Settings
from framepack.media.drift import SectionMeasures
from framepack.models.reuse import RunTables
from framepack.pipeline import storing
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Conditions, encode_conditions
from framepack.pipeline.decode import SettledFrames, decode_section
from framepack.pipeline.deliver import deliver, write_video_thumbnail
from framepack.pipeline.denoise import denoise_section, section_noises
from framepack.pipeline.from_video import encode_source
from framepack.pipeline.history import LatentHistory
from framepack.pipeline.memory_retries import retrying
from framepack.pipeline.offloading import section_tokens
from framepack.pipeline.preview import PreviewWriter
from framepack.pipeline.reroll import drift_score, measured, other_noise
from framepack.pipeline.run_state import RunState
from framepack.pipeline.statistics import RunStatistics
from framepack.pipeline.takes import first_state
from framepack.pipeline.vae import open_decoder
from framepack.pipeline.workspace import Workspace
from framepack.weights.ifnet_files import rife_hashes
from framepack.weights.lora_request import load_loras, lora_hashes

__all__ = ["generate"]

logger = logging.getLogger(__name__)


@torch.inference_mode()
def generate(
    plan: Plan,
    components: Components | Callable[[], Components],
    workspace: Workspace,
    settings: Settings | None = None,
) -> Iterator[Event]:
    """Make the video of a plan, or go on where an earlier process stopped.

    Pull the events to make it happen; close the iterator to cancel, which takes effect
    within one step, and when a section that is being written is on the disk. The workspace
    then stays resumable, as it does when the process is killed, and the finished video is the
    same as that of an undisturbed run.

    Args:
        plan: the workspace's plan.
        components: the networks, or a function that loads them once the plan is announced.
        workspace: the run directory; locked while events are pulled.
        settings: say where a remote VAE is; read from file and environment when None.

    Where memory runs out, what was begun is made again more modestly; see ``retrying``.

    Yields:
        Planned; StageStarted for load and encode; for each section StageStarted for denoise,
        decode and write, StepDone for each step and SectionDone, which may come among the steps
        of the next section; StageStarted for write; Finished.

    Raises:
        WorkspaceError: the run directory is in use, damaged, belongs to other weights, or the
            disk is full.
    """
    with workspace:
        state = workspace.load_state()
        stats = RunStatistics.from_state(state.statistics) if state else RunStatistics()
        yield Planned(elapsed_s=stats.elapsed_s, plan=plan.to_dict())

        yield StageStarted(elapsed_s=stats.elapsed_s, stage="load")
        with stats.stage("load"):
            if not isinstance(components, Components):
                components = components()
            num_tokens = section_tokens(plan, components.spec)
            components.networks.expect(num_tokens)
            began_with = workspace.made_with.get("attention")
            components.networks.choose_execution(
                num_tokens,
                began_with=began_with,
                approximate=plan.request.allows_approximate_attention,
            )
            asked, weights = plan.request.loras, plan.lora_weights
            decoder = open_decoder(plan.request, components, settings)
            hashes = {**components.hashes, **lora_hashes(asked), **rife_hashes(plan.request)}
            workspace.bind({**hashes, **decoder.hashes}, _made_with(components))
            merged = components.networks.with_loras(
                load_loras(asked, weights[0]), are_weighed=len(weights) > 1
            )
        with merged, components.with_decoder(decoder.decode):
            yield from _make(workspace, components, state, stats)


def _make(
    workspace: Workspace, components: Components, state: RunState | None, stats: RunStatistics
) -> Iterator[Event]:
    """Encode what steers the video, render what is not rendered yet, and write the file."""
    plan = workspace.plan
    conditions, state = yield from retrying(
        lambda: _encode(workspace, components, state, stats), components, stats
    )
    noises = section_noises(
        plan, _section_shape(plan, conditions), first_render_index=state.num_done
    )
    is_beside = _is_decoded_beside(plan) or storing.costs_nothing_beside(components.device)
    with storing.SectionStore(workspace, state, stats, is_beside=is_beside) as store:
        run = _Run(workspace, components, conditions, stats, store)
        history = state.history
        for section, noise in zip(plan.sections[state.num_done :], noises, strict=True):
            render = partial(run.render, section, history, noise)
            history = yield from retrying(render, components, stats, section=section.index)

    yield StageStarted(elapsed_s=stats.elapsed_s, stage="write")
    yield _finish(workspace, store.state, stats, components.device)


def _encode(
    workspace: Workspace, components: Components, state: RunState | None, stats: RunStatistics
) -> Generator[Event, None, tuple[Conditions, RunState]]:
    """What steers the video, and the state that its next section begins with."""
    yield StageStarted(elapsed_s=stats.elapsed_s, stage="encode")
    with stats.stage("encode"):
        conditions = workspace.load_conditions()
        if conditions is None:
            conditions = encode_conditions(workspace.plan, components, workspace.pictures())
            workspace.save_conditions(conditions)
        if workspace.plan.request.video is not None:
            encode_source(workspace, components)
    if state is None:
        with stats.stage("decode"):
            state = first_state(workspace, components, conditions)
    return conditions, state


@dataclass(frozen=True)
class _Attempt:
    """A section that is rendered but not stored yet."""

    latents: Tensor
    history: LatentHistory
    settle: Callable[[], SettledFrames]
    measures: SectionMeasures | None
    drift: float
    num_skipped_steps: int


@dataclass(frozen=True)
class _Run:
    """What stays the same from section to section."""

    workspace: Workspace
    components: Components
    conditions: Conditions
    stats: RunStatistics
    store: storing.SectionStore
    tables: RunTables = field(default_factory=RunTables)

    def render(
        self, section: Section, history: LatentHistory, noise: Tensor
    ) -> Generator[Event, None, LatentHistory]:
        """Denoise, decode and blend one section, have it stored, and return the history."""
        plan, stats = self.workspace.plan, self.stats
        num_steps = plan.request.num_inference_steps - plan.num_spared_steps
        number = section.render_index + 1
        logger.info("section %d, %d of %d", section.index, number, plan.num_sections)
        started_s = stats.elapsed_s

        attempt, num_rerolls, num_skipped = yield from self._best_attempt(section, history, noise)
        yield StageStarted(elapsed_s=stats.elapsed_s, stage="write", section=section.index)
        stats.num_skipped_steps += num_skipped  # here, for what is given up does not count
        stats.note_memory(self.components.device)
        rendered = storing.Rendered(
            section,
            attempt.latents,
            attempt.history,
            attempt.settle,
            started_s,
            num_steps * (1 + num_rerolls),
            measures=attempt.measures,
            drift=attempt.drift if plan.request.reroll else None,
            num_rerolls=num_rerolls,
        )
        self.store.put(rendered)
        yield from self.store.stored()
        return attempt.history

    def _best_attempt(
        self, section: Section, history: LatentHistory, noise: Tensor
    ) -> Generator[Event, None, tuple[_Attempt, int, int]]:
        """Make a section, again from other noise as long as it drifts and may be.

        Returns:
            The attempt that drifts least, how many there were beside the first, and the steps
            that were skipped in all.
        """
        plan = self.workspace.plan
        attempt = yield from self._attempt(section, history, noise)
        num_rerolls, num_skipped = 0, attempt.num_skipped_steps
        while attempt.drift > plan.request.drift_limit and num_rerolls < plan.request.reroll:
            num_rerolls += 1
            other = other_noise(plan, section, num_rerolls, noise.shape)
            again = yield from self._attempt(section, history, other)
            num_skipped += again.num_skipped_steps
            attempt = min(attempt, again, key=lambda each: each.drift)
        return attempt, num_rerolls, num_skipped

    def _attempt(
        self, section: Section, history: LatentHistory, noise: Tensor
    ) -> Generator[Event, None, _Attempt]:
        """Denoise and decode a section, and measure it if sections that drift are made again."""
        plan, stats = self.workspace.plan, self.stats
        yield StageStarted(elapsed_s=stats.elapsed_s, stage="denoise", section=section.index)
        latents, num_skipped = yield from self._denoise(section, history, noise)
        history = history.add(latents)

        yield from self.store.stored(wait=True)  # its seam is blended with
        yield StageStarted(elapsed_s=stats.elapsed_s, stage="decode", section=section.index)
        before, start = self.store.state, self.conditions.start_latent
        settle = partial(
            decode_section, plan, section, history, start, before.seam, self.components.decode
        )
        if _is_decoded_beside(plan):
            return _Attempt(latents, history, settle, None, 0.0, num_skipped)
        with stats.stage("decode"):
            settled = settle()
            stats.count_tiles(*self.components.tile_counts)
            measures = measured(settled) if plan.request.reroll else None
        drift = drift_score(measures, before.reference) if measures is not None else 0.0
        return _Attempt(latents, history, lambda: settled, measures, drift, num_skipped)

    def _denoise(
        self, section: Section, history: LatentHistory, noise: Tensor
    ) -> Generator[Event, None, tuple[Tensor, int]]:
        """Turn noise into the section's latents [1, C, T, h, w], next to the packed history.

        Returns:
            The latents, and how many steps were skipped.
        """
        plan, stats = self.workspace.plan, self.stats
        window = history.window(
            section.indices,
            # Only here: in later sections real history has taken its place.
            end_latent=self.conditions.end_anchor if section.is_first_rendered else None,
        )
        if section.loras:
            self.components.networks.weigh_loras(section.loras)
            self.tables.suit(section.loras)
        source = self.workspace.load_source(section) if plan.request.video is not None else None
        steps = denoise_section(
            plan,
            section,
            window,
            self.conditions,
            noise,
            self.components,
            source=source,
            tables=self.tables,
        )
        preview = PreviewWriter(self.workspace.preview_path, self.components.preview)
        num_skipped = 0
        for step, seconds in stats.each("denoise", steps):
            with stats.stage("denoise"):
                shown = preview.show(step)
                self.components.networks.follow_memory()
            num_skipped += step.skipped
            yield from self.store.stored()
            yield StepDone(
                elapsed_s=stats.elapsed_s,
                section=section.index,
                render_index=section.render_index,
                num_sections=plan.num_sections,
                step=step.step,
                num_steps=step.num_steps,
                seconds=seconds,
                preview=shown,
                skipped=step.skipped,
            )
        return step.x0, num_skipped


def _made_with(components: Components) -> dict[str, str]:
    quantized = components.networks.quantization.title
    return {
        **({"quantisation": quantized} if quantized != "none" else {}),
        "framepack": framepack.__version__,
        "torch": torch.__version__,
        "device": components.device.type,
        "dtype": str(components.dtype).removeprefix("torch."),
        **components.networks.execution_record,
    }


def _is_decoded_beside(plan: Plan) -> bool:
    """Whether sections are decoded while the next one is denoised: on another computer alone.

    Here decoding would take the device's time and memory from the next section.
    """
    return plan.request.vae == "remote" and not plan.request.reroll


def _section_shape(plan: Plan, conditions: Conditions) -> tuple[int, ...]:
    """[1, C, T, h, w] of one section's latents."""
    batch, channels, _, height, width = conditions.start_latent.shape
    return batch, channels, plan.latent_window_size, height, width


def _finish(
    workspace: Workspace, state: RunState, stats: RunStatistics, device: torch.device
) -> Finished:
    """Join the segments and clear up."""
    plan, delivery = workspace.plan, workspace.delivery
    with stats.stage("write"):
        num_frames = deliver(workspace, state, stats.summary(), device=str(device))
        is_shown_small = delivery.thumbnail and not plan.request.one_frame
        thumbnail = write_video_thumbnail(workspace, state) if is_shown_small else None
        if not delivery.keep_run:
            workspace.remove()
    return Finished(
        elapsed_s=stats.elapsed_s,
        path=str(workspace.main_output),
        num_frames=num_frames,
        duration_s=0.0 if plan.request.one_frame else num_frames / plan.fps,
        stats=stats.summary(),
        thumbnail=str(thumbnail) if thumbnail else None,
    )
