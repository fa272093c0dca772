"""Clips of the procedural world: camera moves over pictures, dissolves, and moving sprites.

Sign conventions (docs/notation.md): "the camera pans left" moves the content to +x on
screen, "pans up" moves it to +y, "zooms in" enlarges it, "rotates clockwise" turns the
content clockwise. What lies beyond the edge of a picture is its mirror image, which makes a
camera move over a known picture deterministic.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PAN_PX_PER_FRAME = 0.75
ZOOM_PER_FRAME = 0.005
ROTATE_DEG_PER_FRAME = 0.5
SPRITE_PX_PER_FRAME = 0.5

# Velocity of the CONTENT per motion: (x px/frame, y px/frame, log zoom/frame, degrees/frame).
CAMERA_MOTIONS: dict[str, tuple[float, float, float, float]] = {
    "pan left": (PAN_PX_PER_FRAME, 0.0, 0.0, 0.0),
    "pan right": (-PAN_PX_PER_FRAME, 0.0, 0.0, 0.0),
    "pan up": (0.0, PAN_PX_PER_FRAME, 0.0, 0.0),
    "pan down": (0.0, -PAN_PX_PER_FRAME, 0.0, 0.0),
    "zoom in": (0.0, 0.0, ZOOM_PER_FRAME, 0.0),
    "zoom out": (0.0, 0.0, -ZOOM_PER_FRAME, 0.0),
    "rotate clockwise": (0.0, 0.0, 0.0, ROTATE_DEG_PER_FRAME),
    "rotate counterclockwise": (0.0, 0.0, 0.0, -ROTATE_DEG_PER_FRAME),
    "static": (0.0, 0.0, 0.0, 0.0),
}

SPRITE_SHAPES = ("circle", "square", "triangle", "cross")
SPRITE_COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.12),
    "green": (0.10, 0.70, 0.20),
    "blue": (0.15, 0.30, 0.90),
    "yellow": (0.95, 0.85, 0.10),
    "purple": (0.65, 0.15, 0.80),
    "white": (0.97, 0.97, 0.97),
}
SPRITE_MOTIONS: dict[str, tuple[float, float]] = {
    "left": (-SPRITE_PX_PER_FRAME, 0.0),
    "right": (SPRITE_PX_PER_FRAME, 0.0),
    "up": (0.0, -SPRITE_PX_PER_FRAME),
    "down": (0.0, SPRITE_PX_PER_FRAME),
    "still": (0.0, 0.0),
}
SPRITE_BACKGROUNDS: dict[str, tuple[float, float, float]] = {
    "gray": (0.36, 0.38, 0.42),
    "black": (0.05, 0.05, 0.06),
    "teal": (0.05, 0.35, 0.38),
}


@dataclass(frozen=True)
class Sprite:
    """One moving shape: what a sprite caption says, plus what it leaves open.

    Attributes:
        start: centre in frame 0 as a fraction of (width, height).
        radius: half size in pixels.
    """

    shape: str
    colour: str
    motion: str
    background: str
    start: tuple[float, float]
    radius: float


@dataclass(frozen=True)
class Turn:
    """A change of camera motion: ``motion`` from frame ``frame`` on."""

    motion: str
    frame: int


def _pixel_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Positions of the pixels [1, H, W, 2] as (x, y), measured from the middle of the frame."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float32, device=device) - (width - 1) / 2,
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).unsqueeze(0)


def _before_move(motion: str, time: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Where places [F or 1, H, W, 2] were ``time`` [F] frames of a motion ago, and the shrink."""
    dx, dy, zoom, degrees = CAMERA_MOTIONS[motion]
    scale = torch.exp(-zoom * time)
    angle = -torch.deg2rad(degrees * time)
    cos, sin = (scale * angle.cos())[:, None, None], (scale * angle.sin())[:, None, None]
    x, y = places.unbind(-1)
    source_x = cos * x - sin * y - (dx * time)[:, None, None]
    source_y = sin * x + cos * y - (dy * time)[:, None, None]
    return torch.stack([source_x, source_y], dim=-1), scale


def _sample(picture: Tensor, positions: Tensor, height: int, width: int) -> Tensor:
    """Sample ``picture`` [3, h, w] at pixel positions of an H x W frame, mirrored outside."""
    sizes = torch.tensor([width, height], dtype=torch.float32, device=picture.device)
    grid = (positions * 2 + 1) / sizes - 1
    batch = picture.unsqueeze(0).expand(positions.shape[0], -1, -1, -1)
    return F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)


def camera_clip(picture: Tensor, motion: str, frames: Tensor, turn: Turn | None = None) -> Tensor:
    """Move the camera over a picture.

    Args:
        picture: [3, H, W] in 0..1; it is frame 0.
        motion: a key of ``CAMERA_MOTIONS``.
        frames: [F] frame numbers, 0 the picture itself.
        turn: where another motion begins, if one does.

    Returns:
        [F, 3, H, W] in 0..1.
    """
    height, width = picture.shape[1:]
    if motion == "static" and turn is None:
        return picture.unsqueeze(0).expand(len(frames), -1, -1, -1)
    time = frames.to(torch.float32)
    places = _pixel_grid(height, width, frames.device)
    shrink = torch.ones_like(time)
    if turn is not None:
        places, shrink = _before_move(turn.motion, (time - turn.frame).clamp(min=0), places)
        time = time.clamp(max=turn.frame)
    places, before = _before_move(motion, time, places)
    shrink = shrink * before
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=frames.device)
    clip = _sample(picture, places + middle, height, width)
    if float(shrink.max()) > 1.1:
        half = F.avg_pool2d(picture.unsqueeze(0), 2)[0]
        coarse = _sample(half, places + middle, height, width)
        blend = (torch.log2(shrink.clamp(min=1.0)).clamp(max=1.0))[:, None, None, None]
        clip = clip + (coarse - clip) * blend
    return clip


def dissolve_clip(first: Tensor, last: Tensor, frames: Tensor, num_frames: int) -> Tensor:
    """Cross-fade two pictures [3, H, W] over ``num_frames``; returns [F, 3, H, W] in 0..1."""
    weight = (frames.to(torch.float32) / (num_frames - 1)).clamp(0, 1)[:, None, None, None]
    return first + (last - first) * weight


def sprite_distance(shape: str, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Signed distance in pixels to the outline of a shape, negative inside."""
    if shape == "circle":
        return torch.hypot(x, y) - radius
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - radius * 0.88
    if shape == "triangle":
        side = x.abs() * math.cos(math.pi / 6) - y * 0.5
        return torch.maximum(side - radius * 0.52, y - radius * 0.70) - radius * 0.12
    arm = radius * 0.36
    horizontal = torch.maximum(x.abs() - radius, y.abs() - arm)
    vertical = torch.maximum(x.abs() - arm, y.abs() - radius)
    return torch.minimum(horizontal, vertical)


def _from_sprite_centre(
    sprite: Sprite, frames: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Pixels' offsets (x, y) from the centre of a sprite, each [F, H, W]."""
    time = frames.to(torch.float32)[:, None, None]
    vx, vy = SPRITE_MOTIONS[sprite.motion]
    margin = sprite.radius + 2
    cx = (sprite.start[0] * width + vx * time).clamp(margin, width - margin)
    cy = (sprite.start[1] * height + vy * time).clamp(margin, height - margin)
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=frames.device) + 0.5,
        torch.arange(width, dtype=torch.float32, device=frames.device) + 0.5,
        indexing="ij",
    )
    return x - cx, y - cy


def sprite_area(sprite: Sprite, frames: Tensor, height: int, width: int) -> Tensor:
    """Where a sprite of any shape would be drawn; returns [F, H, W] of 0 and 1."""
    x, y = _from_sprite_centre(sprite, frames, height, width)
    return (torch.maximum(x.abs(), y.abs()) <= sprite.radius + 1).float()


def sprite_clip(sprite: Sprite, frames: Tensor, height: int, width: int) -> Tensor:
    """Render a sprite; it stops at the edge rather than leave. Returns [F, 3, H, W] in 0..1."""
    x, y = _from_sprite_centre(sprite, frames, height, width)
    distance = sprite_distance(sprite.shape, x, y, sprite.radius)
    cover = (0.5 - distance).clamp(0, 1).unsqueeze(1)
    down = torch.arange(height, dtype=torch.float32, device=frames.device) + 0.5
    shade = 1.12 - 0.24 * (down[:, None] / height)
    colour = torch.tensor(SPRITE_COLOURS[sprite.colour], device=frames.device).view(1, 3, 1, 1)
    ground = torch.tensor(SPRITE_BACKGROUNDS[sprite.background], device=frames.device)
    ground = (ground.view(3, 1, 1) * shade).unsqueeze(0)
    return (ground + (colour - ground) * cover).clamp(0, 1)


def sprite_start(motion: str, jitter: tuple[float, float]) -> tuple[float, float]:
    """Where a sprite starts so that it has room to move; jitter in -1..1 on both axes."""
    vx, vy = SPRITE_MOTIONS[motion]
    x = 0.5 + 0.01 * jitter[0] - 0.28 * math.copysign(1.0, vx) * (vx != 0)
    y = 0.5 + 0.01 * jitter[1] - 0.28 * math.copysign(1.0, vy) * (vy != 0)
    return x, y


def random_sprite(rng: np.random.Generator, size: int, *, still: float = 0.0) -> Sprite:
    """Draw every property of a sprite; its radius suits a frame of ``size`` pixels.

    A share ``still`` of the sprites stands still beyond those that do so anyway.
    """
    motion = "still" if rng.random() < still else str(rng.choice(list(SPRITE_MOTIONS)))
    jitter = (float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)))
    return Sprite(
        shape=str(rng.choice(SPRITE_SHAPES)),
        colour=str(rng.choice(list(SPRITE_COLOURS))),
        motion=motion,
        background=str(rng.choice(list(SPRITE_BACKGROUNDS), p=[0.6, 0.2, 0.2])),
        start=sprite_start(motion, jitter),
        radius=float(size * rng.uniform(0.155, 0.165)),
    )
