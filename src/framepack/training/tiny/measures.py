"""What the evaluation measures on each video, as plain records.

Camera moves, sprites, end pictures and VAE reconstruction, each made from an ``Order`` by a
``Renderer``. Every record can be written as JSON; every kind comes with a row of frames for
people to look at.

Shape letters (docs/notation.md): F frames, H W size in pixels.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from framepack.training.tiny.figures import detail, kept_sharpness, psnr
from framepack.training.tiny.motion import (
    classify_motion,
    estimate_motion,
    nearest_motion,
    speed_factor,
)
from framepack.training.tiny.rendering import Order, Renderer, fitted
from framepack.training.tiny.sprite_judge import judge_sprite
from framepack.training.tiny.world import Sprite, camera_clip

__all__ = [
    "CameraRecord",
    "EndRecord",
    "Row",
    "SpriteRecord",
    "VaeRecord",
    "measure_camera",
    "measure_end",
    "measure_sprite",
    "measure_vae",
]

_SECTION_FRAMES = 36
_SHOWN_FRAMES = 8
_COMPARED_EVERY = 4  # frames; neighbours say the same about nearness


@dataclass(frozen=True)
class Row:
    """Frames for a contact sheet, [F, 3, H, W] uint8, and what stands above them."""

    label: str
    frames: Tensor


@dataclass(frozen=True)
class CameraRecord:
    """One camera move that was asked for, and what came.

    Attributes:
        source: "generated" or "photographs".
        picture: name of the start picture.
        motion: key of ``CAMERA_MOTIONS`` that the prompt asks for.
        prompt, width, height, variant, num_sections, seed: the order.
        reading: motion read off the whole clip.
        section_readings: the same off each section alone.
        speed: along the asked motion, as a multiple of nominal; 0 for "static".
        residual: rms difference left between aligned frames.
        nearest: which of the nine true renderings is nearest.
        psnr: dB to the true rendering.
        first_frame_psnr: dB of the first frame to the fitted picture.
        kept: sharpness of the last frame as a share of the first's.
        kept_of_truth: the same, divided by what the true rendering keeps.
        detail_kept: variance of the Laplacian, last frame as a share of the first.
    """

    source: str
    picture: str
    motion: str
    prompt: str
    width: int
    height: int
    variant: str
    num_sections: int
    seed: int
    reading: str
    section_readings: tuple[str, ...]
    speed: float
    residual: float
    nearest: str
    psnr: float
    first_frame_psnr: float
    kept: float
    kept_of_truth: float
    detail_kept: float

    @property
    def followed(self) -> bool:
        """Whether the clip as a whole moves as asked."""
        return self.reading == self.motion

    @property
    def followed_throughout(self) -> bool:
        """Whether every section alone moves as asked."""
        return all(reading == self.motion for reading in self.section_readings)


@dataclass(frozen=True)
class SpriteRecord:
    """One sprite that was asked for in words, and what came."""

    prompt: str
    width: int
    height: int
    variant: str
    num_sections: int
    seed: int
    asked: tuple[str, str, str]
    found: tuple[str, str, str]
    speed: float
    confidence: float

    def right(self, index: int) -> bool:
        """Whether shape (0), colour (1) or motion (2) is as asked."""
        return self.asked[index] == self.found[index]


@dataclass(frozen=True)
class EndRecord:
    """One end picture: dB of the last frame to it, with it given and without."""

    source: str
    kind: str
    prompt: str
    width: int
    height: int
    num_sections: int
    seed: int
    with_db: float
    without_db: float

    @property
    def gain_db(self) -> float:
        """How much nearer the end picture brought the last frame."""
        return self.with_db - self.without_db


@dataclass(frozen=True)
class VaeRecord:
    """One clip or still through the VAE and back, in dB."""

    source: str
    name: str
    num_frames: int
    psnr: float


def measure_camera(
    renderer: Renderer, order: Order, *, source: str, name: str, motion: str
) -> tuple[CameraRecord, Row]:
    """Make one camera move and read it."""
    assert order.image is not None
    picture = fitted(order.image, order.width, order.height)
    frames = renderer.render(order)
    numbers = torch.arange(len(frames))
    truth = camera_clip(picture, motion, numbers)
    found = estimate_motion(frames, numbers)
    compared = numbers[::_COMPARED_EVERY]
    nearest, _ = nearest_motion(frames[compared], picture, compared)
    reading = classify_motion(found)
    record = CameraRecord(
        source=source,
        picture=name,
        motion=motion,
        prompt=order.prompt,
        width=order.width,
        height=order.height,
        variant=order.variant,
        num_sections=order.num_sections,
        seed=order.seed,
        reading=reading,
        section_readings=_section_readings(frames, order.num_sections, reading),
        speed=speed_factor(found, motion),
        residual=found.residual,
        nearest=nearest,
        psnr=psnr(frames, truth),
        first_frame_psnr=psnr(frames[0], picture),
        kept=kept_sharpness(frames),
        kept_of_truth=kept_sharpness(frames, truth),
        detail_kept=detail(frames[-1]) / max(detail(frames[0]), 1e-9),
    )
    label = (
        f'{name}, {order.variant}, {order.num_sections} section(s): "{order.prompt}" '
        f"-> {reading}, {record.speed:.2f} x, {record.psnr:.1f} dB"
    )
    return record, _row(label, frames)


def measure_sprite(renderer: Renderer, order: Order, sprite: Sprite) -> tuple[SpriteRecord, Row]:
    """Make one sprite from words and read it."""
    frames = renderer.render(order)
    reading = judge_sprite(frames)
    found = (reading.shape, reading.colour, reading.motion)
    record = SpriteRecord(
        prompt=order.prompt,
        width=order.width,
        height=order.height,
        variant=order.variant,
        num_sections=order.num_sections,
        seed=order.seed,
        asked=(sprite.shape, sprite.colour, sprite.motion),
        found=found,
        speed=reading.speed,
        confidence=reading.confidence,
    )
    label = f'{order.variant}: "{order.prompt}" -> {found[1]} {found[0]}, {found[2]}'
    return record, _row(label, frames)


def measure_end(
    renderer: Renderer, order: Order, *, source: str, kind: str
) -> tuple[EndRecord, list[Row]]:
    """Make a video with an end picture, and the same without it."""
    assert order.end_image is not None
    end = fitted(order.end_image, order.width, order.height)
    led = renderer.render(order)
    left_alone = renderer.render(replace(order, end_image=None))
    record = EndRecord(
        source=source,
        kind=kind,
        prompt=order.prompt,
        width=order.width,
        height=order.height,
        num_sections=order.num_sections,
        seed=order.seed,
        with_db=psnr(led[-1], end),
        without_db=psnr(left_alone[-1], end),
    )
    label = f'{kind}, {source}, "{order.prompt}": {record.with_db:.1f} dB to the end picture'
    without = f"without an end picture: {record.without_db:.1f} dB"
    return record, [_row(label, torch.cat([led, end[None]])), _row(without, left_alone)]


def measure_vae(renderer: Renderer, clip: Tensor, *, source: str, name: str) -> VaeRecord:
    """Pass a clip [4t+1, 3, H, W] in 0..1 through the VAE."""
    return VaeRecord(source, name, len(clip), psnr(renderer.reconstruct(clip), clip))


def _section_readings(frames: Tensor, num_sections: int, whole: str) -> tuple[str, ...]:
    if num_sections == 1:
        return (whole,)
    parts = [
        frames[index * _SECTION_FRAMES : (index + 1) * _SECTION_FRAMES + 1]
        for index in range(num_sections)
    ]
    return tuple(classify_motion(estimate_motion(part)) for part in parts)


def _row(label: str, frames: Tensor) -> Row:
    shown = torch.linspace(0, len(frames) - 1, _SHOWN_FRAMES).round().long()
    return Row(label, (frames[shown] * 255).round().clamp(0, 255).byte())
