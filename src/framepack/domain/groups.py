"""The groups in which people see the fields of a request: panels of options, parts of a form."""

from dataclasses import dataclass

__all__ = ["COMMON", "GROUPS", "FieldGroup", "group_of"]


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields that belong together.

    Attributes:
        id: a word for programs.
        title: for people.
        names: the fields, in the order in which they are shown.
    """

    id: str
    title: str
    names: tuple[str, ...]


GROUPS: tuple[FieldGroup, ...] = (
    FieldGroup(
        "subject",
        "What to make",
        (
            *("prompt", "negative_prompt", "image", "end_image", "extend", "video", "loop"),
            *("model", "variant"),
        ),
    ),
    FieldGroup("wording", "Wording", ("system_prompt", "styles", "enhance", "enhanced_prompts")),
    FieldGroup(
        "length",
        "Length and size",
        ("duration_s", "fps", "resolution", "width", "height", "official_length"),
    ),
    FieldGroup(
        "sections",
        "Sections",
        (
            *("section_prompts", "section_mode", "section_images", "section_seeds"),
            *("blend_sections", "reroll", "drift_limit"),
        ),
    ),
    FieldGroup(
        "pictures",
        "Pictures",
        ("start_strength", "end_strength", "vision_strength", "video_strength"),
    ),
    FieldGroup(
        "sampling",
        "Sampling",
        (
            *("seed", "num_inference_steps", "shift", "solver", "latent_window_size"),
            *("speed", "step_cache", "step_cache_threshold"),
        ),
    ),
    FieldGroup(
        "guidance",
        "Guidance",
        (
            *("guidance_scale", "true_cfg_scale", "guidance_rescale"),
            *("cfg_zero_star", "zero_init_steps"),
        ),
    ),
    FieldGroup("loras", "LoRA", ("loras", "section_loras")),
    FieldGroup("motion", "Camera", ("camera_motion", "camera_motion_step")),
    FieldGroup("one_frame", "One picture", ("one_frame", "target_index", "control_index")),
    FieldGroup("interpolation", "Interpolation", ("interpolate", "interpolation", "rife_weights")),
    FieldGroup("vae", "VAE", ("vae", "vae_weights")),
    FieldGroup(
        "file",
        "Video file",
        ("filters", "codec", "codec_options", "pixel_format", "crf", "preset"),
    ),
)
"""Every field of ``GenerationRequest`` is in one of them."""

COMMON = (
    "prompt",
    "image",
    "end_image",
    "duration_s",
    "resolution",
    "fps",
    "variant",
    "start_strength",
    "end_strength",
    "seed",
    "num_inference_steps",
    "speed",
    "model",
)
"""What a form has in view; the rest is a click away."""


def group_of(name: str) -> FieldGroup:
    """The group of a field."""
    found = [group for group in GROUPS if name in group.names]
    assert len(found) == 1, f"{name} must be in one of domain.groups.GROUPS"
    return found[0]
