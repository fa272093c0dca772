"""What a person asks for: the one schema that command line, API and studio share.

Every field carries a title, a description with unit, limits and default, and in its schema the
command line option, so labels, help texts and forms are generated from here and nowhere else.
"""

from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, field_validator, model_validator

from framepack.domain.choices import (
    MAX_DURATION_S,
    MAX_SEED,
    SOLVERS,
    VARIANTS,
    X264_PRESETS,
    Interpolation,
    Solver,
    Speed,
    StepCacheMethod,
    Vae,
    Variant,
    X264Preset,
)
from framepack.domain.errors import InvalidRequest
from framepack.domain.fields import described, explain_fields
from framepack.domain.one_frame import OneFrameFields
from framepack.domain.section_fields import SECTION_FIELDS

__all__ = [
    "MAX_DURATION_S",
    "MAX_SEED",
    "SECTION_FIELDS",
    "SOLVERS",
    "VARIANTS",
    "X264_PRESETS",
    "GenerationRequest",
    "Interpolation",
    "ResolvedRequest",
    "Solver",
    "Variant",
    "X264Preset",
    "explain",
]


class GenerationRequest(OneFrameFields):
    """One video to make, as asked. None always means "the model's own default".

    Build it with ``GenerationRequest.parse(...)`` to get one clear line on bad input; the plain
    constructor raises pydantic's ValidationError, which web frameworks understand.
    """

    duration_s: float = described(
        4.0,
        "Length of the video.",
        title="Duration",
        option="--duration",
        unit="s",
        rule=f"a number of seconds above 0 and at most {MAX_DURATION_S}",
        gt=0,
        le=MAX_DURATION_S,
    )
    fps: float = described(
        30.0,
        "Frame rate of the file; the published weights were made for 30.",
        title="Frame rate",
        option="--fps",
        unit="frames/s",
        rule="a number of frames per second from 1 to 120",
        ge=1,
        le=120,
    )
    resolution: int | None = described(
        None,
        "Size class: the bucket nearest to the picture's shape, scaled to about this side length.",
        title="Resolution",
        option="--resolution",
        unit="px",
        step=16,
        rule="a whole number of pixels from 16 to 4096",
        ge=16,
        le=4096,
    )
    width: int | None = described(
        None,
        "Exact width, together with the height; overrides the resolution.",
        title="Width",
        option="--width",
        unit="px",
        step=16,
        rule="a whole number of pixels from 16 to 4096, a multiple of 16",
        unset="from the resolution and the picture's shape",
        ge=16,
        le=4096,
    )
    height: int | None = described(
        None,
        "Exact height, together with the width; overrides the resolution.",
        title="Height",
        option="--height",
        unit="px",
        step=16,
        rule="a whole number of pixels from 16 to 4096, a multiple of 16",
        unset="from the resolution and the picture's shape",
        ge=16,
        le=4096,
    )
    seed: int | None = described(
        None,
        "Start of all randomness; the same seed gives the same video.",
        title="Seed",
        option="--seed",
        rule=f"a whole number from 0 to {MAX_SEED}",
        unset="a fresh random one, reported and stored",
        ge=0,
        le=MAX_SEED,
    )
    num_inference_steps: int | None = described(
        None,
        "Denoising steps per section.",
        title="Steps",
        option="--steps",
        rule="a whole number from 1 to 200",
        ge=1,
        le=200,
    )
    guidance_scale: float | None = described(
        None,
        "Distilled guidance: how closely the prompt is followed, at no extra cost.",
        title="Distilled guidance",
        option="--guidance-scale",
        rule="a number from 0 to 100",
        ge=0,
        le=100,
    )
    true_cfg_scale: float | None = described(
        None,
        "Classifier-free guidance; above 1 every step also runs the negative prompt.",
        title="True guidance",
        option="--cfg-scale",
        rule="a number from 1 to 32",
        ge=1,
        le=32,
    )
    guidance_rescale: float = described(
        0.0,
        "How much of the contrast that true guidance adds is taken back.",
        title="Guidance rescale",
        option="--guidance-rescale",
        rule="a number from 0 to 1",
        ge=0,
        le=1,
    )
    cfg_zero_star: bool = described(
        False,
        "Scale the negative prediction of true guidance to fit the positive one (CFG-Zero*).",
        title="CFG-Zero*",
        option="--cfg-zero-star",
        rule="true or false",
    )
    zero_init_steps: int = described(
        0,
        "First steps of the first-rendered section that change nothing (CFG-Zero*'s zero-init).",
        title="Zero-init steps",
        option="--zero-init-steps",
        unit="steps",
        rule="a whole number from 0 to 10, less than the steps",
        ge=0,
        le=10,
    )
    shift: float | None = described(
        None,
        "Weight of the noisy part of the schedule; 0 is the rule that depends on the size.",
        title="Shift",
        option="--shift",
        rule="a number from 0 to 100",
        ge=0,
        le=100,
    )
    solver: Solver | None = described(
        None,
        "Integrator of the denoising steps.",
        title="Solver",
        option="--solver",
        rule="one of unipc, euler",
    )
    speed: Speed = described(
        "exact",
        "How far from exact the video may be, to be made sooner; the embedded model is denoised "
        "1.8 times as fast at 41 dB (balanced) or 2.2 times at 36 dB (fast).",
        title="Speed",
        option="--speed",
        rule="exact, balanced or fast",
    )
    step_cache: StepCacheMethod | None = described(
        None,
        "Skip steps that change little; faster, and not exact.",
        title="Step cache",
        option="--step-cache",
        rule="off, teacache, which goes by what enters the network's blocks, first_block, by "
        "what the first adds, magcache, by ratios measured beforehand, easycache, by the latents, "
        "or taylorseer, which predicts",
        unset="what the speed stands for",
    )
    step_cache_threshold: float | None = described(
        None,
        "Change up to which steps are skipped; higher is faster and further from exact.",
        title="Step cache threshold",
        option="--step-cache-threshold",
        rule="a number from 0, where every step is computed, to 10; of taylorseer the steps "
        "between two that are computed",
        unset="the model's own for the method",
        ge=0,
        le=10,
    )
    start_strength: float = described(
        1.0,
        "How firmly the start picture holds; below 1 seeded noise is mixed in.",
        title="Start strength",
        option="--start-strength",
        rule="a number from 0 to 2",
        ge=0,
        le=2,
    )
    end_strength: float = described(
        1.0,
        "How firmly the end picture holds; below 1 seeded noise is mixed in.",
        title="End strength",
        option="--end-strength",
        rule="a number from 0 to 2",
        ge=0,
        le=2,
    )
    vision_strength: float = described(
        1.0,
        "Weight of what the image encoder saw in the pictures.",
        title="Vision strength",
        option="--vision-strength",
        rule="a number from 0 to 2",
        ge=0,
        le=2,
    )
    video_strength: float = described(
        0.5,
        "How firmly the video to redraw holds: the share of the steps that it spares.",
        title="Video strength",
        option="--video-strength",
        rule="a number from 0, where only its first frame counts, to 1, where little changes",
        ge=0,
        le=1,
    )
    official_length: bool = described(
        False,
        "Round the duration to whole sections as the original program does.",
        title="Original length rule",
        option="--official-length",
        rule="true or false",
    )
    interpolate: int = described(
        1,
        "Frames that become of each one generated; length and frame rate stay as they are.",
        title="Interpolation",
        option="--interpolate",
        rule="a whole number from 0 to 8, of which the first two change nothing",
        ge=0,
        le=8,
    )
    interpolation: Interpolation = described(
        "rife",
        "How frames are made between frames.",
        title="Interpolation method",
        option="--interpolation",
        rule="rife, a network that follows the motion, minterpolate, which moves blocks along it, "
        "or blend, which cross-fades",
    )
    rife_weights: Path | None = described(
        None,
        "Weights for RIFE in the layout of version 4.5 to 4.18.",
        title="RIFE's weights",
        option="--rife-weights",
        rule="the path of a .safetensors, .pkl or .pth file",
        unset="the settings' rife_weights, the small ones in the package unless set",
    )
    filters: tuple[str, ...] = described(
        (),
        "ffmpeg's video filters for the finished frames, one after the other.",
        title="Filters",
        option="--filter",
        unit="filter",
        rule="a chain such as `eq=contrast=1.1,unsharp`; may be given several times",
        unset="none",
    )
    codec: str | None = described(
        None,
        "Video encoder.",
        title="Codec",
        option="--codec",
        rule="an encoder that `framepack codecs` lists; h264, hevc, av1 or vp9 for the best of "
        "this machine; or none for no video file",
        unset="libx264, or libvpx-vp9 for .webm",
        min_length=1,
    )
    codec_options: str = described(
        "",
        "Options of the encoder.",
        title="Codec options",
        option="--codec-options",
        rule="name:value pairs between commas, such as `crf:18,tune:film`",
    )
    pixel_format: str | None = described(
        None,
        "Layout of the file's pixels.",
        title="Pixel format",
        option="--pixel-format",
        rule="a format that the encoder takes, such as yuv444p or yuv420p10le",
        unset="yuv420p, or the encoder's own",
        min_length=1,
    )
    crf: int = described(
        16,
        "Quality of H.264 and H.265, lower is better and larger.",
        title="Quality",
        option="--crf",
        rule="a whole number from 0 to 51",
        ge=0,
        le=51,
    )
    preset: X264Preset = described(
        "medium",
        "Encoding effort of H.264 and H.265: slower gives smaller files.",
        title="Encoder preset",
        option="--preset",
        rule=f"one of {', '.join(X264_PRESETS)}",
    )

    @field_validator("filters", mode="before")
    @classmethod
    def _one_filter_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _width_and_height_go_together(self) -> Self:
        if (self.width is None) != (self.height is None):
            given, missing = ("height", "width") if self.width is None else ("width", "height")
            raise ValueError(
                f"{given} is {self.width or self.height} px but no {missing} was given; "
                f"give both --width and --height, or use --resolution"
            )
        return self

    @model_validator(mode="after")
    def _videos_stand_for_pictures(self) -> Self:
        if self.extend is not None:
            names = ("image", "end_image", "video")
            others = [name for name in names if getattr(self, name) is not None]
            if others:
                raise ValueError(
                    f"a video to extend (--extend) begins by itself; leave {others[0]} "
                    f"(--{others[0].replace('_', '-')}) out"
                )
            if self.variant == "bi-directional" or self.official_length:
                raise ValueError(
                    "a video to extend (--extend) goes on from its end, in the forward-only "
                    "variant and by an exact duration; leave --variant bi-directional and "
                    "--official-length out"
                )
        return self

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Build a request from untyped values (strings are converted).

        Raises:
            InvalidRequest: one line that names every field at fault, its value and its limits.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidRequest(explain(error)) from error

    def updated(self, **values: Any) -> Self:
        """The same request with other values; what nobody gave stays not given.

        Raises:
            InvalidRequest: see :meth:`parse`.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return self.parse(**{**given, **values})

    @property
    def has_subject(self) -> bool:
        """Whether there is a prompt or a picture to make a video of."""
        said = self.prompt.strip() or any(cue.prompt for cue in self.section_prompts)
        return bool(said or self.image or self.end_image or self.extend or self.video)

    @property
    def allows_approximate_attention(self) -> bool:
        """Whether attention may be computed by a kernel that is faster and not exact."""
        return self.speed == "fast"

    @property
    def uses_rife(self) -> bool:
        """Whether frames are made by RIFE."""
        return self.interpolate > 1 and self.interpolation == "rife"

    def require_subject(self) -> None:
        """Refuse a request that says nothing.

        Raises:
            InvalidRequest: the prompt is empty and there is no picture.
        """
        if not self.has_subject:
            raise InvalidRequest(
                "the prompt is empty and there is no picture; give --prompt, --image or both"
            )


class ResolvedRequest(GenerationRequest):
    """A request with every default filled in: what is planned, stored and repeated.

    Only files may be None, which then means that there is none, the indices of one frame where a
    video is made, and the threshold of a step cache where there is no such cache. ``shift`` 0 is
    the rule that depends on the size.
    """

    model: str
    vae: Vae = "full"
    variant: Variant
    resolution: int
    width: int
    height: int
    seed: int
    num_inference_steps: int
    guidance_scale: float
    true_cfg_scale: float
    shift: float
    solver: Solver
    step_cache: StepCacheMethod = "off"

    @model_validator(mode="after")
    def _keeps_the_limits_of_the_request(self) -> Self:
        GenerationRequest.model_validate(dict(self))
        return self


def explain(error: ValidationError) -> str:
    """Turn pydantic's report on a request into one line: what was found, what is needed."""
    return explain_fields(error, GenerationRequest.model_fields)
