"""The whole pipeline against diffusers' with the same weights, noise and noise levels.

    OMP_NUM_THREADS=1 PYTHONPATH=src:. python benchmarks/pipeline.py [--sections 5] [--steps 10]

Both make the same video of the embedded model by Euler's method, in turn, in one process. Texts
and the start picture are encoded beforehand and given to both. Time is the process's CPU seconds,
all threads together; of several rounds the least of each figure counts. One JSON line per row:

    latents    denoising alone
    decode     and decoding: diffusers keeps the video as one tensor, we hand out final frames
    file       and an H.264 file with the same encoder settings, written by diffusers' user once at
               the end; we write segments, keep every section's latents and can resume
    released   the same, but with the file of all there is so far written after every section,
               which is what the released program does and what our segments stand for

Errors: of latents, the norm of the difference by the norm; of decoded frames the largest
difference, where colours go from -1 to 1.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.common import ROOT, machine
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
)
from torch import Tensor

import framepack
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.media.codecs import h264_format
from framepack.media.encode import write_video
from framepack.media.images import fit_image, load_image, to_frames
from framepack.media.outputs import Outputs
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.conditions import Conditions, Pictures, encode_conditions
from framepack.pipeline.decode import Seam, decode_section
from framepack.pipeline.delivery import Delivery
from framepack.pipeline.device import keep_freed_memory
from framepack.pipeline.generate import generate
from framepack.pipeline.takes import empty_history
from framepack.pipeline.workspace import Workspace

FPS = 30
SAMPLING = {"bi-directional": "inverted_anti_drifting", "forward-only": "vanilla"}
TARGETS = {"latents": 1.5, "decode": None, "file": 2.0, "released": 2.0}
LARGEST_ERROR = 1e-4


@dataclass
class Made:
    """One video.

    Attributes:
        cpu_s: seconds up to the end of each row.
        latents: [1, C, T, h, w] fp32 in time order, with that of the start picture.
        pixels: [1, 3, F, H, W], -1 to 1; None of a run whose frames went to a file.
    """

    cpu_s: dict[str, float]
    latents: Tensor
    pixels: Tensor | None


class TheirPipeline(HunyuanVideoFramepackPipeline):  # type: ignore[misc]
    """diffusers' pipeline with encoded pictures given, and a clock.

    Attributes:
        conditions: encoded texts and pictures.
        file: written with all frames so far after each section but the last.
        decode_s: seconds of decoding and joining.
        write_s: seconds of each file.
    """

    conditions: Conditions
    file: Path
    decode_s: float
    write_s: list[float]

    def encode_image(self, *_: Any, **__: Any) -> Tensor:
        """What the image encoder saw."""
        return self.conditions.image_embeds

    def prepare_image_latents(self, *_: Any, **__: Any) -> Tensor:
        """The latent of the start picture."""
        return self.conditions.start_latent

    def _soft_append(self, history: Tensor, current: Tensor, overlap: int = 0) -> Tensor:
        joined: Tensor = super()._soft_append(history, current, overlap)
        if not self.write_s:  # what the first section gave: the shorter of the two, or both alike
            self.write(min(history, current, key=lambda each: each.shape[2]))
        self.write(joined)
        return joined

    def write(self, pixels: Tensor) -> None:
        """Write a file, and note the time."""
        begun = time.process_time()
        height, width = pixels.shape[3:]
        write_video(
            to_frames(pixels),
            self.file,
            width=width,
            height=height,
            fps=FPS,
            video_format=h264_format(16, "medium"),
        )
        self.write_s.append(time.process_time() - begun)


@dataclass
class Case:
    """What both make."""

    plan: Plan
    components: Components
    conditions: Conditions
    pictures: Pictures
    theirs: TheirPipeline
    picture: Path
    folder: Path
    best: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    def note(self, name: str, made: Made) -> None:
        """Keep the least of each figure."""
        for row, seconds in made.cpu_s.items():
            self.best[name][row] = min(seconds, self.best[name].get(row, seconds))


def plan_video(variant: str, sections: int, steps: int, size: int, picture: Path) -> Plan:
    """A plan by the rules that diffusers follows too: Euler's method, the official gaps."""
    spec = resolve_spec("tiny")
    asked = GenerationRequest.parse(
        prompt="the camera pans left",
        model=spec.key,
        variant=variant,
        image=picture,
        width=size,
        height=size,
        fps=FPS,
        duration_s=(36 * sections + 1) / FPS,
        num_inference_steps=steps,
        solver="euler",
        seed=7,
    )
    plan = make_plan(
        asked,
        model=spec.key,
        geometry=replace(spec.geometry, trained_padding=None),
        defaults=spec.defaults,
        variants=spec.variants,
        image_size=(size, size),
    )
    if plan.num_sections != sections:
        raise SystemExit(f"{plan.num_sections} sections were planned, {sections} were asked for")
    return plan


def load_theirs(components: Components, conditions: Conditions, folder: Path) -> TheirPipeline:
    """diffusers' classes with our weights."""
    transformer: Any = HunyuanVideoFramepackTransformer3DModel.from_config(
        components.transformer.config
    )
    transformer.load_state_dict(components.transformer.state_dict())
    vae: Any = AutoencoderKLHunyuanVideo.from_pretrained(components.folders["vae"])
    for network, name in ((transformer, "transformer"), (vae, "vae")):
        network.to(components.dtype_of(name)).eval().requires_grad_(False)
    pipeline = TheirPipeline(
        text_encoder=None,
        tokenizer=None,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder_2=None,
        tokenizer_2=None,
        image_encoder=None,
        feature_extractor=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.conditions, pipeline.file = conditions, folder / "theirs.mp4"
    return pipeline


def make_theirs(case: Case) -> Made:
    """One video by diffusers, twice: its latents alone, then all."""
    begun = time.process_time()
    latents = _call_theirs(case, "latent")[-1]
    latents_s = time.process_time() - begun

    case.theirs.write_s = []
    begun = time.process_time()
    frames = _call_theirs(case, "pt")  # [1, F, 3, H, W], 0 to 1
    all_s = time.process_time() - begun
    decode_s = all_s - sum(case.theirs.write_s)
    pixels = frames.transpose(1, 2) * 2 - 1
    *_, last_s = case.theirs.write_s
    cpu_s = {
        "latents": latents_s,
        "decode": decode_s,
        "file": decode_s + last_s,
        "released": all_s,
    }
    return Made(cpu_s, latents.float(), pixels.float())


def _call_theirs(case: Case, output_type: str) -> Any:
    plan = case.plan
    embeds = case.conditions.prompt(plan.sections[0])
    return case.theirs(
        image=case.pictures.start,
        prompt_embeds=embeds.prompt_embeds,
        pooled_prompt_embeds=embeds.pooled,
        prompt_attention_mask=embeds.prompt_mask,
        height=plan.height,
        width=plan.width,
        num_frames=33 * plan.num_sections,  # this many make as many sections
        latent_window_size=plan.latent_window_size,
        num_inference_steps=plan.request.num_inference_steps,
        guidance_scale=plan.request.guidance_scale,
        generator=torch.Generator().manual_seed(plan.seed),
        sampling_type=SAMPLING[plan.variant],
        output_type=output_type,
    ).frames


def make_ours(case: Case) -> Made:
    """One video by this package, as ``framepack generate`` makes it."""
    with tempfile.TemporaryDirectory(dir=case.folder) as name:
        folder = Path(name)
        delivery = Delivery(Outputs(folder / "out.mp4"), thumbnail=False, keep_run=True)
        run = Workspace.create(folder / "run", case.plan, delivery, case.pictures)
        run.save_conditions(case.conditions)
        spent = _seconds_by_stage(generate(case.plan, case.components, run))
        by_time = sorted(case.plan.sections, key=lambda section: section.index)
        latents = [case.conditions.start_latent, *(run.load_latents(each) for each in by_time)]
    denoise, decode = spent["denoise"], spent["decode"]
    file = denoise + decode + spent["write"]
    cpu_s = {"latents": denoise, "decode": denoise + decode, "file": file, "released": file}
    return Made(cpu_s, torch.cat(latents, dim=2), None)


def _seconds_by_stage(events: Iterable[framepack.Event]) -> dict[str, float]:
    """CPU seconds by stage; what is spent between two events belongs to the stage begun last."""
    spent: dict[str, float] = defaultdict(float)
    stage, before = "load", time.process_time()
    for event in events:
        spent[stage] += time.process_time() - before
        if isinstance(event, framepack.StageStarted):
            stage = event.stage
        before = time.process_time()
    return spent


@torch.inference_mode()
def _decoded(case: Case, latents: Tensor) -> Tensor:
    """The frames of our video, [1, 3, F, H, W], decoded again as the run did it."""
    plan, size = case.plan, case.plan.latent_window_size
    history = empty_history(plan, case.conditions)
    seam: Seam | None = None
    pixels = torch.empty(1, 3, plan.num_generated_frames, plan.height, plan.width)
    for section in plan.sections:
        first = 1 + size * section.index
        history = history.add(latents[:, :, first : first + size])
        settled = decode_section(
            plan, section, history, case.conditions.start_latent, seam, case.components.decode
        )
        start, number = settled.start_frame, settled.pixels.shape[2]
        pixels[:, :, start : start + number] = settled.pixels
        seam = settled.seam
    return pixels


def _warm_up(case: Case) -> None:
    """Run both unmeasured: two sections, one step each."""
    plan = plan_video(case.plan.variant, 2, 1, case.plan.width, case.picture)
    short = replace(case, plan=plan, best=defaultdict(dict))
    make_ours(short)
    make_theirs(short)


def measure(options: argparse.Namespace, variant: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a variant."""
    settings = Settings.load(device="cpu", dtype=options.dtype, keep_embeddings=False)
    components = load_components(resolve_spec("tiny"), settings)
    picture = ROOT / "examples/hills.jpg"
    plan = plan_video(variant, options.sections, options.steps, options.size, picture)
    start = fit_image(load_image(picture), plan.width, plan.height)
    pictures = Pictures(start)
    conditions = encode_conditions(plan, components, pictures)
    theirs = load_theirs(components, conditions, folder)
    case = Case(plan, components, conditions, pictures, theirs, picture, folder)
    _warm_up(case)
    for _ in range(options.repeats):
        ours = make_ours(case)
        case.note("ours", ours)
        other = make_theirs(case)
        case.note("diffusers", other)
    latent_error = float((ours.latents - other.latents).norm() / other.latents.norm())
    pixels = _decoded(case, ours.latents).clamp(-1, 1)
    pixel_error = float((pixels - other.pixels).abs().max())
    for row, target in TARGETS.items():
        spent, theirs_s = case.best["ours"][row], case.best["diffusers"][row]
        yield {
            "benchmark": "pipeline",
            "row": row,
            "variant": variant,
            "ratio": round(theirs_s / spent, 3),
            "target": target,
            "ours_cpu_s": round(spent, 3),
            "diffusers_cpu_s": round(theirs_s, 3),
            "error": latent_error if row == "latents" else pixel_error,
            "error_allowed": LARGEST_ERROR if row == "latents" else None,
            "sections": options.sections,
            "steps": options.steps,
            "size_px": options.size,
            "dtype": options.dtype,
            **machine(),
        }


def main() -> None:
    """Measure, and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--variant", action="append", choices=tuple(SAMPLING))
    options = parser.parse_args()
    keep_freed_memory()  # as `framepack` does; it serves both
    for variant in options.variant or SAMPLING:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(options, variant, Path(folder)):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
