"""What the plan must know of a model: its sizes and its own defaults, as plain numbers."""

from dataclasses import dataclass

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import RELEASED, PackingLayout
from framepack.domain.request import Solver, Variant
from framepack.domain.step_caches import StepCacheDefaults

__all__ = ["ModelDefaults", "ModelGeometry"]


@dataclass(frozen=True, slots=True)
class ModelGeometry:
    """Sizes of a model's pictures, latents and history.

    Attributes:
        min_size: smallest side of a picture, px.
        max_size: largest side of a picture, px.
        spatial_stride: picture pixels per latent pixel.
        temporal_stride: frames per latent frame, after the first.
        size_multiple: both sides of a picture are multiples of this, px.
        layout: how the history is packed.
        trained_padding: largest true gap to the start picture, in sections, that training
            showed; None where gaps follow the official rule. See ``schedule.paddings``.
    """

    min_size: int
    max_size: int
    spatial_stride: int = 8
    temporal_stride: int = 4
    size_multiple: int = 16
    layout: PackingLayout = RELEASED
    trained_padding: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.min_size <= self.max_size:
            raise InvalidRequest(
                f"model geometry allows {self.min_size} to {self.max_size} px per side; "
                "min_size must be above 0 and at most max_size"
            )

    def latent_size(self, width: int, height: int) -> tuple[int, int]:
        """Latent (width, height) of a picture of that size in px."""
        return width // self.spatial_stride, height // self.spatial_stride


@dataclass(frozen=True, slots=True)
class ModelDefaults(StepCacheDefaults):
    """What a request gets where it says nothing; how steps may be skipped stands in the base.

    Attributes:
        resolution: size class, px.
        num_inference_steps: denoising steps per section.
        guidance_scale: distilled guidance.
        true_cfg_scale: classifier-free guidance, 1 is off.
        solver: integrator of the denoising steps.
        variant: order in which sections are rendered.
        shift: time shift of the schedule; 0 is the rule that depends on the size.
    """

    resolution: int
    num_inference_steps: int
    guidance_scale: float
    true_cfg_scale: float
    solver: Solver
    variant: Variant
    shift: float = 0.0
