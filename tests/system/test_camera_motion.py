"""A swaying camera, measured: how far the content of each frame stands from the first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.io import imsave
from skimage.registration import phase_cross_correlation
from tests.helpers.runs import frames_of, make_video

from framepack.domain.request import SOLVERS, VARIANTS
from framepack.pipeline.components import Components

SIZE, PLACE, WINDOW = 64, 8, 9
ASKED: dict[str, Any] = {
    "prompt": "a static shot",
    "width": SIZE,
    "height": SIZE,
    "latent_window_size": WINDOW,
    "num_inference_steps": 10,
    "fps": 30,
    "duration_s": 37 / 30,
}


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    imsave(path, data.astronaut(), check_contrast=False)
    return path


def to_the_right(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """How far the content moved, px."""
    grey = [frame.astype(float).mean(axis=2) for frame in (first, second)]
    return -float(phase_cross_correlation(*grey, upsample_factor=10)[0][1])


def positions(folder: Path, components: Components, **fields: Any) -> NDArray[np.float64]:
    """Where the content stands in the last frame of each latent frame of the section, px."""
    frames = frames_of(make_video(folder, components, **{**ASKED, **fields}).path)
    return np.array([to_the_right(frames[0], frame) for frame in frames[4::4]])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_content_sways_along_a_sine_and_farther_with_more(
    tmp_path: Path, components: Components, photograph: Path, variant: str, solver: str
) -> None:
    asked = {"image": photograph, "variant": variant, "solver": solver}
    sine = np.sin(2 * np.pi * np.arange(WINDOW) / WINDOW)
    reached = []
    for scale in (0, 0.5, 1):
        found = positions(tmp_path / str(scale), components, **asked, camera_motion=scale)
        reached.append(float(np.abs(found).max()))
        # Within half a latent place, by which shifts are rounded, and two px of the measure.
        wanted = sine * scale * SIZE / 4
        assert np.abs(found - wanted).max() < PLACE / 2 + 2, (scale, found, wanted)
    assert reached[0] < 1 < PLACE - 2 < reached[1] < reached[2] - PLACE / 2, reached


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_scale_0_is_none_at_any_number_of_steps(
    tmp_path: Path, components: Components, photograph: Path, steps: int
) -> None:
    asked = {**ASKED, "image": photograph, "num_inference_steps": steps, "latent_window_size": 2}
    plain = make_video(tmp_path / "plain", components, **asked)
    still = make_video(tmp_path / "still", components, **asked, camera_motion=0)
    assert np.array_equal(frames_of(plain.path), frames_of(still.path))
