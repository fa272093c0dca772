"""The ruler for camera motion, held to clips whose motion is known."""

import pytest
import torch
from torch import Tensor

from framepack.media.images import to_tensor
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.motion import (
    Motion,
    classify_motion,
    estimate_motion,
    nearest_motion,
    shows_motion,
    speed_factor,
)
from framepack.training.tiny.photographs import load_photographs
from framepack.training.tiny.world import CAMERA_MOTIONS, camera_clip

SHAPES = ((128, 128), (96, 160), (160, 96))  # height, width


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return PictureBank(1000, 6)


def picture(bank: PictureBank, height: int, width: int, index: int = 0) -> Tensor:
    return bank.take(seeded(1000, "motion test", index), index, height, width)


def read(clip: Tensor, numbers: Tensor) -> str:
    return classify_motion(estimate_motion(clip, numbers))


@pytest.mark.parametrize("motion", CAMERA_MOTIONS)
def test_true_clips_are_read_right_at_their_speed(bank: PictureBank, motion: str) -> None:
    index = list(CAMERA_MOTIONS).index(motion)
    height, width = SHAPES[index % 3]
    numbers = torch.arange(73 if index % 2 else 37)
    found = estimate_motion(camera_clip(picture(bank, height, width), motion, numbers), numbers)
    assert classify_motion(found) == motion
    if motion != "static":
        assert speed_factor(found, motion) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("motion", ["pan left", "pan up", "zoom in", "rotate clockwise"])
def test_the_sign_is_that_of_the_content(bank: PictureBank, motion: str) -> None:
    numbers = torch.arange(20)
    found = estimate_motion(camera_clip(picture(bank, 96, 96), motion, numbers), numbers)
    dx, dy, log_zoom, degrees = CAMERA_MOTIONS[motion]
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.02)
    assert found.log_zoom == pytest.approx(log_zoom, abs=2e-4)
    assert found.degrees == pytest.approx(degrees, abs=0.02)


def test_photographs_are_read_right() -> None:
    pytest.importorskip("skimage")
    numbers = torch.arange(37)
    motions = list(CAMERA_MOTIONS)
    for index, (name, photograph) in enumerate(load_photographs(128, 128)):
        clip = camera_clip((to_tensor(photograph)[0] + 1) / 2, motions[index % 9], numbers)
        assert read(clip, numbers) == motions[index % 9], name


def test_noise_blur_and_a_fade_of_brightness_do_not_mislead(bank: PictureBank) -> None:
    numbers = torch.arange(37)
    generator = torch.Generator().manual_seed(0)
    fade = torch.linspace(1, 0.7, 37).view(-1, 1, 1, 1)
    for motion in ("pan right", "zoom out", "rotate counterclockwise", "static"):
        clip = camera_clip(picture(bank, 128, 128, 1), motion, numbers)
        soft = torch.nn.functional.avg_pool2d(clip, 3, stride=1, padding=1)
        spoilt = soft * fade + 0.03 * torch.randn(clip.shape, generator=generator)
        assert read(spoilt.clamp(0, 1), numbers) == motion


def test_half_a_move_counts_and_a_quarter_is_still(bank: PictureBank) -> None:
    numbers = torch.arange(30)
    clip = camera_clip(picture(bank, 96, 96), "zoom in", numbers)
    assert read(clip, numbers * 2) == "zoom in"
    assert read(clip, numbers * 4) == "static"


def test_one_bad_frame_does_not_matter(bank: PictureBank) -> None:
    numbers = torch.arange(37)
    clip = camera_clip(picture(bank, 96, 96), "pan down", numbers).clone()
    clip[16] = torch.rand(clip[16].shape, generator=torch.Generator().manual_seed(1))
    assert read(clip, numbers) == "pan down"


def test_frames_may_be_missing(bank: PictureBank) -> None:
    numbers = torch.tensor([0, 1, 2, 5, 9, 10, 17, 24, 25, 30])
    clip = camera_clip(picture(bank, 96, 96), "rotate clockwise", numbers)
    found = estimate_motion(clip, numbers)
    assert speed_factor(found, "rotate clockwise") == pytest.approx(1, abs=0.05)


def test_times_that_do_not_rise_are_refused(bank: PictureBank) -> None:
    clip = picture(bank, 64, 64).expand(3, -1, -1, -1)
    with pytest.raises(ValueError, match="rising"):
        estimate_motion(clip, torch.tensor([0, 2, 1]))


def test_a_flat_clip_is_static() -> None:
    assert read(torch.full((20, 3, 64, 64), 0.5), torch.arange(20)) == "static"


def test_the_largest_velocity_in_nominal_units_names_the_motion() -> None:
    assert classify_motion(Motion(0.3, 0.0, 0.004, 0.0, 0.0)) == "zoom in"
    assert classify_motion(Motion(0.0, -0.5, 0.0, 0.1, 0.0)) == "pan down"
    assert classify_motion(Motion(0.1, -0.1, 0.001, -0.1, 0.0)) == "static"


def test_nearest_of_the_nine_is_the_clip_itself(bank: PictureBank) -> None:
    numbers = torch.arange(0, 37, 6)
    start = picture(bank, 96, 96)
    name, nearness = nearest_motion(camera_clip(start, "zoom out", numbers), start, numbers)
    assert name == "zoom out"
    assert nearness["zoom out"] > max(v for k, v in nearness.items() if k != "zoom out") + 10


def test_flat_pictures_and_stripes_cannot_show_motion(bank: PictureBank) -> None:
    flat = torch.full((3, 96, 96), 0.5)
    stripes = (torch.arange(96) // 8 % 2).float().expand(3, 96, 96)  # upright: no pan up
    assert not shows_motion(flat)
    assert not shows_motion(stripes)
    assert shows_motion(picture(bank, 96, 96))
