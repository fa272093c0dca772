"""Everything about a video that can be decided before a weight is loaded.

``make_plan`` turns a request and a model's plain numbers into a ``Plan``: size, seed, exact
frame count, and every section with its frame indices, in rendering order.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelDefaults, ModelGeometry
from framepack.domain.lengths import Length, choose_length
from framepack.domain.request import GenerationRequest, ResolvedRequest, Variant, explain
from framepack.domain.schedule import MAX_SWAY
from framepack.domain.sections import Section, plan_sections
from framepack.domain.sizes import choose_size
from framepack.domain.sources import VideoFacts

__all__ = ["Mode", "ModelDefaults", "ModelGeometry", "Plan", "Section", "make_plan"]

Mode = Literal["t2v", "i2v", "flf2v", "lf2v"]
"""Text alone, start picture, start and end picture (first-last), end picture alone (last)."""


class Plan(BaseModel):
    """What exactly will be computed; survives a round trip through JSON unchanged.

    Attributes:
        plan_version: version of this schema.
        request: the request with every default filled in.
        model: preset name, or path of a model folder or recipe.
        variant: order in which sections are rendered.
        mode: which pictures there are.
        width: px.
        height: px.
        fps: frames per second of the file.
        seed: start of all randomness.
        num_frames: frames written, exactly.
        num_kept_frames: generated frames the video is made of; fewer than are written where
            frames are interpolated.
        num_generated_frames: frames decoded; those past ``num_kept_frames`` are trimmed.
        num_prefix_frames: frames of a video to extend that stand before frame 0 of the sections.
        num_given_sections: sections at the start whose frames are those of that video.
        latent_window_size: latent frames per section.
        has_start: the start picture's latent is part of the video.
        sections: in rendering order.
        notes: lines that people should see.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    plan_version: Literal[1] = 1
    request: ResolvedRequest
    model: str
    variant: Variant
    mode: Mode
    width: int
    height: int
    fps: float
    seed: int
    num_frames: int
    num_kept_frames: int
    num_generated_frames: int
    num_prefix_frames: int = 0
    num_given_sections: int = 0
    latent_window_size: int
    has_start: bool
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_sections(self) -> int:
        """Sections to render."""
        return len(self.sections)

    @property
    def duration_s(self) -> float:
        """True length of the video, seconds; 0 for one picture."""
        return 0.0 if self.request.one_frame else self.num_frames / self.fps

    @property
    def num_spared_steps(self) -> int:
        """First steps that are left out because a video to draw anew stands for their result."""
        request = self.request
        if request.video is None:
            return 0
        steps = request.num_inference_steps
        return min(round(steps * request.video_strength), steps - 1)

    @property
    def generated_fps(self) -> float:
        """Generated frames per second of the video; below ``fps`` with interpolation."""
        return self.fps / max(self.request.interpolate, 1)

    @property
    def lora_weights(self) -> tuple[tuple[float, ...], ...]:
        """Weights that the request's LoRAs have in sections, each once, in rendering order."""
        own = tuple(lora.weight for lora in self.request.loras)
        return tuple(dict.fromkeys(section.loras or own for section in self.sections))

    @property
    def is_inverted(self) -> bool:
        """Whether the end is rendered first (inverted anti-drifting sampling)."""
        return self.variant == "bi-directional"

    @property
    def target(self) -> str:
        """The line that announces a video: the target of the original rule, and the true count.

        Of one picture it says where it stands.
        """
        if self.request.one_frame:
            return f"One picture, at index {self.request.target_index} of the time axis."
        number = self.num_sections - self.num_given_sections
        target = (4 * self.latent_window_size - 3) * number + 1
        sections = "section" if number == 1 else "sections"
        return (
            f"Target video: {target} frames in {number} {sections}; "
            f"exactly {self.num_frames} frames are written."
        )

    def with_texts(self, texts: Mapping[str, str]) -> Self:
        """The same plan with other texts in its sections.

        Args:
            texts: from each text that changes to the one that takes its place.
        """
        sections = tuple(
            replace(
                section,
                prompt=texts.get(section.prompt, section.prompt),
                mixture=tuple((texts.get(text, text), share) for text, share in section.mixture),
            )
            for section in self.sections
        )
        return self.model_copy(update={"sections": sections})

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-able values."""
        return self.model_dump(mode="json")

    def to_json(self, indent: int | None = None) -> str:
        """The plan as JSON text."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Plan":
        """Read a plan back.

        Raises:
            InvalidRequest: the text is not a plan of this version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the text"
            raise InvalidRequest(
                f"this is not a plan that can be read: {where}: {first['msg']}; "
                "make it anew with `framepack plan --json`"
            ) from error


def make_plan(
    request: GenerationRequest,
    *,
    model: str,
    geometry: ModelGeometry,
    defaults: ModelDefaults,
    variants: Sequence[Variant],
    image_size: tuple[int, int] | None = None,
    end_image_size: tuple[int, int] | None = None,
    video: VideoFacts | None = None,
    allow_empty: bool = False,
) -> Plan:
    """Decide everything about a video.

    Args:
        request: as asked.
        model: name under which the model is found again (``ModelSpec.key``).
        geometry: the model's sizes.
        defaults: the model's own defaults.
        variants: rendering orders the model serves.
        image_size: (width, height) in px of the start picture as it is shown.
        end_image_size: the same of the end picture.
        video: what is known of the video to extend or to redraw.
        allow_empty: accept a request without prompt and picture, to look at its plan only.

    Returns:
        The plan; same request with a seed, same plan.

    Raises:
        InvalidRequest: the request and the model do not fit, or the request says nothing.
        ValueError: the request names a picture whose size is needed and was not given.
    """
    if not allow_empty:
        request.require_subject()
    extended = video if request.extend is not None else None
    if video is not None and image_size is None:
        image_size = video.size  # one of its frames is the start picture
    mode = _mode(request, image_size, end_image_size)
    aims = mode in ("flf2v", "lf2v")
    variant = _choose_variant(request, model, defaults, variants, aims=aims)
    if request.one_frame and variant == "forward-only":
        raise InvalidRequest(
            "one frame (--one-frame) stands where the bi-directional variant places it, next to "
            "the start picture; use a bi-directional model such as i2v (--variant bi-directional)"
        )
    if aims and variant == "forward-only":
        given, option = ("a loop", "--loop") if request.loop else ("an end picture", "--end-image")
        raise InvalidRequest(
            f"{given} was asked for, but the forward-only variant starts from the beginning and "
            f"cannot aim at an end; leave {option} out, or use a bi-directional model such as "
            "i2v (--variant bi-directional)"
        )
    resolution = request.resolution or defaults.resolution
    shape = _shape(request, mode, image_size, end_image_size)
    width, height = choose_size(request, model, geometry, resolution, shape)
    # One frame is decoded by itself.
    has_start = mode in ("i2v", "flf2v") and not request.one_frame
    length = choose_length(
        request,
        has_start=has_start,
        has_end=aims,
        stride=geometry.temporal_stride,
        extended=extended,
        num_context=geometry.layout.history_frames - 1,
    )
    resolved = _resolve(
        request,
        defaults,
        model=model,
        variant=variant,
        resolution=resolution,
        width=width,
        height=height,
    )
    if resolved.zero_init_steps >= resolved.num_inference_steps:
        raise InvalidRequest(
            f"zero_init_steps (--zero-init-steps) is {resolved.zero_init_steps} but there are "
            f"{resolved.num_inference_steps} steps in all; it must be less"
        )
    plan = Plan(
        request=resolved,
        model=model,
        variant=variant,
        mode=mode,
        width=width,
        height=height,
        fps=request.fps,
        seed=resolved.seed,
        num_frames=length.num_frames,
        num_kept_frames=length.num_kept_frames,
        num_generated_frames=length.num_generated_frames,
        num_prefix_frames=length.num_prefix_frames,
        num_given_sections=length.num_given_sections,
        latent_window_size=request.section_latents,
        has_start=has_start,
        sections=plan_sections(resolved, length, geometry, has_start=has_start),
        notes=length.notes + _notes(resolved, length, geometry),
    )
    steps = resolved.num_inference_steps - plan.num_spared_steps
    if resolved.camera_motion and steps < 2:
        raise InvalidRequest(
            "camera_motion (--camera-motion) needs a step before and a step after it shifts the "
            f"latents, but there is {steps}; raise --steps, or leave it out"
        )
    return plan


def _choose_variant(
    request: GenerationRequest,
    model: str,
    defaults: ModelDefaults,
    variants: Sequence[Variant],
    *,
    aims: bool,
) -> Variant:
    variant = request.variant or defaults.variant
    if request.extend is not None and "forward-only" in variants:
        variant = "forward-only"  # only what is made from start to end can go on
    if request.variant is None and (aims or request.one_frame) and "bi-directional" in variants:
        variant = "bi-directional"  # only the end rendered first can aim at a picture
    if variant not in variants:
        raise InvalidRequest(
            f"model {model} is {' and '.join(variants)} only, but variant {variant} was asked for; "
            "leave --variant out or choose another --model"
        )
    return variant


def _mode(
    request: GenerationRequest,
    image_size: tuple[int, int] | None,
    end_image_size: tuple[int, int] | None,
) -> Mode:
    has_image = request.image is not None or image_size is not None
    has_end = request.end_image is not None or end_image_size is not None
    if request.loop:
        if has_end:
            raise InvalidRequest(
                "loop (--loop) ends the video on its start picture, but an end picture was given; "
                "leave --loop or --end-image out"
            )
        if not has_image:
            raise InvalidRequest(
                "loop (--loop) ends the video on its start picture, but there is none; give --image"
            )
        return "flf2v"
    if has_image:
        return "flf2v" if has_end else "i2v"
    return "lf2v" if has_end else "t2v"


def _shape(
    request: GenerationRequest,
    mode: Mode,
    image_size: tuple[int, int] | None,
    end_image_size: tuple[int, int] | None,
) -> tuple[int, int]:
    """(width, height) whose proportions the video takes; text alone gives a square."""
    if mode == "t2v" or request.width is not None:
        return 1, 1
    size = end_image_size if mode == "lf2v" else image_size
    if size is None:
        raise ValueError(f"make_plan needs the picture's size in mode {mode}")
    return size


def _resolve(
    request: GenerationRequest,
    defaults: ModelDefaults,
    *,
    model: str,
    variant: Variant,
    resolution: int,
    width: int,
    height: int,
) -> ResolvedRequest:
    filled = {
        "seed": secrets.randbelow(2**32),
        "num_inference_steps": defaults.num_inference_steps,
        "guidance_scale": defaults.guidance_scale,
        "true_cfg_scale": defaults.true_cfg_scale,
        "shift": defaults.shift,
        "solver": defaults.solver,
        **request.one_frame_places,
    }
    given = {name: value for name, value in dict(request).items() if value is not None}
    given.pop("step_cache_threshold", None)
    decided = {
        "model": model,
        "variant": variant,
        "resolution": resolution,
        "width": width,
        "height": height,
        **_step_cache(request, defaults),
    }
    try:
        return ResolvedRequest.model_validate(filled | given | decided)
    except ValidationError as error:  # a default of the model's recipe
        raise InvalidRequest(f"model {model}: {explain(error)}") from error


def _step_cache(request: GenerationRequest, defaults: ModelDefaults) -> dict[str, object]:
    """Which steps may be skipped: what was asked for, else what the speed stands for.

    Raises:
        InvalidRequest: the model lacks what the method goes by, or the threshold is none.
    """
    method, threshold = defaults.step_cache_at(request.speed)
    if request.step_cache is not None:
        method, threshold = request.step_cache, defaults.step_cache_threshold(request.step_cache)
    if method == "off":  # whoever turns it on later means that one's own threshold
        return {"step_cache": "off"}
    if request.step_cache_threshold is not None:
        threshold = request.step_cache_threshold
    if method == "magcache" and threshold:
        defaults.magnitude_ratios(1)
    if method == "taylorseer" and threshold != int(threshold or 0):
        raise InvalidRequest(
            f"step_cache_threshold (--step-cache-threshold) is {threshold:g}, but taylorseer "
            "counts the steps between two that are computed; it must be a whole number"
        )
    return {"step_cache": method, "step_cache_threshold": threshold}


def _notes(request: ResolvedRequest, length: Length, geometry: ModelGeometry) -> tuple[str, ...]:
    notes = []
    if request.negative_prompt.strip() and request.true_cfg_scale == 1:
        notes.append("The negative prompt has no effect at --cfg-scale 1; raise it to use one.")
    places = request.width // geometry.spatial_stride * request.camera_motion * MAX_SWAY
    if 0 < places <= 0.5:
        notes.append(
            f"The camera motion is less than half a step of {geometry.spatial_stride} px at "
            f"{request.width} px and moves nothing; raise --camera-motion."
        )
    if request.cfg_zero_star and request.true_cfg_scale == 1:
        notes.append("CFG-Zero* has no effect at --cfg-scale 1; raise it to use it.")
    if request.speed != "exact":
        notes.append(_speed_note(request))
    trained = geometry.trained_padding
    inverted = request.variant == "bi-directional"
    if inverted and trained is not None and length.num_sections > trained + 1:
        generated = geometry.temporal_stride * request.latent_window_size * (trained + 1) + 1
        frames = (generated - 1) * max(request.interpolate, 1) + 1
        notes.append(
            f"Model {request.model} keeps bi-directional motion steady up to {frames} frames "
            f"({frames / request.fps:.1f} s); --variant forward-only suits longer videos."
        )
    return tuple(notes)


def _speed_note(request: ResolvedRequest) -> str:
    """What a speed came to."""
    cache = f"--step-cache {request.step_cache}"
    if request.step_cache != "off":
        cache += f" --step-cache-threshold {request.step_cache_threshold:g}"
    return f"Speed {request.speed}: {cache}."
