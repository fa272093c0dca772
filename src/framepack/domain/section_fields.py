"""How long sections are, and what changes from one to the next: fields of a request."""

from pathlib import Path

from pydantic import ValidationInfo, field_validator

from framepack.domain.fields import described
from framepack.domain.subject import Subject
from framepack.domain.timeline import CueKind, SectionCue, SectionMode, read_cues

__all__ = ["SECTION_FIELDS", "SectionFields"]

_CUE_KINDS: dict[str, CueKind] = {
    "section_prompts": "prompt",
    "section_images": "image",
    "section_seeds": "seed",
    "section_loras": "loras",
}
SECTION_FIELDS = frozenset(_CUE_KINDS)
"""The fields that say what changes from section to section."""


class SectionFields(Subject):
    """Length, prompts, pictures, seeds and LoRAs of sections; see :class:`GenerationRequest`."""

    latent_window_size: int = described(
        9,
        "Length of a section; the published weights were trained with 9.",
        title="Window",
        option="--latent-window-size",
        unit="latent frames",
        rule="a whole number of latent frames from 1 to 33",
        ge=1,
        le=33,
    )
    section_prompts: tuple[SectionCue, ...] = described(
        (),
        "What happens in single sections.",
        title="Section prompts",
        option="--section-prompts",
        rule="lines that share the sections, `2: text`, `even: text`, `[2s: text]`, "
        "`2:text;;;-1:text`, or the path of a YAML or text file with them",
        unset="none",
    )
    section_mode: SectionMode = described(
        "append",
        "Whether the text of a section follows the prompt or stands in its place.",
        title="Section text",
        option="--section-mode",
        rule="one of append, replace",
    )
    section_images: tuple[SectionCue, ...] = described(
        (),
        "Pictures that stand for the start picture in single sections.",
        title="Section pictures",
        option="--section-images",
        rule="paths of pictures, placed as section prompts are",
        unset="none",
    )
    section_seeds: tuple[SectionCue, ...] = described(
        (),
        "Seeds of the noise of single sections.",
        title="Section seeds",
        option="--section-seeds",
        rule="whole numbers, placed as section prompts are",
        unset="none",
    )
    section_loras: tuple[SectionCue, ...] = described(
        (),
        "Weights of the LoRAs in single sections.",
        title="Section LoRAs",
        option="--section-loras",
        rule="a factor on the weights of all, or `NAME:WEIGHT, NAME:WEIGHT`, placed as section "
        "prompts are",
        unset="the weights of --lora",
    )
    reroll: int = described(
        0,
        "How often a section that drifts is made again with other noise; the best attempt stays.",
        title="Re-rolls",
        option="--reroll",
        rule="a whole number from 0, which watches no drift, to 20",
        ge=0,
        le=20,
    )
    drift_limit: float = described(
        0.3,
        "Drift above which a section is made again: the gravest change of sharpness, contrast or "
        "colour against the first-rendered section, 1 being a picture lost.",
        title="Drift limit",
        option="--drift-limit",
        rule="a number from 0 to 10",
        ge=0,
        le=10,
    )
    blend_sections: int = described(
        0,
        "Sections over which one prompt turns into the next.",
        title="Prompt blending",
        option="--blend-sections",
        unit="sections",
        rule="a whole number of sections from 0, a sudden change, to 100",
        ge=0,
        le=100,
    )

    camera_motion: float = described(
        0.0,
        "How far the camera sways to and fro in each section.",
        title="Camera motion",
        option="--camera-motion",
        rule="a number from 0, not at all, to 1, a quarter of the width to either side",
        ge=0,
        le=1,
    )
    camera_motion_step: float = described(
        0.9,
        "Share of the steps after which the camera sways: early ones leave more to the model.",
        title="Step of the camera motion",
        option="--camera-motion-step",
        rule="a number from 0 to 1",
        ge=0,
        le=1,
    )

    @field_validator(*_CUE_KINDS, mode="before")
    @classmethod
    def _cues_in_any_form(cls, value: object, info: ValidationInfo) -> object:
        return read_cues(value, _CUE_KINDS[info.field_name or ""])

    @property
    def section_cues(self) -> tuple[SectionCue, ...]:
        """Everything that is said of sections."""
        return tuple(cue for name in _CUE_KINDS for cue in getattr(self, name))

    @property
    def section_pictures(self) -> tuple[Path, ...]:
        """Every picture that a section names, once, in the order of the request."""
        return tuple(dict.fromkeys(cue.image for cue in self.section_cues if cue.image is not None))
