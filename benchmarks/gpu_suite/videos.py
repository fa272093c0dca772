"""Sections and videos as the program makes them: its own plan, loop, decoder and file."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from benchmarks.common import ROOT
from benchmarks.gpu_suite.decoding import vae_of
from benchmarks.gpu_suite.memory import capped
from benchmarks.gpu_suite.networks import pass_arguments
from benchmarks.gpu_suite.runner import GIB, Measured, Suite, memory_fields, reset_peak, spent_s
from benchmarks.gpu_suite.steps import ours_of
from torch import Tensor, nn

import framepack
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.media.images import fit_image, load_image
from framepack.media.outputs import Outputs
from framepack.models.encoders import PromptEmbeds
from framepack.models.reuse import Reuse, RunTables
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Conditions, Pictures
from framepack.pipeline.decode import decode_section
from framepack.pipeline.delivery import Delivery
from framepack.pipeline.denoise import TIME_SCALE, denoise_section, section_noises
from framepack.pipeline.generate import generate
from framepack.pipeline.networks import NETWORKS
from framepack.pipeline.offloading import MemoryLimits
from framepack.pipeline.takes import empty_history
from framepack.pipeline.workspace import Workspace
from framepack.sampling.flow import sigmas
from framepack.sampling.solvers import sample

PICTURE = ROOT / "examples/hills.jpg"
_FPS, _SECTION_FRAMES = 30, 36


def plan_video(suite: Suite, sections: int, steps: int) -> Plan:
    """A bi-directional video of so many sections."""
    sizes, spec = suite.sizes, suite.sizes.spec
    request = GenerationRequest.parse(
        prompt="the camera pans left",
        model=spec.key,
        image=PICTURE,
        width=sizes.width,
        height=sizes.height,
        fps=_FPS,
        duration_s=(_SECTION_FRAMES * sections + 1) / _FPS,
        num_inference_steps=steps,
        seed=7,
    )
    return make_plan(
        request,
        model=spec.key,
        geometry=spec.geometry,
        defaults=spec.defaults,
        variants=spec.variants,
        image_size=(sizes.width, sizes.height),
    )


def conditions_of(suite: Suite, plan: Plan) -> Conditions:
    """Random embeddings in place of what the encoders would say; no step's cost depends on it."""
    sizes, fields = suite.sizes, suite.sizes.transformer
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    embeds = PromptEmbeds(
        prompt_embeds=normal(1, sizes.num_text, fields["text_embed_dim"]),
        prompt_mask=torch.ones(1, sizes.num_text, dtype=torch.bool),
        pooled=normal(1, fields["pooled_projection_dim"]),
    )
    start = normal(1, fields["in_channels"], 1, *sizes.latent_size)
    return Conditions(
        prompts={section.prompt: embeds for section in plan.sections},
        negative=None,
        start_latent=start,
        start_anchor=start,
        end_anchor=None,
        image_embeds=normal(1, sizes.num_picture, fields["image_proj_dim"]),
    )


def components_of(suite: Suite) -> Components:
    """Our transformer and the VAE as a model, on the device."""
    modules: dict[str, nn.Module] = {name: nn.Linear(1, 1) for name in NETWORKS}
    modules |= {"transformer": ours_of(suite), "vae": vae_of(suite)}
    components = Components(suite.sizes.spec, {}, suite.device)
    components.networks.adopt(modules, are_placed=False)
    return components


@dataclass
class FixedSchedule:
    """A step cache that spares every other step, whatever the step would give.

    With random weights a cache's own decision means nothing; what a spared step costs does.
    """

    after_first_block: bool = False
    num_asked: int = 0
    num_computed: int = 0
    _added: Tensor | None = None

    def reuse(self, _signal: Tensor) -> Tensor | None:
        """Every second time what was added last."""
        self.num_asked += 1
        return self._added if self.num_asked % 2 == 0 else None

    def keep(self, added: Tensor) -> None:
        """Remember what was added."""
        self.num_computed += 1
        self._added = added


def section(suite: Suite) -> Iterator[Measured]:
    """One section in the middle of a video with all its steps, decoded beside the one before."""
    plan = plan_video(suite, 3, suite.sizes.steps)
    conditions = conditions_of(suite, plan)
    components = components_of(suite)
    first, middle = plan.sections[:2]
    shape = (1, suite.sizes.transformer["in_channels"], 9, *suite.sizes.latent_size)
    noises = section_noises(plan, shape)
    history = empty_history(plan, conditions).add(next(noises))
    seam = decode_section(
        plan, first, history, conditions.start_latent, None, components.decode
    ).seam
    window, noise = history.window(middle.indices), next(noises)
    made: list[Tensor] = []

    def denoise() -> None:
        states = denoise_section(
            plan, middle, window, conditions, noise, components, tables=RunTables()
        )
        *_, last = states
        made.append(last.x0.cpu())

    def decode() -> None:
        grown = history.add(made[-1])
        decode_section(plan, middle, grown, conditions.start_latent, seam, components.decode)

    reset_peak(suite)
    denoise_s = spent_s(suite.device, denoise)
    decode_s = spent_s(suite.device, decode)
    steps, memory = suite.sizes.steps, memory_fields(suite)
    yield Measured("denoise", denoise_s, more={"steps": steps, "step_s": denoise_s / steps})
    whole = denoise_s + decode_s
    yield Measured("whole", whole, more={"decode_s": decode_s, **memory})
    yield Measured("frame", whole / _SECTION_FRAMES, more={"frames_per_s": _SECTION_FRAMES / whole})
    yield _half_the_steps(suite)


def _half_the_steps(suite: Suite) -> Measured:
    """The same loop with a step cache that spares every other step."""
    ours, sizes = ours_of(suite), suite.sizes
    given = pass_arguments(suite)
    latents = given.pop("hidden_states").float()
    given.pop("timestep")
    schedule, embedded = FixedSchedule(), Reuse()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma)
        timestep = torch.tensor([level * TIME_SCALE], device=suite.device).to(suite.dtype)
        flow = ours(
            hidden_states=x.to(suite.dtype),
            timestep=timestep,
            step_cache=schedule,
            reuse=Reuse(embedded.section, {}),
            **given,
        )[0]
        return x - level * flow.float()

    levels = sigmas(sizes.steps, latent_shape=(9, *sizes.latent_size), shift=0.0)
    spent = spent_s(
        suite.device, lambda: [*sample(denoise, latents, levels, sizes.spec.defaults.solver)]
    )
    more = {"steps": sizes.steps, "computed_steps": schedule.num_computed}
    return Measured("half-the-steps", spent, against="section/denoise", more=more)


def minute(suite: Suite) -> Iterator[Measured]:
    """A long video under a cap of device memory: is memory flat, and what would a minute take?

    Sections have one step, and as many are made as the time allows; denoising at all steps is
    reckoned from the streamed step that was measured before.
    """
    limits = MemoryLimits("auto" if suite.is_cuda else "group", suite.sizes.limit_bytes)
    plan = plan_video(suite, suite.sizes.minute_sections, 1)
    conditions = conditions_of(suite, plan)
    components = components_of(suite)
    components.networks.place_anew(limits, 1.0)
    with capped(suite), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        delivery = Delivery(Outputs(folder / "out.mp4"), thumbnail=False)
        pictures = Pictures(fit_image(load_image(PICTURE), plan.width, plan.height))
        run = Workspace.create(folder / "run", plan, delivery, pictures)
        run.save_conditions(conditions)
        seconds, peaks = _follow(suite, plan, components, run)
    components.networks.slots["transformer"].forget()
    suite.kept.pop("ours", None)
    yield from _about_minute(suite, plan, seconds, peaks)


def _follow(
    suite: Suite, plan: Plan, components: Components, run: Workspace
) -> tuple[list[float], list[float]]:
    """Seconds and peak GiB of each section, until the video is done or the time nearly is."""
    seconds: list[float] = []
    peaks: list[float] = []
    events = generate(plan, components, run)
    before = time.monotonic()
    reset_peak(suite)
    for event in events:
        if not isinstance(event, framepack.SectionDone):
            continue
        now = time.monotonic()
        seconds.append(now - before)
        before = now
        if suite.is_cuda:
            peaks.append(torch.cuda.max_memory_reserved(suite.device) / GIB)
            torch.cuda.reset_peak_memory_stats(suite.device)
        else:
            peaks.append(psutil.Process().memory_info().rss / GIB)
        if suite.left_s < 10 + 2 * seconds[-1]:
            events.close()  # type: ignore[attr-defined]
            break
    return seconds, peaks


def _about_minute(
    suite: Suite, plan: Plan, seconds: list[float], peaks: list[float]
) -> Iterator[Measured]:
    made: Mapping[str, Any] = {
        "sections_of_the_video": plan.num_sections,
        "is_whole": len(seconds) == plan.num_sections,
        "section_s": sum(seconds[1:]) / max(len(seconds) - 1, 1),
    }
    yield Measured("sections", float(len(seconds)), unit="sections", more=made)
    early, late = max(peaks[:2]), max(peaks[2:], default=peaks[-1])
    yield Measured(
        "peak-late", late, unit="GiB", more={"peak_early_gib": early, "ratio": early / late}
    )
    streamed = suite.results.get("memory/ours")
    if streamed is None or streamed.value is None:
        yield Measured("video-estimate", None, status="failed: the streamed step was not measured")
        return
    rest = made["section_s"] - streamed.value
    total = plan.num_sections * (suite.sizes.steps * streamed.value + max(rest, 0.0))
    more = {"is_estimate": True, "steps": suite.sizes.steps, "video_s": plan.num_sections * 1.2}
    yield Measured("video-estimate", total, more=more)
