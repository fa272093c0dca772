"""How far the words are understood yet, cheaply enough to watch while training.

The loss says little about it: it falls smoothly while the words bind one after another, pans
first, zooms and rotations much later, and the shapes of sprites last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from framepack.models.transformer import FramePackTransformer3DModel
from framepack.training.tiny.captions import CAMERA_PHRASES
from framepack.training.tiny.data import seeded
from framepack.training.tiny.meaning import ATTRIBUTES
from framepack.training.tiny.samples import Batch, Layout, SampleMaker
from framepack.training.tiny.train_transformer import Conditioner, context_arguments
from framepack.training.tiny.world import random_sprite, sprite_start

_MAX_TIMESTEP = 1000.0
_GUIDANCE = 10000.0


@dataclass(frozen=True)
class Following:
    """One step from pure noise, asked for every value of a word among the same others.

    Attributes:
        followed: share of predictions that are nearest to the value that was asked for, among
            all values of the word; chance is one over their number.
        by_value: the same for each value.
        error: mean squared error of the predicted latents.
    """

    followed: float
    by_value: dict[str, float]
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
    counter = _Counter(transformer, conditioner, motions)
    for number in range(num_pictures):
        rng = seeded(seed, "following", number)
        counter.add(samples.camera_moves(rng, layout, motions), int(rng.integers(2**31)))
    return counter.following


@torch.inference_mode()
def measure_sprites(
    transformer: FramePackTransformer3DModel,
    conditioner: Conditioner,
    samples: SampleMaker,
    layout: Layout,
    *,
    seed: int,
    num_sprites: int = 4,
) -> dict[str, Following]:
    """Ask from black for all shapes, colours and motions of a few sprites.

    Args:
        layout: as for :func:`measure_following`.

    Returns:
        A figure for "shape", "colour" and "motion" each.
    """
    found = {}
    for word in ("shape", "colour", "motion"):
        values = ATTRIBUTES[word]
        counter = _Counter(transformer, conditioner, values)
        for number in range(num_sprites):
            rng = seeded(seed, "sprite", word, number)
            sprite = random_sprite(rng, min(layout.height, layout.width))
            changes: list[dict[str, Any]] = [{word: value} for value in values]
            sprites = [replace(sprite, **change) for change in changes]
            sprites = [replace(each, start=sprite_start(each.motion, (0, 0))) for each in sprites]
            counter.add(samples.sprites(rng, layout, sprites), int(rng.integers(2**31)))
        found[word] = counter.following
    return found


class _Counter:
    """Counts which predictions of a batch are nearest to their own example."""

    def __init__(
        self,
        transformer: FramePackTransformer3DModel,
        conditioner: Conditioner,
        values: Sequence[str],
    ) -> None:
        self._transformer, self._conditioner, self._values = transformer, conditioner, values
        self._right = torch.zeros(len(values))
        self._error = 0.0
        self._batches = 0

    def add(self, batch: Batch, seed: int) -> None:
        """Count a batch that holds one example of each value."""
        predicted = _first_guess(self._transformer, self._conditioner, batch, seed)
        distances = (predicted[:, None] - batch.latents[None]).square().flatten(2).mean(dim=2)
        self._right += (distances.argmin(dim=1).cpu() == torch.arange(len(self._values))).float()
        self._error += float(distances.diagonal().mean())
        self._batches += 1

    @property
    def following(self) -> Following:
        """What was counted."""
        shares = (self._right / self._batches).tolist()
        return Following(
            followed=sum(shares) / len(shares),
            by_value=dict(zip(self._values, shares, strict=True)),
            error=self._error / self._batches,
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
