"""Read a sprite clip: which shape, in which colour, moving where.

The background is a smooth gradient, so a robust plane through each frame's colours is the
background, and what stands out from it is the sprite. Its outline is compared with those of
the four shapes at several sizes and every place; the place over time is its motion.

Shape letters (docs/notation.md): F frames, H W size in pixels; here also T templates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from framepack.training.tiny.world import (
    SPRITE_COLOURS,
    SPRITE_MOTIONS,
    SPRITE_PX_PER_FRAME,
    SPRITE_SHAPES,
    sprite_distance,
)

__all__ = ["NOTHING", "SpriteReading", "judge_sprite"]

NOTHING = "nothing"
"""Shape and colour where no sprite was found."""

_LEAST_CONTRAST = 0.12  # colour distance, pixels in 0..1; the weakest true sprite has 0.4
_STILL_BELOW = 1 / 3  # of the nominal speed
_NUM_FRAMES = 10  # frames looked at, spread over the clip
_RADII = (0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18)  # of the shorter side
_MARGIN_PX = 4


@dataclass(frozen=True)
class SpriteReading:
    """What a clip shows.

    Attributes:
        shape: one of ``SPRITE_SHAPES``, or ``NOTHING``.
        colour: a key of ``SPRITE_COLOURS``, or ``NOTHING``.
        motion: a key of ``SPRITE_MOTIONS``; "still" where there is nothing.
        confidence: how much better the shape matches than the next one, as a difference of
            correlations (0 to 1); a clean sprite reaches 0.05 and more.
        speed: px per frame along the motion, 0 for "still".
    """

    shape: str
    colour: str
    motion: str
    confidence: float
    speed: float


def judge_sprite(frames: Tensor) -> SpriteReading:
    """Find the sprite in a clip and name its properties.

    Args:
        frames: [F, 3, H, W] in 0..1, consecutive, from 64 px per side.
    """
    times = torch.linspace(0, len(frames) - 1, min(_NUM_FRAMES, len(frames))).round().long()
    seen = frames[times].float()
    away = seen - _background(seen)
    contrast = away.square().sum(dim=1).sqrt()
    strength = contrast.flatten(1).quantile(0.985, dim=1)
    if float(strength.median()) < _LEAST_CONTRAST:
        return SpriteReading(NOTHING, NOTHING, "still", 0.0, 0.0)
    masks = (contrast / strength[:, None, None]).clamp(0, 1)
    scores, places = _match(masks)
    by_shape = scores.mean(dim=0)
    order = by_shape.argsort(descending=True)
    places = places[:, order[0]]
    motion, speed = _motion(times, places)
    return SpriteReading(
        shape=SPRITE_SHAPES[int(order[0])],
        colour=_colour(seen, masks, places),
        motion=motion,
        confidence=float(by_shape[order[0]] - by_shape[order[1]]),
        speed=speed,
    )


def _background(frames: Tensor) -> Tensor:
    """Fit a plane to each frame's colours that lets the sprite go; returns [F, 3, H, W]."""
    count, _, height, width = frames.shape
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=frames.device),
        torch.linspace(-1, 1, width, device=frames.device),
        indexing="ij",
    )
    basis = torch.stack([torch.ones_like(x), x, y], dim=-1).reshape(-1, 3)
    colours = frames.flatten(2).transpose(1, 2)  # [F, N, 3]
    plane = torch.zeros(count, 3, 3, device=frames.device)
    plane[:, 0] = colours.median(dim=1).values
    for _ in range(8):
        distance = (colours - basis @ plane).square().sum(dim=2)
        weights = (1 / (1 + distance / 0.05**2)).square()[:, :, None]
        normal = (basis * weights).transpose(1, 2) @ basis
        plane = torch.linalg.solve(
            normal + 1e-4 * torch.eye(3, device=frames.device),
            (basis * weights).transpose(1, 2) @ colours,
        )
    return (basis @ plane).transpose(1, 2).reshape(frames.shape)


def _match(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Correlate masks [F, H, W] with every shape, at every place and several sizes.

    Both are compared inside a square around the shape, without their means, so neither a
    sprite that is too large nor one with the wrong corners scores well.

    Returns:
        Best correlation [F, shapes] in -1..1, and the centre where it is, [F, shapes, 2] (x, y)
        in pixels.
    """
    height, width = masks.shape[1:]
    best = masks.new_full((len(masks), len(SPRITE_SHAPES)), -1.0)
    places = masks.new_zeros(len(masks), len(SPRITE_SHAPES), 2)
    size = (height, width)  # sums that run around the edge are cut off below
    spectrum, squares = torch.fft.rfft2(masks), torch.fft.rfft2(masks**2)
    for fraction in _RADII:
        radius = fraction * min(height, width)
        half = int(radius) + _MARGIN_PX
        window = torch.fft.rfft2(masks.new_ones(2 * half + 1, 2 * half + 1), s=size).conj()
        number = (2 * half + 1) ** 2
        sums = _inside(torch.fft.irfft2(spectrum * window, s=size), half, height, width)
        energy = _inside(torch.fft.irfft2(squares * window, s=size), half, height, width)
        # A window of background alone has no energy, and nothing to match.
        norm = (energy - sums**2 / number).clamp(min=1e-3 * number).sqrt()
        for index, shape in enumerate(SPRITE_SHAPES):
            template = _template(shape, radius, half).to(masks)
            transform = torch.fft.rfft2(template, s=size).conj()
            product = _inside(torch.fft.irfft2(spectrum * transform, s=size), half, height, width)
            score = (product / norm).flatten(1)
            value, at = score.max(dim=1)
            better = value > best[:, index]
            best[:, index] = torch.where(better, value, best[:, index])
            columns = width - 2 * half
            place = torch.stack([at % columns, at // columns], dim=1) + half + 0.5
            places[:, index] = torch.where(better[:, None], place.float(), places[:, index])
    return best, places


def _inside(sums: Tensor, half: int, height: int, width: int) -> Tensor:
    """Keep the sums of windows that lie fully inside the frame."""
    return sums[:, : height - 2 * half, : width - 2 * half]


def _template(shape: str, radius: float, half: int) -> Tensor:
    """A shape around the middle of a square: zero mean, unit length."""
    side = torch.arange(-half, half + 1, dtype=torch.float32)
    y, x = torch.meshgrid(side, side, indexing="ij")
    cover = (0.5 - sprite_distance(shape, x, y, radius)).clamp(0, 1)
    cover = cover - cover.mean()
    return cover / cover.square().sum().sqrt()


def _motion(times: Tensor, places: Tensor) -> tuple[str, float]:
    """Name the drift of places [F, 2]; the median over all pairs lets single misses go."""
    earlier, later = torch.triu_indices(len(times), len(times), offset=1)
    between = (times[later] - times[earlier]).to(places)
    drifts = (places[later] - places[earlier]) / between[:, None]
    x, y = drifts.median(dim=0).values.tolist()
    name, speed = "still", 0.0
    for candidate, (vx, vy) in SPRITE_MOTIONS.items():
        along = (x * vx + y * vy) / SPRITE_PX_PER_FRAME
        if along > max(speed, _STILL_BELOW * SPRITE_PX_PER_FRAME):
            name, speed = candidate, along
    return name, speed


def _colour(frames: Tensor, masks: Tensor, places: Tensor) -> str:
    """Name the colour nearest to the median of the sprite's core."""
    height, width = masks.shape[1:]
    y = torch.arange(height, device=masks.device)[None, :, None] + 0.5
    x = torch.arange(width, device=masks.device)[None, None, :] + 0.5
    distance = torch.hypot(x - places[:, 0, None, None], y - places[:, 1, None, None])
    near = distance < _RADII[0] * min(height, width)
    core = near & (masks > 0.8)
    if not bool(core.any()):
        return NOTHING
    found = frames.permute(0, 2, 3, 1)[core].median(dim=0).values
    return min(
        SPRITE_COLOURS,
        key=lambda name: float((found - found.new_tensor(SPRITE_COLOURS[name])).square().sum()),
    )
