"""A request in SD.Next's words, as the service takes it, with notes on what is done otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from framepack.decisions import find_model
from framepack.domain.buckets import bucket_size
from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelGeometry
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.media.codecs import NO_VIDEO
from framepack.media.images import image_size
from framepack.service.http.wire import Asked
from framepack.service.options import JobOptions

__all__ = ["FramepackAnswer", "FramepackRequest", "Translated", "fit_model", "translated"]

_VAES = {"local": "full", "full": "full", "tiny": "tiny", "remote": "remote"}
_CROWD = 1000
"""Section lines that are looked at; no video has more sections."""


class FramepackRequest(BaseModel):
    """What SD.Next's clients send; a field that is null has its default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    variant: Literal["bi-directional", "forward-only"] | None = Field(
        None, description="Order in which sections are rendered."
    )
    prompt: str = Field("", description="What happens in the video.")
    init_image: str | None = Field(
        None, description="Start picture: base64, a data URL, or upload:ID."
    )
    end_image: str | None = Field(None, description="End picture, likewise.")
    start_weight: float = Field(1.0, description="How firmly the start picture holds.")
    end_weight: float = Field(1.0, description="How firmly the end picture holds.")
    vision_weight: float = Field(1.0, description="Weight of what the image encoder saw.")
    system_prompt: str | None = Field(None, description="What the text encoder is told.")
    optimized_prompt: bool = Field(True, description="The system prompt that asks for motion.")
    section_prompt: str | None = Field(None, description="A line for each part of the video.")
    negative_prompt: str = Field("", description="What the video must not show.")
    styles: list[str] = Field(default_factory=list, description="Names of styles of the server.")
    seed: int | None = Field(None, description="-1 or null for a random one.")
    resolution: int = Field(640, description="Size class in px.")
    duration: float = Field(4.0, description="Seconds.")
    latent_ws: int = Field(9, description="Latent frames of a section.")
    steps: int = Field(25, description="Denoising steps of a section.")
    cfg_scale: float = Field(1.0, description="Classifier-free guidance.")
    cfg_distilled: float = Field(10.0, description="Distilled guidance.")
    cfg_rescale: float = Field(0.0, description="How much of the added contrast is taken back.")
    shift: float = Field(0.0, description="0 is the rule that depends on the size.")
    use_teacache: bool = Field(
        True, description="Skip steps that change little, by the model's own threshold."
    )
    use_cfgzero: bool = Field(False, description="CFG-Zero* with its zero-init.")
    mp4_fps: float = Field(30.0, description="Frames per second.")
    mp4_codec: str = Field("libx264", description="Encoder, or none.")
    mp4_sf: bool = Field(False, description="Leave raw frames as safetensors.")
    mp4_video: bool = Field(True, description="Leave a video.")
    mp4_frames: bool = Field(False, description="Leave every frame as a JPEG.")
    mp4_thumb: bool = Field(True, description="Leave a small picture.")
    mp4_opt: str = Field("crf:16", description="Options of the encoder.")
    mp4_ext: str = Field("mp4", description="Suffix of the video.")
    mp4_interpolate: int = Field(0, ge=0, le=7, description="Frames made between two others.")
    attention: str = Field("Default", description="Accepted; the server chooses.")
    vae_type: str = Field("Local", description="Local or Full, Tiny, Remote.")
    vlm_enhance: bool = Field(False, description="Have the server's enhancer write the prompt.")
    vlm_model: str | None = Field(None, description="Accepted; the server chooses.")
    vlm_system_prompt: str | None = Field(None, description="Accepted; the server chooses.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {name: value for name, value in values.items() if value is not None}
        if given.get("seed") in ("", -1, "-1"):
            del given["seed"]
        return given


class FramepackAnswer(BaseModel):
    """What SD.Next's clients get."""

    id: str = Field(description="Of the job; progress and history know it.")
    filename: str = Field(description="For /file=; empty if there is no video.")
    message: str = Field(description="What was made, and what was done otherwise than asked.")


@dataclass
class Translated:
    """A request in our words.

    Attributes:
        asked: for the service.
        lines: of the sections, which may be more than the video has.
        notes: what is done otherwise than asked.
    """

    asked: Asked
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        """Of ``GenerationRequest``."""
        return self.asked.fields


def translated(sent: FramepackRequest, settings: Settings) -> Translated:
    """Put a request into our words.

    Raises:
        InvalidRequest: a word that has no counterpart here.
    """
    made = Translated(Asked(_plain_fields(sent), options=_options(sent)))
    fields, notes = made.fields, made.notes
    if sent.variant is not None:
        fields["variant"] = sent.variant
    if sent.seed is not None:
        fields["seed"] = sent.seed
    if sent.vae_type.lower() not in _VAES:
        raise InvalidRequest(f"vae_type is {sent.vae_type[:40]!r}; choose Local, Tiny or Remote")
    fields["vae"] = _VAES[sent.vae_type.lower()]
    fields["system_prompt"] = sent.system_prompt or (
        "optimized" if sent.optimized_prompt else "official"
    )
    if sent.use_teacache:
        fields["step_cache"] = "teacache"
    if sent.use_cfgzero:
        fields |= {"cfg_zero_star": True, "zero_init_steps": 1}
    for name, text in (("image", sent.init_image), ("end_image", sent.end_image)):
        if text:
            made.asked.files[name] = _picture(text)
            fields[name] = name
    lines = [line.strip() for line in (sent.section_prompt or "").splitlines()]
    made.lines = [line for line in lines if line][:_CROWD]
    _enhance(sent, settings, fields, notes)
    _encode(sent, fields, notes)
    if sent.attention.lower() != "default":
        notes.append("attention: the server chooses")
    return made


def fit_model(
    made: Translated, settings: Settings, *, picture: Path | None, max_pixels: int, is_asked: bool
) -> None:
    """Change what the model cannot do and nobody asked for in so many words.

    Args:
        made: is changed.
        settings: of this machine.
        picture: the start picture, whose shape the video takes, or else the end picture.
        max_pixels: of that picture.
        is_asked: the system prompt is the sender's own.
    """
    names = ("model", "variant")
    named = {name: made.fields[name] for name in names if name in made.fields}
    spec, _ = find_model(GenerationRequest.parse(**named), settings)
    if not spec.prompt_template.takes_system and not is_asked:
        made.fields["system_prompt"] = "official"
    asked = made.fields["resolution"]
    shape = image_size(picture, max_pixels=max_pixels) if picture else (1, 1)
    fitting = _fitting(asked, shape, spec.geometry)
    if fitting is not None and fitting != asked:
        made.fields["resolution"] = fitting
        made.notes.append(f"resolution: {fitting} instead of {asked}, the most of model {spec.key}")


def _fitting(asked: int, shape: tuple[int, int], geometry: ModelGeometry) -> int | None:
    """The largest size class up to the one that was asked for which the model can do."""
    if not 16 <= asked <= 4096:  # the request itself says what is wrong with it
        return None
    for side in (asked, *range(asked // 16 * 16, 0, -16)):
        sides = bucket_size(*shape, side, geometry.size_multiple)
        if max(sides) <= geometry.max_size:
            return side if min(sides) >= geometry.min_size else None
    return None


def _plain_fields(sent: FramepackRequest) -> dict[str, Any]:
    return {
        "prompt": sent.prompt,
        "negative_prompt": sent.negative_prompt,
        "styles": tuple(sent.styles),
        "start_strength": sent.start_weight,
        "end_strength": sent.end_weight,
        "vision_strength": sent.vision_weight,
        "resolution": sent.resolution,
        "duration_s": sent.duration,
        "latent_window_size": sent.latent_ws,
        "num_inference_steps": sent.steps,
        "true_cfg_scale": sent.cfg_scale,
        "guidance_scale": sent.cfg_distilled,
        "guidance_rescale": sent.cfg_rescale,
        "shift": max(sent.shift, 0.0),
        "fps": sent.mp4_fps,
        "interpolate": sent.mp4_interpolate + 1,
    }


def _options(sent: FramepackRequest) -> JobOptions:
    suffix = sent.mp4_ext.lower().removeprefix(".")
    known: tuple[str, ...] = ("mp4", "mkv", "mov", "webm", "gif", "webp")
    if suffix not in known:
        raise InvalidRequest(f"mp4_ext is {sent.mp4_ext[:40]!r}; choose one of {', '.join(known)}")
    return JobOptions.model_validate(
        {
            "container": suffix,
            "video": sent.mp4_video and sent.mp4_codec != NO_VIDEO,
            "thumbnail": sent.mp4_thumb,
            "frames": "jpg" if sent.mp4_frames else "",
            "raw": sent.mp4_sf,
        }
    )


def _picture(text: str) -> str:
    """Base64 becomes a data URL; everything else goes on as it is."""
    text = text.strip()
    if text.startswith("upload:"):
        return text.removeprefix("upload:")
    head = text[:12].lower()
    if "://" in text[:40] or head.startswith(("data:", "upload_", "file:")):
        return text
    return f"data:;base64,{text}"


def _enhance(
    sent: FramepackRequest, settings: Settings, fields: dict[str, Any], notes: list[str]
) -> None:
    if not sent.vlm_enhance:
        return
    if settings.enhancer_model is None:
        fields["enhance"] = "template"
        notes.append("vlm_enhance: the server has no language model, a form of words was used")
    else:
        fields["enhance"] = "local" if settings.enhancer_url is None else "endpoint"
    if sent.vlm_model or sent.vlm_system_prompt:
        notes.append("vlm_model and vlm_system_prompt: the server chooses")


def _encode(sent: FramepackRequest, fields: dict[str, Any], notes: list[str]) -> None:
    if sent.mp4_codec != NO_VIDEO and "mp4_codec" in sent.model_fields_set:
        fields["codec"] = sent.mp4_codec
    if "mp4_opt" not in sent.model_fields_set:
        return  # its default is that of the request
    entries = [entry.strip() for entry in sent.mp4_opt.split(",") if entry.strip()]
    pairs = [entry for entry in entries if ":" in entry or "=" in entry]
    if len(pairs) < len(entries):
        notes.append("mp4_opt: words without a value were left out")
    fields["codec_options"] = ",".join(pairs)
