"""Claims about the procedural world: sign conventions, mirrors, sprites."""

import numpy as np
import pytest
import torch
from torch import Tensor

from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    PAN_PX_PER_FRAME,
    Sprite,
    Turn,
    camera_clip,
    dissolve_clip,
    random_sprite,
    sprite_clip,
    sprite_start,
)

SIDE = 64


def _dot(x: int, y: int) -> Tensor:
    """A black picture with one soft white dot at (x, y)."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    spot = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8.0)
    return spot.expand(3, -1, -1).clone()


def _centroid(frame: Tensor) -> tuple[float, float]:
    weight = frame[0] / frame[0].sum()
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return float((weight * columns).sum()), float((weight * rows).sum())


@pytest.mark.parametrize("motion", CAMERA_MOTIONS)
def test_frame_zero_is_the_picture(motion: str) -> None:
    picture = torch.rand(3, SIDE, SIDE)
    assert torch.allclose(camera_clip(picture, motion, torch.tensor([0]))[0], picture, atol=1e-4)


@pytest.mark.parametrize(
    ("motion", "dx", "dy"),
    [("pan left", 1, 0), ("pan right", -1, 0), ("pan up", 0, 1), ("pan down", 0, -1)],
)
def test_a_pan_moves_the_content_the_other_way(motion: str, dx: int, dy: int) -> None:
    x, y = _centroid(camera_clip(_dot(30, 30), motion, torch.tensor([8]))[0])
    shift = 8 * PAN_PX_PER_FRAME
    assert (x, y) == pytest.approx((30 + dx * shift, 30 + dy * shift), abs=0.1)


def test_zooming_in_moves_the_content_away_from_the_centre() -> None:
    x, _ = _centroid(camera_clip(_dot(44, 32), "zoom in", torch.tensor([20]))[0])
    assert x > 44.5


def test_rotating_clockwise_moves_the_right_side_down() -> None:
    _, y = _centroid(camera_clip(_dot(50, 32), "rotate clockwise", torch.tensor([20]))[0])
    assert y > 34


def test_what_lies_beyond_the_edge_is_the_mirror_image() -> None:
    picture = torch.rand(3, SIDE, SIDE)
    shift = 24
    moved = camera_clip(picture, "pan left", torch.tensor([shift / PAN_PX_PER_FRAME]))[0]
    assert torch.allclose(moved[:, :, :shift], picture[:, :, :shift].flip(2), atol=1e-3)


def test_a_dissolve_begins_and_ends_with_its_pictures() -> None:
    first, last = torch.rand(3, 16, 16), torch.rand(3, 16, 16)
    clip = dissolve_clip(first, last, torch.tensor([0, 36]), 37)
    assert torch.equal(clip[0], first)
    assert torch.allclose(clip[1], last)


def test_a_sprite_stops_at_the_edge() -> None:
    sprite = Sprite("circle", "red", "left", "black", sprite_start("left", (0, 0)), 8)
    clip = sprite_clip(sprite, torch.tensor([400, 500]), SIDE, SIDE)
    assert torch.equal(clip[0], clip[1])
    assert float(clip[0, 0].max()) > 0.8


def test_a_sprite_has_its_colour_at_its_centre() -> None:
    sprite = Sprite("square", "green", "still", "gray", (0.5, 0.5), 10)
    red, green, blue = sprite_clip(sprite, torch.tensor([0]), SIDE, SIDE)[0, :, 32, 32]
    assert green > 2 * red
    assert green > 2 * blue


def test_the_same_seed_draws_the_same_pictures() -> None:
    first, second = PictureBank(3, 4), PictureBank(3, 4)
    taken = [bank.sample(seeded(1, "take"), 48, 80) for bank in (first, second)]
    assert torch.equal(*taken)
    assert taken[0].shape == (3, 48, 80)


def test_generators_of_different_purposes_are_independent() -> None:
    assert seeded(0, "a", 1).random() != seeded(0, "b", 1).random()
    assert seeded(0, "a", 1).random() == seeded(0, "a", 1).random()
    assert isinstance(seeded(0), np.random.Generator)


@pytest.mark.parametrize(
    ("motion", "back"),
    [
        ("pan left", "pan right"),
        ("pan up", "pan down"),
        ("zoom in", "zoom out"),
        ("rotate clockwise", "rotate counterclockwise"),
    ],
)
def test_a_turn_leads_back_to_where_the_clip_began(motion: str, back: str) -> None:
    picture = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    clip = camera_clip(picture, motion, torch.tensor([10, 20, 30]), Turn(back, 15))
    assert torch.allclose(clip[0], clip[1], atol=1e-3)
    assert torch.allclose(clip[2], picture, atol=1e-3)


def test_until_its_turn_a_clip_is_as_without() -> None:
    picture = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    frames = torch.tensor([0, 5, 12])
    turning = camera_clip(picture, "zoom in", frames, Turn("pan left", 12))
    assert torch.allclose(turning, camera_clip(picture, "zoom in", frames), atol=1e-6)


def test_a_clip_may_begin_at_rest_and_turn_into_a_move() -> None:
    picture = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    frames = torch.arange(6)
    clip = camera_clip(picture, "static", frames + 10, Turn("pan left", 10))
    assert torch.allclose(clip, camera_clip(picture, "pan left", frames), atol=1e-5)


def test_sprites_stand_still_as_often_as_asked() -> None:
    rng = seeded(0, "still")
    still = sum(random_sprite(rng, 64, still=0.5).motion == "still" for _ in range(400))
    assert 0.5 < still / 400 < 0.7  # half of them, and a fifth of the others
