"""What a video shows and with which weights: the first fields of a request."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from framepack.domain.choices import SYSTEM_PROMPTS, Enhancer, Vae, Variant
from framepack.domain.fields import described
from framepack.domain.loras import MAX_LORA_WEIGHT, LoraRef, read_loras

__all__ = ["Subject"]


_PATHS = ("image", "end_image", "extend", "video", "vae_weights", "rife_weights")


class Subject(BaseModel):
    """Words, pictures and model of a request; see :class:`GenerationRequest`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = described(
        "",
        "What happens in the video.",
        title="Prompt",
        option="--prompt",
        rule="text of at most 10000 characters",
        max_length=10_000,
    )
    negative_prompt: str = described(
        "",
        "What the video must not show; acts only when the true guidance is above 1.",
        title="Negative prompt",
        option="--negative-prompt",
        rule="text of at most 10000 characters",
        max_length=10_000,
    )
    system_prompt: str = described(
        "official",
        "What the text encoder is told to do with the prompt.",
        title="System prompt",
        option="--system-prompt",
        rule="official, as the weights were trained, optimized, which asks for motion first, or "
        "text of your own of at most 2000 characters",
        min_length=1,
        max_length=2000,
    )
    styles: tuple[str, ...] = described(
        (),
        "Styles of the style file: words around the prompt, and values of other options.",
        title="Styles",
        option="--style",
        rule="the name of a style",
        unset="none",
    )
    enhance: Enhancer = described(
        "off",
        "Who expands the prompts before anything is generated.",
        title="Enhancer",
        option="--enhance",
        rule="off, template, endpoint or local",
    )
    enhanced_prompts: dict[str, str] = described(
        {},
        "Prompts that are expanded already, so that nobody is asked.",
        title="Enhanced prompts",
        option="--enhanced-prompts",
        rule="the path of a YAML file that leads from each prompt to the longer one",
        unset="none",
    )
    image: Path | None = described(
        None,
        "Picture that is the first frame.",
        title="Start picture",
        option="--image",
        rule="the path of a picture",
        unset="none, text to video",
    )
    end_image: Path | None = described(
        None,
        "Picture that is the last frame (bi-directional only).",
        title="End picture",
        option="--end-image",
        rule="the path of a picture",
        unset="none",
    )
    extend: Path | None = described(
        None,
        "Video to go on from: its end steers what is made, and the result has both.",
        title="Video to extend",
        option="--extend",
        rule="the path of a video",
        unset="none",
    )
    video: Path | None = described(
        None,
        "Video to draw anew: each section begins from its part of it.",
        title="Video to redraw",
        option="--video",
        rule="the path of a video",
        unset="none",
    )
    loop: bool = described(
        False,
        "End on the start picture, so that the video repeats without a seam (bi-directional only).",
        title="Loop",
        option="--loop",
        rule="true or false",
    )
    model: str | None = described(
        None,
        "Weights to use.",
        title="Model",
        option="--model",
        rule="tiny, i2v, f1, a model folder or a RECIPE.toml",
        unset="i2v or f1 where this machine has them and can run them, else tiny",
        min_length=1,
    )
    loras: tuple[LoraRef, ...] = described(
        (),
        "LoRAs to merge into the transformer.",
        title="LoRAs",
        option="--lora",
        rule="PATH:WEIGHT, or the NAME:WEIGHT of one in the settings' LoRA folder; weights are "
        f"from `-{MAX_LORA_WEIGHT}` to `{MAX_LORA_WEIGHT}`, `1` when left out",
        unset="none",
    )
    variant: Variant | None = described(
        None,
        "Order in which sections are rendered.",
        title="Variant",
        option="--variant",
        rule="one of bi-directional, forward-only",
    )

    vae: Vae | None = described(
        None,
        "Who turns latents into frames.",
        title="VAE",
        option="--vae",
        rule="full, the model's own, tiny, a small and fast one, or remote, one at an endpoint",
        unset="the settings' vae, full unless set",
    )
    vae_weights: Path | None = described(
        None,
        "Weights of the tiny VAE in the TAEHV layout.",
        title="Tiny VAE's weights",
        option="--vae-weights",
        rule="the path of a .safetensors or .pth file",
        unset="the settings' tiny_vae",
    )

    @field_validator("styles", mode="before")
    @classmethod
    def _one_style_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("loras", mode="before")
    @classmethod
    def _loras_in_any_form(cls, value: object) -> object:
        return read_loras(value)

    @field_validator(
        "image",
        "end_image",
        "extend",
        "video",
        "vae_weights",
        "rife_weights",
        mode="before",
        check_fields=False,
    )
    @classmethod
    def _path_is_not_empty(cls, value: object) -> object:
        # Path("") is the current folder, so an empty form field would name a folder.
        if isinstance(value, str) and not value.strip():
            raise ValueError("an empty path")
        return value

    @property
    def system_text(self) -> str | None:
        """The text of the system prompt; None for the model's own."""
        return SYSTEM_PROMPTS.get(self.system_prompt, self.system_prompt)
