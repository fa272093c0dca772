"""Previews: small, whatever they show."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import WorkspaceError
from framepack.media.previews import MAX_BYTES, moving_preview


def strip(folder: Path, colours: list[tuple[int, int, int]], side: int = 8) -> Path:
    path = folder / "preview.webp"
    frames = [np.full((side, side, 3), colour, np.uint8) for colour in colours]
    Image.fromarray(np.concatenate(frames, axis=1)).save(path, "WEBP", lossless=True)
    return path


def test_frames_follow_each_other(folder: Path) -> None:
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    data = moving_preview(strip(folder, colours), 3)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.n_frames, picture.size) == ("WEBP", 3, (96, 96))
        for index, colour in enumerate(colours):
            picture.seek(index)
            shown = np.asarray(picture.convert("RGB"), dtype=int)[48, 48]
            assert np.abs(shown - colour).max() < 12


@pytest.mark.parametrize("num_frames", [1, 9, 40, 200])
def test_a_preview_is_small_even_of_noise(folder: Path, num_frames: int) -> None:
    path = folder / "preview.webp"
    noise = np.random.default_rng(0).integers(0, 256, (60, 80 * num_frames, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "WEBP", lossless=True)
    data = moving_preview(path, num_frames)
    assert 0 < len(data) <= MAX_BYTES
    Image.open(io.BytesIO(data)).load()


def test_another_number_of_frames_is_refused(folder: Path) -> None:
    with pytest.raises(WorkspaceError, match="no multiple of 5"):
        moving_preview(strip(folder, [(0, 0, 0)] * 3), 5)


def test_a_picture_that_is_gone_is_refused(folder: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read"):
        moving_preview(folder / "preview.webp", 3)
