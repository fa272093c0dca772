"""Small moving pictures that every file of this folder uses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from framepack.media.segments import SegmentWriter

Frames = npt.NDArray[np.uint8]


def waves(num_frames: int, height: int = 48, width: int = 64, seed: int = 0) -> Frames:
    """[T, H, W, 3]: three colour waves that move each at its own speed."""
    y, x = np.mgrid[0:height, 0:width]
    frames = [
        np.stack(
            [
                127 + 100 * np.sin(x / 9 + t / 2 + seed),
                127 + 100 * np.cos(y / 7 - t / 3),
                127 + 100 * np.sin((x + y) / 11 + t),
            ],
            axis=-1,
        )
        for t in range(num_frames)
    ]
    return np.stack(frames).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds nothing, not even what other fixtures put into ``tmp_path``."""
    path = tmp_path / "media"
    path.mkdir()
    return path


@pytest.fixture(name="waves")
def waves_fixture() -> Callable[..., Frames]:
    return waves


@pytest.fixture
def write_video(folder: Path) -> Callable[..., Path]:
    """Write one segment of waves and return its path."""

    def write(name: str = "video.mp4", num_frames: int = 5, **options: object) -> Path:
        size = {"height": options.pop("height", 48), "width": options.pop("width", 64)}
        settings = {"fps": 30, **size, **options}
        with SegmentWriter(folder / name, **settings) as writer:
            writer.write(waves(num_frames, **size))
        return folder / name

    return write
