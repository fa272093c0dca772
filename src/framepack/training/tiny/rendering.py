"""Make the videos that the evaluation measures: through the public API, read back from files.

What is measured is what people get: request, plan, pipeline, H.264 file, decoded frames.

Shape letters (docs/notation.md): F frames, H W size in pixels.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from framepack import api
from framepack.domain.request import Variant
from framepack.domain.schedule import generated_frames
from framepack.domain.settings import Settings
from framepack.media.images import fit_image, load_image, to_tensor
from framepack.media.video import read_frames
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import load_components

__all__ = ["Order", "PipelineRenderer", "Renderer", "fitted", "save_picture"]

_WINDOW = 9
_FPS = 30
_NETWORKS = ("transformer", "vae", "text_encoder", "text_encoder_2", "image_encoder")


@dataclass(frozen=True)
class Order:
    """One video to make.

    Attributes:
        prompt: what is asked for.
        width, height: px.
        num_sections: whole sections; all their frames are kept.
        variant: rendering order.
        seed: start of all randomness.
        image: start picture; None for text to video.
        end_image: end picture or None.
    """

    prompt: str
    width: int
    height: int
    num_sections: int
    variant: Variant
    seed: int
    image: Path | None = None
    end_image: Path | None = None

    @property
    def num_frames(self) -> int:
        """Frames of the video: 36n+1 with a start picture, else 36n-3."""
        has_start = self.image is not None
        return generated_frames(self.num_sections, _WINDOW, has_start=has_start)


class Renderer(Protocol):
    """Something that makes videos to be measured."""

    def render(self, order: Order) -> Tensor:
        """Make a video: [F, 3, H, W] in 0..1 on the CPU."""
        ...

    def reconstruct(self, clip: Tensor) -> Tensor:
        """Pass a clip [4t+1, 3, H, W] in 0..1 through the VAE; the same shape comes back."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON-able facts: model, megabytes in fp16, device, hashes."""
        ...


class PipelineRenderer:
    """The real pipeline with components loaded once.

    Args:
        model_dir: folder that the trainer exported; None for the embedded model.

    Raises:
        MissingWeights: the folder has no weights.
        CheckpointError: its files are damaged.
        InvalidRequest: it is no model folder.
    """

    def __init__(self, model_dir: Path | None = None) -> None:
        self._model = str(model_dir) if model_dir is not None else "tiny"
        self._settings = Settings.load()
        self._components = load_components(resolve_spec(self._model), self._settings)

    def render(self, order: Order) -> Tensor:
        """Make a video: [F, 3, H, W] in 0..1 on the CPU."""
        with tempfile.TemporaryDirectory(prefix="framepack-eval-") as folder:
            path = Path(folder) / "clip.mp4"
            api.generate(
                output=path,
                run_dir=Path(folder) / "run",
                keep_run=False,
                embed=False,
                thumbnail=False,
                settings=self._settings,
                components=self._components,
                prompt=order.prompt,
                image=order.image,
                end_image=order.end_image,
                model=self._model,
                variant=order.variant,
                width=order.width,
                height=order.height,
                duration_s=order.num_frames / _FPS,
                fps=_FPS,
                seed=order.seed,
            )
            frames = torch.from_numpy(np.stack(list(read_frames(path))))
        return frames.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def reconstruct(self, clip: Tensor) -> Tensor:
        """Encode a clip and decode it again, without drawing from the posterior."""
        vae = self._components.vae
        config: Any = vae.config
        weight = vae.quant_conv.weight
        pixels = (clip * 2 - 1).permute(1, 0, 2, 3).unsqueeze(0)
        code = vae.encode(pixels.to(weight)).latent_dist.mode()
        decoded = self._components.decode(code.float() * config.scaling_factor)
        return ((decoded[0].permute(1, 0, 2, 3) + 1) / 2).clamp(0, 1).cpu()

    def describe(self) -> Mapping[str, Any]:
        """JSON-able facts: model, megabytes in fp16, device, hashes."""
        networks = [getattr(self._components, name) for name in _NETWORKS]
        parameters = sum(p.numel() for network in networks for p in network.parameters())
        return {
            "model": self._model,
            "parameters": parameters,
            "fp16_mb": round(parameters * 2 / 1e6, 2),
            "device": str(self._components.device),
            "dtype": str(self._components.dtype).removeprefix("torch."),
            "hashes": dict(self._components.hashes),
        }


def fitted(path: Path, width: int, height: int) -> Tensor:
    """A picture file as the pipeline fits it: [3, height, width] in 0..1."""
    return (to_tensor(fit_image(load_image(path), width, height))[0] + 1) / 2


def save_picture(picture: Tensor, path: Path) -> Path:
    """Write [3, H, W] in 0..1 as PNG; returns the path."""
    pixels = (picture * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(path)
    return path
