"""What a model's latents are, as far as another VAE must agree with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framepack.domain.settings import Settings
from framepack.models.spec import ModelSpec
from framepack.pipeline.components import Components
from framepack.weights.locate import locate, read_json

__all__ = ["LatentSpace"]


@dataclass(frozen=True)
class LatentSpace:
    """Sizes of latents, and their scale.

    Attributes:
        channels: C.
        spatial_stride: px per latent place along each side.
        temporal_stride: frames per latent frame, after the first.
        scaling_factor: what the VAE's latents are multiplied with for the transformer.
    """

    channels: int
    spatial_stride: int
    temporal_stride: int
    scaling_factor: float

    @classmethod
    def of_components(cls, components: Components) -> "LatentSpace":
        """That of loaded components; reads the VAE's config, or the VAE if there are no files."""
        folder = components.folders.get("vae")
        config: Any = components.vae.config if folder is None else read_json(folder / "config.json")
        return cls._of(config)

    @classmethod
    def of_model(cls, spec: ModelSpec, settings: Settings) -> "LatentSpace":
        """That of a model, from the config of its VAE.

        Raises:
            MissingWeights: the VAE is not on this machine.
            CheckpointError: its config cannot be read.
        """
        return cls._of(read_json(locate(spec, "vae", settings) / "config.json"))

    @classmethod
    def _of(cls, config: Mapping[str, Any]) -> "LatentSpace":
        # Where a config leaves a field out, diffusers' default holds.
        return cls(
            channels=int(config.get("latent_channels", 16)),
            spatial_stride=int(config.get("spatial_compression_ratio", 8)),
            temporal_stride=int(config.get("temporal_compression_ratio", 4)),
            scaling_factor=float(config.get("scaling_factor", 0.476986)),
        )

    def pixel_shape(self, latents: tuple[int, ...]) -> tuple[int, ...]:
        """[1, 3, F, H, W] of what latents [1, C, T, h, w] stand for."""
        _, _, num_latents, height, width = latents
        frames = self.temporal_stride * (num_latents - 1) + 1
        return 1, 3, frames, height * self.spatial_stride, width * self.spatial_stride
