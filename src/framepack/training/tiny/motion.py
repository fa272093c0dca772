"""Read the camera's motion off a clip: a robust global similarity transform over time.

Pairs of frames are aligned by Gauss-Newton on pixels, coarse to fine, with a gain and an
offset of brightness per pair and with weights that let differing pixels go. The transforms,
divided by the time between the frames, are the clip's velocity. Content that enters at the
border moves with the rest, so nothing has to be known about it.

Shape letters (docs/notation.md): F frames, H W size in pixels; here also P pairs of frames.
"""

from dataclasses import astuple, dataclass
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.training.tiny.figures import psnr
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    PAN_PX_PER_FRAME,
    ROTATE_DEG_PER_FRAME,
    ZOOM_PER_FRAME,
    camera_clip,
)

__all__ = [
    "NOMINAL",
    "STILL_BELOW",
    "Motion",
    "classify_motion",
    "estimate_motion",
    "nearest_motion",
    "shows_motion",
    "speed_factor",
]

STILL_BELOW = 1 / 3
"""A clip that moves at less than this share of every nominal speed counts as static."""

NOMINAL = (PAN_PX_PER_FRAME, PAN_PX_PER_FRAME, ZOOM_PER_FRAME, ROTATE_DEG_PER_FRAME)
"""Nominal speeds in the order of ``Motion``'s first four fields."""

# Passes: frames between the frames of a pair, pyramid levels (px per px), steps at each. A
# later pass starts from what the one before found.
_PASSES = ((4, (4, 2), 5), (8, (2, 1), 3))
_MOST_PAIRS = 8
_UNKNOWNS = 6  # x, y, log zoom and angle (both times the radius), gain, offset
_LEAST_DIFFERENCE = 0.03


@dataclass(frozen=True)
class Motion:
    """Velocity of a clip's content, and how well it explains the clip.

    Attributes:
        dx: px per frame, to the right.
        dy: px per frame, down.
        log_zoom: natural logarithm of the enlargement per frame.
        degrees: turn per frame, clockwise.
        residual: rms difference that remains between aligned frames, pixels in 0..1.
    """

    dx: float
    dy: float
    log_zoom: float
    degrees: float
    residual: float

    @property
    def scaled(self) -> tuple[float, ...]:
        """The four velocities as multiples of the nominal speeds."""
        return tuple(v / nominal for v, nominal in zip(astuple(self)[:4], NOMINAL, strict=True))


def estimate_motion(frames: Tensor, frame_numbers: Tensor | None = None) -> Motion:
    """Measure how the content of a clip moves.

    Args:
        frames: [F, 3, H, W] in 0..1, two or more, from 48 px per side.
        frame_numbers: [F] rising times of the frames; 0, 1, 2... when left out.

    Returns:
        The median over pairs of frames.

    Raises:
        ValueError: fewer than two frames, or times that do not rise.
    """
    times = torch.arange(len(frames)) if frame_numbers is None else frame_numbers.cpu()
    if len(frames) < 2 or len(times) != len(frames) or not bool((times.diff() > 0).all()):
        raise ValueError(f"{len(frames)} frames at {len(times)} times; needed: two or more, rising")
    velocity = frames.new_zeros(4, dtype=torch.float32)
    residuals = velocity
    for gap, levels, num_steps in _PASSES:
        first, second = _pairs(times, gap)
        between = (times[second] - times[first]).to(frames.device, torch.float32)
        transforms = velocity * between[:, None]
        for factor in levels:
            before, after = (_shrink(frames[i].float(), factor) for i in (first, second))
            transforms, residuals = _align(before, after, transforms, factor, num_steps)
        velocity = (transforms / between[:, None]).quantile(0.5, dim=0)
    dx, dy, log_zoom, radians = velocity.tolist()
    degrees = float(torch.rad2deg(torch.tensor(radians)))
    return Motion(dx, dy, log_zoom, degrees, float(residuals.mean()))


def classify_motion(motion: Motion) -> str:
    """Name the key of ``CAMERA_MOTIONS`` that a motion is nearest to.

    That is the direction of the largest velocity in units of its nominal speed, or "static"
    where none reaches ``STILL_BELOW`` of it.
    """
    best = max(CAMERA_MOTIONS, key=lambda name: speed_factor(motion, name))
    return best if speed_factor(motion, best) >= STILL_BELOW else "static"


def speed_factor(motion: Motion, name: str) -> float:
    """Speed along a named camera motion, as a multiple of its nominal speed; 0 for "static"."""
    nominal = CAMERA_MOTIONS[name]
    directions = (v / n for v, n in zip(nominal, NOMINAL, strict=True))
    return sum(d * s for d, s in zip(directions, motion.scaled, strict=True))


def nearest_motion(
    frames: Tensor, picture: Tensor, frame_numbers: Tensor
) -> tuple[str, dict[str, float]]:
    """Find which of the nine true renderings of a picture a clip is nearest to.

    Args:
        frames: [F, 3, H, W] in 0..1.
        picture: [3, H, W] in 0..1, frame 0.
        frame_numbers: [F], 0 the picture itself.

    Returns:
        The nearest key of ``CAMERA_MOTIONS``, and the PSNR in dB to every one of them.
    """
    nearness = {
        name: psnr(frames, camera_clip(picture, name, frame_numbers)) for name in CAMERA_MOTIONS
    }
    return max(nearness, key=lambda name: nearness[name]), nearness


def shows_motion(picture: Tensor, num_frames: int = 37) -> bool:
    """Whether a picture has enough on it to tell the nine motions apart.

    On a nearly flat picture, or stripes along a pan, two motions look the same and following
    a prompt means nothing. The rule: a third of the way, two thirds and all the way into the
    clip, any two motions' true renderings differ by at least 0.03 rms (pixels in 0..1).

    Args:
        picture: [3, H, W] in 0..1.
        num_frames: length of the clip.
    """
    last = num_frames - 1
    times = torch.tensor([last // 3, 2 * last // 3, last], device=picture.device)
    clips = [camera_clip(picture, name, times) for name in CAMERA_MOTIONS]
    return all(
        float((a - b).square().mean().sqrt()) >= _LEAST_DIFFERENCE
        for a, b in combinations(clips, 2)
    )


def _shrink(frames: Tensor, factor: int) -> Tensor:
    """Smooth a little, so that gradients reach further than a pixel, and shrink."""
    smooth = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return smooth if factor == 1 else F.avg_pool2d(smooth, factor)


def _pairs(times: Tensor, gap: int) -> tuple[Tensor, Tensor]:
    """Indices of frames, spread over the clip, and of those ``gap`` frames later."""
    gap = min(gap, int(times[-1] - times[0]))
    latest = int(times[-1]) - gap
    number = min(_MOST_PAIRS, max(1, 2 * (latest - int(times[0])) // gap) + 1)
    starts = torch.linspace(int(times[0]), latest, number).round().to(times.dtype)
    first = torch.searchsorted(times, starts, right=True) - 1
    second = torch.searchsorted(times, times[first] + gap).clamp(max=len(times) - 1)
    return first, second


def _align(
    before: Tensor, after: Tensor, transforms: Tensor, factor: int, num_steps: int
) -> tuple[Tensor, Tensor]:
    """Improve transforms [P, 4] from ``before`` to ``after`` [P, 3, h, w] at one level.

    Returns:
        Transforms (x and y in full-size px, log zoom, radians) and rms residuals [P].
    """
    height, width = (side * factor for side in before.shape[2:])
    radius = (height + width) / 4
    y, x = torch.meshgrid(
        torch.arange(before.shape[2], device=before.device) * factor - (height - factor) / 2,
        torch.arange(before.shape[3], device=before.device) * factor - (width - factor) / 2,
        indexing="ij",
    )
    layers = torch.cat([after, *_gradients(after, factor)], dim=1)
    residuals = transforms.new_zeros(len(transforms))
    for _ in range(num_steps):
        turned_x, turned_y = _turn(x, y, transforms)
        to_x = turned_x + transforms[:, 0, None, None]
        to_y = turned_y + transforms[:, 1, None, None]
        grid = torch.stack([to_x / (width / 2), to_y / (height / 2)], dim=-1)
        sampled = F.grid_sample(layers, grid, padding_mode="border", align_corners=False)
        warped, slope_x, slope_y = sampled.split(3, dim=1)
        inside = ((to_x.abs() < width / 2 - factor) & (to_y.abs() < height / 2 - factor))[:, None]
        columns = torch.stack(
            [
                slope_x,
                slope_y,
                (slope_x * turned_x[:, None] + slope_y * turned_y[:, None]) / radius,
                (slope_y * turned_x[:, None] - slope_x * turned_y[:, None]) / radius,
                before,
                torch.ones_like(before),
            ],
            dim=-1,
        )
        step, residuals = _solve(columns, before - warped, inside.expand_as(before))
        scale = torch.tensor([1, 1, 1 / radius, 1 / radius], device=step.device)
        transforms = transforms + step[:, :4] * scale
    return transforms, residuals


def _turn(x: Tensor, y: Tensor, transforms: Tensor) -> tuple[Tensor, Tensor]:
    """Turn and enlarge positions [h, w] about the centre; returns [P, h, w] each."""
    zoom, angle = transforms[:, 2, None, None].exp(), transforms[:, 3, None, None]
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    return cos * x - sin * y, sin * x + cos * y


def _gradients(frames: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Central differences per full-size pixel, along x and along y."""
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    along_x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / (2 * factor)
    along_y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / (2 * factor)
    return along_x, along_y


def _solve(columns: Tensor, error: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted least squares over pixels and channels: steps [P, 6], rms residuals [P].

    The gain and offset found along the way serve the weights of no later step: they are
    solved for anew each time, and only the geometry is kept.
    """
    pairs = len(error)
    rows = columns.reshape(pairs, -1, _UNKNOWNS)
    right, kept = error.reshape(pairs, -1), inside.reshape(pairs, -1).float()
    # Brightness first, so that a fade does not make every pixel an outlier.
    light = _least_squares(rows[:, :, 4:], right, kept)
    unlit = right - (rows[:, :, 4:] @ light[:, :, None])[:, :, 0]
    some = unlit[:, ::7].abs()  # a median of every pixel would cost more than all the rest
    spread = 1.4826 * some.median(dim=1, keepdim=True).values + 0.01
    weights = kept / (1 + (unlit / (2.5 * spread)).square()).square()
    step = _least_squares(rows, right, weights)
    after = unlit * kept
    return step, (after.square().sum(1) / kept.sum(1).clamp(min=1)).sqrt()


def _least_squares(rows: Tensor, right: Tensor, weights: Tensor) -> Tensor:
    """Solve [P, N, K] rows for [P, N] values, slightly damped; returns [P, K]."""
    weighted = rows * weights[:, :, None]
    normal = weighted.transpose(1, 2) @ rows
    number = weights.sum(dim=1)[:, None, None].clamp(min=1)
    damping = 1e-6 * number * torch.eye(rows.shape[2], device=rows.device)
    goal = weighted.transpose(1, 2) @ right[:, :, None]
    solution: Tensor = torch.linalg.solve(normal + damping, goal)[:, :, 0]
    return solution
