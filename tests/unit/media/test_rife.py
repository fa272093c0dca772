"""Frames made by RIFE: of every size, at even times, alike each time, and near the true ones."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.helpers.ifnets import random_ifnet, save_ifnet

from framepack.domain.choices import Interpolation
from framepack.domain.errors import CheckpointError
from framepack.media.interpolate import interpolate_frames

Frames = npt.NDArray[np.uint8]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_ifnet(random_ifnet(), tmp_path / "flownet.pkl")


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (33, 65), (90, 50)])
def test_every_size_is_taken(waves: Callable[..., Frames], height: int, width: int) -> None:
    made = list(interpolate_frames(waves(3, height, width), 2, "rife"))
    assert [frame.shape for frame in made] == [(height, width, 3)] * 5
    assert all(frame.dtype == np.uint8 and frame.flags.c_contiguous for frame in made)


def test_what_a_picture_is_continued_with_does_not_show() -> None:
    """A plain picture stays plain to its edge, whatever size the network gets."""
    frames = [np.full((40, 50, 3), value, np.uint8) for value in (100, 104)]
    made = list(interpolate_frames(frames, 2, "rife"))[1].astype(int)
    assert made.max() - made.min() <= 4
    assert abs(made.mean() - 102) <= 2


def test_the_same_frames_give_the_same_bytes(waves: Callable[..., Frames]) -> None:
    one, other = (list(interpolate_frames(waves(3), 3, "rife")) for _ in range(2))
    assert np.array_equal(one, other)


def test_equal_frames_have_copies_between_them(waves: Callable[..., Frames]) -> None:
    frame = waves(1)[0]
    assert all(np.array_equal(made, frame) for made in interpolate_frames([frame] * 3, 4, "rife"))


def test_time_runs_evenly() -> None:
    """A bar that moves 6 px is a third, then two thirds of the way."""

    def bar(x: float) -> Frames:
        across = np.arange(64)
        cover = np.clip(6 - np.abs(across - x), 0, 1)[None, :, None]
        return np.broadcast_to(60 + 150 * cover, (64, 64, 3)).round().astype(np.uint8)

    def errors(method: Interpolation) -> list[float]:
        made = interpolate_frames([bar(28), bar(34)], 3, method)
        true = [bar(28), bar(30), bar(32), bar(34)]
        return [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(made, true, strict=True)]

    rife, blend = errors("rife"), errors("blend")
    assert rife[0] == rife[3] == 0
    assert rife[1] < blend[1] / 2
    assert rife[2] < blend[2] / 2


def test_other_weights_make_other_frames(waves: Callable[..., Frames], weights: Path) -> None:
    frames = waves(2)
    own = list(interpolate_frames(frames, 2, "rife"))
    given = list(interpolate_frames(frames, 2, "rife", rife_weights=weights))
    assert not np.array_equal(own[1], given[1])
    assert np.array_equal(own[::2], given[::2])


def test_weights_of_something_else_are_refused(
    waves: Callable[..., Frames], tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    torch.save({"unet.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="holds no IFNet"):
        list(interpolate_frames(waves(2), 2, "rife", rife_weights=path))


def test_torch_is_imported_for_rife_alone() -> None:
    code = (
        "import sys, numpy as np; from framepack.media.interpolate import interpolate_frames as i; "
        "f = [np.full((64, 64, 3), v, np.uint8) for v in (1, 9)]; "
        "list(i(f, 2, 'blend')); list(i(f, 2, 'minterpolate')); assert 'torch' not in sys.modules; "
        "list(i(f, 2, 'rife')); assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
