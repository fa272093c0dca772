"""Clips with known motion: three exact renders of a scene, and where every pixel came from.

A scene is a ground and up to two things before it. Each moves at a constant velocity, and may
turn and grow, so the frame at any time between the first and the last is rendered, not guessed.

Shape letters (docs/notation.md): B batch, F frames, H W size in pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.training.tiny.data import PictureBank
from framepack.training.tiny.world import (
    SPRITE_BACKGROUNDS,
    SPRITE_COLOURS,
    SPRITE_SHAPES,
    sprite_distance,
)

__all__ = ["Clips", "Motion", "World", "draw_clips"]

_SLOWEST_PX = 0.15
_DISSOLVES = 0.06
_Rng = np.random.Generator
Texture = Callable[[Tensor], Tensor]
"""Colours [F, 3, H, W] at places [F, H, W, 2] of a thing at rest, measured from its middle."""


@dataclass(frozen=True)
class Clips:
    """First, middle and last frames, with the flow that a perfect network would find.

    Attributes:
        first, middle, last: [B, 3, H, W] in 0..1.
        times: [B], of the middle frames, 0..1.
        flow: [B, 4, H, W] in pixels, as ``models.ifnet.Step`` has it.
    """

    first: Tensor
    middle: Tensor
    last: Tensor
    times: Tensor
    flow: Tensor


@dataclass(frozen=True)
class Motion:
    """How content moves from time 0 to 1.

    Attributes:
        centre: what it turns and grows about at time 0, (x, y) in pixels from the frame's middle.
        shift: pixels to the right and down.
        angle: radians, clockwise on screen.
        growth: logarithm of the enlargement.
    """

    centre: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    growth: float = 0.0

    def at_rest(self, places: Tensor, times: Tensor) -> Tensor:
        """Where content seen at places [F or 1, H, W, 2] at times [F] is at time 0."""
        centre, shift = places.new_tensor(self.centre), places.new_tensor(self.shift)
        moved = places - centre - shift * times.view(-1, 1, 1, 1)
        return _turned(moved, -self.angle * times, -self.growth * times) + centre

    def at(self, places: Tensor, time: float) -> Tensor:
        """Where content at rest at places [F, H, W, 2] is at a time."""
        centre, shift = places.new_tensor(self.centre), places.new_tensor(self.shift)
        times = places.new_tensor([time])
        turned = _turned(places - centre, self.angle * times, self.growth * times)
        return turned + centre + shift * time


def _turned(places: Tensor, angles: Tensor, growths: Tensor) -> Tensor:
    scale = growths.exp()
    cos, sin = (scale * angles.cos()).view(-1, 1, 1), (scale * angles.sin()).view(-1, 1, 1)
    x, y = places.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


@dataclass(frozen=True)
class World:
    """What clips hold.

    Attributes:
        fastest_px: pixels that content moves at most from the first to the last frame.
        cameras_only: camera moves over pictures alone, without things before them, plain grounds
            and dissolves.
        plain: share of clips of things before a plain ground.
    """

    fastest_px: float = 12.0
    cameras_only: bool = False
    plain: float = 0.18


def draw_clips(
    bank: PictureBank, rng: np.random.Generator, count: int, size: int, world: World | None = None
) -> Clips:
    """Draw clips of ``size`` x ``size`` pixels; the generator's state decides everything."""
    drawn = [_draw_clip(bank, rng, size, world or World()) for _ in range(count)]
    frames = torch.stack([frames for frames, _, _ in drawn])
    return Clips(
        first=frames[:, 0],
        middle=frames[:, 1],
        last=frames[:, 2],
        times=torch.tensor([time for _, time, _ in drawn]),
        flow=torch.stack([flow for _, _, flow in drawn]),
    )


def _draw_clip(
    bank: PictureBank, rng: _Rng, size: int, world: World
) -> tuple[Tensor, float, Tensor]:
    """Three frames [3, 3, H, W], the time of the second, and its flow [4, H, W]."""
    time = float(rng.uniform(0.05, 0.95))
    times = torch.tensor([0.0, time, 1.0])
    kind = 1.0 if world.cameras_only else rng.random()
    if kind < _DISSOLVES:
        one, other = bank.sample(rng, size, size), bank.sample(rng, size, size)
        weights = times.view(-1, 1, 1, 1)
        return one + (other - one) * weights, time, torch.zeros(4, size, size)
    places = _places(size)
    if kind < _DISSOLVES + world.plain:
        frames, flow = _shaded(rng, size, places), torch.zeros(4, size, size)
        frames = frames.expand(3, -1, -1, -1)
        number = int(rng.integers(1, 3))
    else:
        # Half of the grounds end at the edge of the frame, where the world mirrors them.
        ground_px = size if rng.random() < 0.5 else min(192, size + 64)
        texture = _picture(bank.sample(rng, ground_px, ground_px))
        motion = _camera(rng, size, world.fastest_px)
        frames, flow = texture(motion.at_rest(places, times)), _flow(motion, places, time)
        number = 0 if world.cameras_only else int(rng.choice(3, p=[0.55, 0.3, 0.15]))
    for _ in range(number):
        velocity = _velocity(rng, world.fastest_px)
        frames, flow = _put(bank, rng, frames, flow, times, velocity)
    return frames.clamp(0, 1), time, flow


def _put(
    bank: PictureBank,
    rng: _Rng,
    frames: Tensor,
    flow: Tensor,
    times: Tensor,
    velocity: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Put a moving thing before what is there."""
    size = frames.shape[-1]
    radius = float(size * rng.uniform(0.08, 0.3))
    middle = rng.uniform(-0.35, 0.35, 2) * size
    centre = (float(middle[0]), float(middle[1]))
    plain = rng.random() < 0.6
    turns = rng.random() < 0.4
    motion = Motion(
        centre,
        velocity,
        angle=float(rng.normal(0, 0.12)) if turns else 0.0,
        growth=float(rng.normal(0, 0.06)) if turns else 0.0,
    )
    tilt = torch.tensor([float(rng.uniform(0, 2 * math.pi)) if rng.random() < 0.5 else 0.0])
    shape = str(rng.choice(SPRITE_SHAPES))
    places = _places(size)
    rest = motion.at_rest(places, times)
    x, y = _turned(rest - rest.new_tensor(centre), tilt, torch.zeros(1)).unbind(-1)
    cover = (0.5 - sprite_distance(shape, x, y, radius)).clamp(0, 1).unsqueeze(1)
    if plain:
        colour = str(rng.choice(list(SPRITE_COLOURS)))
        colours = torch.tensor(SPRITE_COLOURS[colour]).view(1, 3, 1, 1)
    else:
        side = min(192, max(32, int(radius * 3)))
        colours = _picture(bank.sample(rng, side, side))(rest - rest.new_tensor(centre))
    own = _flow(motion, places, float(times[1]))
    inside = cover[1] > 0.5
    return frames + (colours - frames) * cover, torch.where(inside, own, flow)


def _places(size: int) -> Tensor:
    """Places of the pixels [1, H, W, 2] as (x, y), measured from the middle of the frame."""
    along = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], dim=-1).unsqueeze(0)


def _picture(picture: Tensor) -> Texture:
    """A picture [3, h, w] as a texture, mirrored beyond its edges."""
    height, width = picture.shape[1:]

    def colours(places: Tensor) -> Tensor:
        sizes = places.new_tensor([width, height])
        grid = (places + (sizes - 1) / 2) * (2 / sizes) + 1 / sizes - 1
        batch = picture.expand(len(places), -1, -1, -1)
        return F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)

    return colours


def _flow(motion: Motion, places: Tensor, time: float) -> Tensor:
    """Where pixels at a time lie in the first and the last frame [4, H, W]."""
    rest = motion.at_rest(places, places.new_tensor([time]))
    both = torch.cat([rest - places, motion.at(rest, 1.0) - places], dim=-1)
    return both[0].permute(2, 0, 1)


def _speed(rng: _Rng, fastest_px: float) -> float:
    """Pixels from the first to the last frame, slow as often as fast."""
    return math.exp(rng.uniform(math.log(_SLOWEST_PX), math.log(fastest_px)))


def _velocity(rng: _Rng, fastest_px: float) -> tuple[float, float]:
    """A speed in any direction, often along an axis."""
    speed = _speed(rng, fastest_px)
    if rng.random() < 0.4:
        direction = float(rng.integers(4)) * math.pi / 2
    else:
        direction = rng.uniform(0, 2 * math.pi)
    return speed * math.cos(direction), speed * math.sin(direction)


def _camera(rng: _Rng, size: int, fastest_px: float) -> Motion:
    """A pan, a zoom, a rotation, all of them, or none."""
    kind = rng.random()
    # Zooms and rotations as fast at the edge as pans are.
    turn = _speed(rng, fastest_px) / (size / 2)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    velocity = _velocity(rng, fastest_px)
    if kind < 0.45:
        return Motion(shift=velocity)
    if kind < 0.62:
        return Motion(growth=sign * turn)
    if kind < 0.79:
        return Motion(angle=sign * turn)
    if kind < 0.95:
        return Motion(shift=velocity, angle=sign * turn / 2, growth=float(rng.normal(0, 0.03)))
    return Motion()


def _shaded(rng: _Rng, size: int, places: Tensor) -> Tensor:
    """A plain ground [1, 3, H, W], darker toward the bottom, as behind the world's sprites."""
    name = str(rng.choice(list(SPRITE_BACKGROUNDS)))
    ground = torch.tensor(SPRITE_BACKGROUNDS[name]).view(1, 3, 1, 1)
    down = (places[..., 1] / size + 0.5).unsqueeze(1)
    return ground * (1.12 - 0.24 * down)
