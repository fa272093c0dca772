"""The ruler for sprites, held to sprites that are known."""

import pytest
import torch
from torch import Tensor

from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.sprite_judge import NOTHING, judge_sprite
from framepack.training.tiny.world import (
    SPRITE_BACKGROUNDS,
    SPRITE_COLOURS,
    SPRITE_MOTIONS,
    SPRITE_SHAPES,
    Sprite,
    camera_clip,
    random_sprite,
    sprite_clip,
    sprite_start,
)

SHAPES = ((128, 128), (96, 160), (160, 96))  # height, width


def properties(clip: Tensor) -> tuple[str, str, str]:
    reading = judge_sprite(clip)
    return reading.shape, reading.colour, reading.motion


def spoilt(clip: Tensor) -> Tensor:
    """Blurred with a Gaussian of one pixel, and noisy."""
    kernel = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / 2)
    kernel = kernel / kernel.sum()
    planes = clip.flatten(0, 1).unsqueeze(1)
    for shape in ((1, 1, 1, 7), (1, 1, 7, 1)):
        padding = (0, 3) if shape[3] == 7 else (3, 0)
        planes = torch.nn.functional.conv2d(planes, kernel.view(shape), padding=padding)
    blurred = planes.view(clip.shape)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    return (blurred + 0.03 * noise).clamp(0, 1)


@pytest.mark.parametrize("shape", SPRITE_SHAPES)
def test_every_shape_and_colour_is_read_right(shape: str) -> None:
    motions, backgrounds = list(SPRITE_MOTIONS), list(SPRITE_BACKGROUNDS)
    for index, colour in enumerate(SPRITE_COLOURS):
        motion = motions[(index + len(shape)) % 5]
        height, width = SHAPES[index % 3]
        radius = (0.13 + 0.004 * index) * min(height, width)
        start = sprite_start(motion, (0.5, -0.5))
        sprite = Sprite(shape, colour, motion, backgrounds[index % 3], start, radius)
        clip = sprite_clip(sprite, torch.arange(33), height, width)
        assert properties(clip) == (shape, colour, motion)


def test_blur_and_noise_do_not_mislead() -> None:
    rng = seeded(1000, "sprite judge test")
    for index in range(8):
        height, width = SHAPES[index % 3]
        sprite = random_sprite(rng, min(height, width))
        clip = spoilt(sprite_clip(sprite, torch.arange(33), height, width))
        assert properties(clip) == (sprite.shape, sprite.colour, sprite.motion), sprite


def test_speed_is_measured() -> None:
    sprite = Sprite("circle", "white", "right", "gray", (0.22, 0.5), 16.0)
    reading = judge_sprite(sprite_clip(sprite, torch.arange(69), 128, 128))
    assert reading.speed == pytest.approx(0.5, abs=0.03)


def test_a_sprite_slower_than_a_third_of_its_speed_is_still() -> None:
    sprite = Sprite("square", "red", "down", "black", (0.5, 0.25), 16.0)
    slow = sprite_clip(sprite, torch.arange(33) / 4, 128, 128)
    assert properties(slow) == ("square", "red", "still")


def test_an_empty_background_is_nothing() -> None:
    sprite = Sprite("circle", "red", "left", "teal", (0.5, 0.5), 16.0)
    empty = sprite_clip(sprite, torch.arange(20), 128, 128)[:, :, :30, :30]
    assert properties(empty) == (NOTHING, NOTHING, "still")


def test_a_picture_in_motion_is_no_confident_sprite() -> None:
    picture = PictureBank(1000, 1).take(seeded(1000, "no sprite"), 0, 128, 128)
    reading = judge_sprite(camera_clip(picture, "pan left", torch.arange(33)))
    sprite = Sprite("cross", "blue", "left", "gray", (0.7, 0.5), 18.0)
    clean = judge_sprite(sprite_clip(sprite, torch.arange(33), 128, 128))
    assert reading.confidence < clean.confidence
