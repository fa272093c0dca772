"""How near interpolated frames come to the true ones, where the motion is known.

Everything follows from a seed that the training does not use, so no picture was seen in it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from framepack.domain.choices import Interpolation
from framepack.media.interpolate import interpolate_frames
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.motion import shows_motion
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    Sprite,
    camera_clip,
    random_sprite,
    sprite_clip,
)

__all__ = ["MEASURED", "compare_methods", "true_clips"]

MEASURED: tuple[Interpolation, ...] = ("rife", "minterpolate", "blend")
SIZE_PX = 128
GAPS = (2, 6, 12)
"""World frames between those that are given: 1.5, 4.5 and 9 px of a pan."""

_GIVEN = 5  # frames of each clip
_MAX_TRIES = 50
Clip = npt.NDArray[np.uint8]  # [F, H, W, 3]


def compare_methods(
    *, weights: Path | None = None, seed: int = 1000, num_pictures: int = 4, factor: int = 4
) -> dict[str, dict[str, float]]:
    """PSNR of new frames in dB, by kind of motion and method, averaged over frames.

    Args:
        weights: for ``rife``; None for the package's own.
        seed: pictures and sprites follow from it.
        num_pictures: clips of every motion and gap.
        factor: frames that become of one.

    Returns:
        Rows such as "pan 4.5 px" and "pan", and "all", each with a number per method.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for kind, true in true_clips(seed, num_pictures, factor):
        for method in MEASURED:
            made = interpolate_frames(true[::factor], factor, method, rife_weights=weights)
            errors = [
                _psnr(frame, other)
                for index, (frame, other) in enumerate(zip(made, true, strict=True))
                if index % factor
            ]
            for row in (kind, kind.split()[0], "all"):
                found.setdefault(row, {}).setdefault(method, []).extend(errors)
    return {row: _means(values) for row, values in sorted(found.items())}


def true_clips(seed: int, num_pictures: int, factor: int) -> Iterator[tuple[str, Clip]]:
    """Clips with every frame, of which each ``factor``-th is to be given, and their kind."""
    bank = PictureBank(seed, 8 * num_pictures)
    for gap in GAPS:
        times = torch.arange((_GIVEN - 1) * factor + 1) * (gap / factor)
        for motion in CAMERA_MOTIONS:
            if motion == "static":
                continue
            for number in range(num_pictures):
                picture = _picture(bank, seed, f"{motion} {gap} {number}")
                kind = f"{motion.split()[0]} {0.75 * gap:g} px"
                yield kind, _frames(camera_clip(picture, motion, times))
        for number in range(4 * num_pictures):
            sprite = _sprite(seeded(seed, "sprite", gap, number))
            yield f"sprite {0.5 * gap:g} px", _frames(sprite_clip(sprite, times, SIZE_PX, SIZE_PX))


def _picture(bank: PictureBank, seed: int, purpose: str) -> Tensor:
    """A picture in which motion can be seen at all."""
    rng = seeded(seed, "picture", purpose)
    for _ in range(_MAX_TRIES):
        picture = bank.sample(rng, SIZE_PX, SIZE_PX)
        if shows_motion(picture):
            return picture
    raise ValueError(f"{_MAX_TRIES} pictures of seed {seed} show no motion; take another seed")


def _sprite(rng: np.random.Generator) -> Sprite:
    """A sprite that does not stand still."""
    while (sprite := random_sprite(rng, SIZE_PX)).motion == "still":
        pass
    return sprite


def _frames(clip: Tensor) -> Clip:
    pixels = (clip.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return np.ascontiguousarray(pixels.numpy())


def _psnr(one: Clip, other: Clip) -> float:
    """At most 60 dB, which frames that are equal get."""
    error = float(np.square(one.astype(np.float64) - other).mean())
    return 10 * float(np.log10(255**2 / max(error, 255**2 * 1e-6)))


def _means(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: round(float(np.mean(each)), 2) for name, each in values.items()}
