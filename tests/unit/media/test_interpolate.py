"""Frames between frames: in number, in place, and better than a cross-fade where things move."""

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch

from framepack.domain.choices import Interpolation
from framepack.media.interpolate import interpolate_frames, num_interpolated
from framepack.training.tiny.world import CAMERA_MOTIONS, camera_clip


def psnr(one, other):
    error = np.square(one.astype(float) - other.astype(float)).mean()
    return 10 * np.log10(255**2 / error)


def moving(motion, num_frames, *, speed=4):
    """A picture under a moving camera, with the frames that a slower camera would give."""
    picture = torch.from_numpy(blobs()).permute(2, 0, 1).float() / 255
    clip = camera_clip(picture, motion, torch.arange(num_frames) * speed)
    return (clip.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()


def blobs(side=96):
    from PIL import Image

    coarse = np.random.default_rng(3).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("method", get_args(Interpolation))
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_frames_keep_their_pixels_and_places(method, factor, count, waves):
    frames = waves(count) if count else []
    made = list(interpolate_frames(iter(frames), factor, method))
    assert len(made) == num_interpolated(count, factor)
    for index, frame in enumerate(frames):
        assert np.array_equal(made[index * factor], frame)


def test_no_factor_changes_nothing(waves):
    assert np.array_equal(list(interpolate_frames(waves(4), 0, "blend")), waves(4))
    assert num_interpolated(4, 0) == 4


def test_a_blend_is_the_weighted_mean():
    frames = [np.full((16, 16, 3), value, np.uint8) for value in (0, 90, 30)]
    made = list(interpolate_frames(frames, 3, "blend"))
    assert [int(frame[0, 0, 0]) for frame in made] == [0, 30, 60, 90, 70, 50, 30]


@pytest.mark.parametrize("motion", ["pan left", "pan down"])
@pytest.mark.parametrize("factor", [2, 3])
def test_motion_is_followed_better_than_by_a_blend(motion, factor):
    true = moving(motion, 6 * factor + 1, speed=6 / factor)
    between = [index for index in range(len(true)) if index % factor]

    def quality(method):
        made = list(interpolate_frames(true[::factor], factor, method))
        return np.mean([psnr(made[index], true[index]) for index in between])

    assert quality("minterpolate") > quality("blend") + 3


@pytest.mark.parametrize("method", ["rife", "minterpolate"])
@pytest.mark.parametrize("motion", list(CAMERA_MOTIONS)[:8])
def test_no_frame_is_frozen(motion, method):
    made = list(interpolate_frames(moving(motion, 6), 3, method))
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(made)]
    assert min(steps) > 0.2 * np.median(steps)


def test_a_cut_freezes_nothing(waves):
    frames = [*waves(3), *(255 - waves(3, seed=9))]
    made = list(interpolate_frames(frames, 4, "minterpolate"))
    assert not np.array_equal(made[9], made[10])
    assert not np.array_equal(made[10], made[11])
