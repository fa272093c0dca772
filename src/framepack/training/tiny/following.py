"""How far the camera words are understood yet, cheaply enough to watch while training.

The loss says little about it: it falls smoothly while the words bind one after another, pans
first, zooms and rotations much later.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from framepack.models.transformer import FramePackTransformer3DModel
from framepack.training.tiny.captions import CAMERA_PHRASES
from framepack.training.tiny.data import seeded
from framepack.training.tiny.samples import Batch, Layout, SampleMaker
from framepack.training.tiny.train_transformer import Conditioner, context_arguments

_MAX_TIMESTEP = 1000.0
_GUIDANCE = 10000.0


@dataclass(frozen=True)
class Following:
    """One step from pure noise, asked for each motion of each picture.

    Attributes:
        followed: share of predictions that are nearest to the motion that was asked for,
            among all nine; 1/9 is chance.
        by_motion: the same for each motion.
        error: mean squared error of the predicted latents.
    """

    followed: float
    by_motion: dict[str, float]
    error: float


@torch.inference_mode()
def measure_following(
    transformer: FramePackTransformer3DModel,
    conditioner: Conditioner,
    samples: SampleMaker,
    layout: Layout,
    *,
    seed: int,
    num_pictures: int = 4,
) -> Following:
    """Ask for all nine motions of a few pictures.

    Args:
        layout: without history that would give the motion away: no neighbours, and section 0
            if forward-only.
    """
    motions = list(CAMERA_PHRASES)
    right = torch.zeros(len(motions))
    error = 0.0
    for number in range(num_pictures):
        rng = seeded(seed, "following", number)
        batch = samples.camera_moves(rng, layout, motions)
        predicted = _first_guess(transformer, conditioner, batch, int(rng.integers(2**31)))
        distances = (predicted[:, None] - batch.latents[None]).square().flatten(2).mean(dim=2)
        right += (distances.argmin(dim=1).cpu() == torch.arange(len(motions))).float()
        error += float(distances.diagonal().mean())
    shares = (right / num_pictures).tolist()
    return Following(
        followed=sum(shares) / len(shares),
        by_motion=dict(zip(motions, shares, strict=True)),
        error=error / num_pictures,
    )


def _first_guess(
    transformer: FramePackTransformer3DModel, conditioner: Conditioner, batch: Batch, seed: int
) -> Tensor:
    """Clean latents like ``batch.latents``, predicted from the same pure noise for all."""
    size, device = len(batch.captions), batch.latents.device
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch.latents[:1].shape, generator=generator).to(device)
    noise = noise.expand_as(batch.latents)
    with torch.autocast(device.type, torch.bfloat16):
        velocity: Tensor = transformer(
            hidden_states=noise,
            timestep=torch.full((size,), _MAX_TIMESTEP, device=device),
            guidance=torch.full((size,), _GUIDANCE, device=device),
            return_dict=False,
            **context_arguments(batch),
            **conditioner(batch.captions, batch.vision, None),
        )[0]
    return noise - velocity.float()
