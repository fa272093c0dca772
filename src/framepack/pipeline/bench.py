"""What this machine does: a short video of the embedded model, and what the 13B would take."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

from framepack.domain.events import Finished, StepDone
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.media.outputs import Outputs
from framepack.models.spec import PRESETS
from framepack.pipeline.bench_published import (
    PublishedEstimate,
    estimate_published,
    measured_size,
)
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.conditions import Pictures
from framepack.pipeline.delivery import Delivery
from framepack.pipeline.device import choose_dtype, memory_bytes
from framepack.pipeline.generate import generate
from framepack.pipeline.sanity import case_picture
from framepack.pipeline.statistics import peak_device_gb, peak_host_gb
from framepack.pipeline.workspace import Workspace

__all__ = ["BenchResult", "VideoFigures", "busy_percent", "make_video", "run_bench"]

SIDE_PX, SECTIONS, STEPS = 128, 2, 10
_FPS, _SECTION_FRAMES = 30, 36
_ROUNDS, _ROUNDS_QUICK = 3, 1
_BUSY_S = 0.5

Progress = Callable[[str, float], None]
"""Told what is done, and how much of all is done, 0 to 1."""


@dataclass(frozen=True)
class VideoFigures:
    """A short video of the embedded model, least of some rounds.

    Attributes:
        width, height: px.
        sections, steps: of the video; steps per section.
        num_frames: of the video.
        rounds: how often it was made.
        step_s: the quickest denoising step.
        step_median_s: the median one; far above the quickest where the machine is not at rest.
        decode_s: decoding per section.
        write_s: encoding the file, per section.
        total_s: encoding prompt and picture, and all sections.
        frame_s: ``total_s`` by the frames.
    """

    width: int
    height: int
    sections: int
    steps: int
    num_frames: int
    rounds: int
    step_s: float
    step_median_s: float
    decode_s: float
    write_s: float
    total_s: float
    frame_s: float


@dataclass(frozen=True)
class BenchResult:
    """All that was measured.

    Attributes:
        quick: only the shorter part was done.
        busy_percent: of the processor, by other programs, just before.
        video: of the embedded model.
        published: what the 13B would take, an estimate; None where it was left out.
        published_reason: why it was left out, or "".
        peak_host_gb: most memory of this process, GB of 10**9 bytes.
        peak_device_gb: most memory on the accelerator; None on a CPU.
        elapsed_s: seconds that all of this took.
    """

    quick: bool
    busy_percent: float
    video: VideoFigures
    published: PublishedEstimate | None
    published_reason: str
    peak_host_gb: float
    peak_device_gb: float | None
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def run_bench(
    settings: Settings, *, quick: bool = False, on_progress: Progress = lambda _, __: None
) -> BenchResult:
    """Measure this machine; about a minute, or a quarter of one.

    Args:
        settings: give device and number format.
        quick: make the video once, and leave the 13B out.
        on_progress: told how far it is.

    Raises:
        InvalidRequest: the device asked for is not there.
        MissingWeights: the embedded model is missing.
    """
    begun = time.monotonic()
    on_progress("looking whether the machine is at rest", 0.0)
    busy = busy_percent()
    on_progress("loading the embedded model", 0.02)
    # What was encoded before would be left out of the seconds.
    fresh = settings.model_copy(update={"keep_embeddings": False})
    components = load_components(PRESETS["tiny"], fresh)
    rounds = _ROUNDS_QUICK if quick else _ROUNDS
    share = 1.0 if quick else 0.5
    video = make_video(
        components,
        rounds=rounds,
        on_progress=lambda done: on_progress("a video of the embedded model", 0.05 + share * done),
    )
    # The embedded model's own peak: what follows is another model's.
    host_gb, device_gb = peak_host_gb(), peak_device_gb(components.device)
    published, reason = None, "left out by --quick"
    if not quick:
        published, reason = _published(
            components.device, settings, lambda what: on_progress(what, 0.55)
        )
    on_progress("done", 1.0)
    return BenchResult(
        quick=quick,
        busy_percent=busy,
        video=video,
        published=published,
        published_reason=reason,
        peak_host_gb=host_gb,
        peak_device_gb=device_gb,
        elapsed_s=time.monotonic() - begun,
    )


def busy_percent() -> float:
    """How much of the processor programs use now, percent."""
    return float(psutil.cpu_percent(interval=_BUSY_S))


def make_video(
    components: Components,
    *,
    rounds: int,
    sections: int = SECTIONS,
    steps: int = STEPS,
    side_px: int = SIDE_PX,
    on_progress: Callable[[float], None] = lambda _: None,
) -> VideoFigures:
    """Make the same short video some times, as ``framepack generate`` does, and keep the least.

    Args:
        components: the embedded model on some device.
        rounds: how often.
        sections, steps, side_px: of the video.
        on_progress: told how much is done, 0 to 1.
    """
    plan = _plan(sections, steps, side_px)
    total = rounds * plan.num_sections * steps
    step_s: list[float] = []
    made = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="framepack-bench-") as name:
            folder = Path(name)
            delivery = Delivery(Outputs(folder / "bench.mp4"), thumbnail=False)
            picture = case_picture().resize((side_px, side_px))
            run = Workspace.create(folder / "run", plan, delivery, Pictures(start=picture))
            for event in generate(plan, components, run):
                if isinstance(event, StepDone):
                    step_s.append(event.seconds)
                    on_progress(len(step_s) / total)
                if isinstance(event, Finished):
                    made.append(event)
    stats = [event.stats for event in made]
    total_s = min(each["total_s"] - each["stage_s"]["load"] for each in stats)
    return VideoFigures(
        width=plan.width,
        height=plan.height,
        sections=plan.num_sections,
        steps=steps,
        num_frames=plan.num_frames,
        rounds=rounds,
        step_s=min(step_s),
        step_median_s=median(step_s),
        decode_s=min(each["section_s"]["decode"] for each in stats),
        write_s=min(each["section_s"]["write"] for each in stats),
        total_s=total_s,
        frame_s=total_s / plan.num_frames,
    )


def _plan(sections: int, steps: int, side_px: int) -> Plan:
    spec = PRESETS["tiny"]
    fields: Mapping[str, Any] = {
        "prompt": "the camera pans left",
        "model": spec.key,
        "width": side_px,
        "height": side_px,
        "fps": _FPS,
        "duration_s": (_SECTION_FRAMES * sections + 1) / _FPS,
        "num_inference_steps": steps,
        "seed": 20250417,
    }
    return make_plan(
        GenerationRequest.parse(**fields),
        model=spec.key,
        geometry=spec.geometry,
        defaults=spec.defaults,
        variants=spec.variants,
        image_size=(side_px, side_px),
    )


def _published(
    device: torch.device, settings: Settings, on_progress: Callable[[str], None]
) -> tuple[PublishedEstimate | None, str]:
    """The 13B's estimate, or why there is none."""
    dtype = choose_dtype(device, "transformer", settings.dtype)
    free, _ = memory_bytes(device)
    size = measured_size(device, dtype, free)
    if size == (0, 0):
        return None, f"{free / 1e9:.1f} GB are free, too little for a few of its layers"
    vae_dtype = choose_dtype(device, "vae", settings.dtype)
    try:
        return estimate_published(device, dtype, vae_dtype, size, on_progress=on_progress), ""
    except torch.OutOfMemoryError:
        return None, "the device ran out of memory with a few of its layers"
