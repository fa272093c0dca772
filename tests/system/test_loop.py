"""A loop: the step from its last frame to its first is one like those inside the video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.runs import frames_of, make_video, write_picture

import framepack
from framepack.pipeline.components import Components

PICTURES = 3
SECTION = 36
ASKED: dict[str, Any] = {
    "prompt": "",
    "width": 64,
    "height": 64,
    "latent_window_size": 9,
    "num_inference_steps": 8,
    "fps": 30,
    "duration_s": SECTION / 30,
}


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_the_step_back_to_the_start_is_like_those_inside(
    tmp_path: Path, components: Components
) -> None:
    closing, inside, open_end = [], [], []
    for number in range(PICTURES):
        picture = write_picture(tmp_path / f"{number}.png", seed=number, size=(64, 64))
        asked = {**ASKED, "image": picture, "seed": number, "variant": "bi-directional"}
        loop = frames_of(make_video(tmp_path / "loop", components, **asked, loop=True).path)
        plain = frames_of(make_video(tmp_path / "plain", components, **asked).path)
        assert len(loop) == len(plain) == SECTION
        closing.append(apart(loop[-1], loop[0]))
        open_end.append(apart(plain[-1], plain[0]))
        # The first frame is the picture itself, the others are the model's, a little softer.
        inside.append(max(apart(loop[i + 4], loop[i]) for i in range(SECTION - 4)))
        assert closing[-1] > 0, "the start picture is shown twice"
    assert max(np.divide(closing, inside)) < 1.6, (closing, inside)
    assert max(np.divide(closing, open_end)) < 0.25, (closing, open_end)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_repeat_without_end(
    tmp_path: Path, components: Components, picture: Path, suffix: str
) -> None:
    asked = {**ASKED, "image": picture, "fps": 24, "latent_window_size": 2, "duration_s": 8 / 24}
    made = framepack.generate(
        output=tmp_path / f"out{suffix}", components=components, model="tiny", loop=True, **asked
    )
    with Image.open(made.path) as animation:
        assert animation.info["loop"] == 0
        assert animation.n_frames > 1  # type: ignore[attr-defined]


def test_a_loop_is_repeated_from_its_file(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    asked = {**ASKED, "image": picture, "latent_window_size": 2, "model": "tiny", "loop": True}
    made = make_video(tmp_path, components, **asked, end_strength=0.5)
    again = framepack.inspect(made.path).restore(tmp_path / "pictures")
    assert again.loop
    assert again.end_image is None
    repeated = framepack.generate(again, output=tmp_path / "again.mp4", components=components)
    assert np.array_equal(frames_of(made.path), frames_of(repeated.path))
