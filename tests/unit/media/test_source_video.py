"""Frames of a video at another rate and size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.codecs import LOSSLESS
from framepack.media.encode import write_video
from framepack.media.source_video import source_facts, source_frame, source_frames

WIDTH, HEIGHT = 32, 24


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two seconds at 10 frames/s; frame n is grey of the level 10 n."""
    frames = [np.full((HEIGHT, WIDTH, 3), 10 * number, dtype=np.uint8) for number in range(20)]
    path = tmp_path / "video.mkv"
    write_video(frames, path, width=WIDTH, height=HEIGHT, fps=10, video_format=LOSSLESS)
    return path


def _levels(video: Path, fps: float) -> list[int]:
    frames = source_frames(video, fps=fps, width=WIDTH, height=HEIGHT)
    return [round(float(frame.mean()) / 10) for frame in frames]


def test_facts_are_those_of_the_file(video: Path) -> None:
    facts = source_facts(video)
    assert facts.size == (WIDTH, HEIGHT)
    assert facts.duration_s == pytest.approx(2, abs=0.01)
    assert [facts.num_frames(fps) for fps in (10, 30, 5, 0.1)] == [20, 60, 10, 1]


def test_at_its_own_rate_every_frame_comes_once(video: Path) -> None:
    assert _levels(video, 10) == list(range(20))


def test_at_a_higher_rate_frames_are_held(video: Path) -> None:
    assert _levels(video, 30) == [number for number in range(20) for _ in range(3)]


def test_at_a_lower_rate_frames_are_left_out(video: Path) -> None:
    assert _levels(video, 5) == list(range(0, 20, 2))


def test_at_an_odd_rate_the_frame_of_the_moment_is_taken(video: Path) -> None:
    assert _levels(video, 7.5) == [int(number / 7.5 * 10 + 1e-6) for number in range(15)]


def test_frames_cover_another_shape(video: Path) -> None:
    frame = next(source_frames(video, fps=10, width=16, height=32))
    assert frame.shape == (32, 16, 3)


def test_one_frame_by_its_number(video: Path) -> None:
    picture = source_frame(video, 7, fps=10, width=WIDTH, height=HEIGHT)
    assert abs(float(np.asarray(picture).mean()) - 70) < 1.5


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("nothing")
    with pytest.raises(InvalidRequest, match=r"a\.mp4"):
        source_facts(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.mp4"])
def test_a_single_picture_is_no_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.new("RGB", (32, 32), "teal").save(path, "GIF" if name == "a.gif" else "PNG")
    with pytest.raises(InvalidRequest, match=f"{name} is one picture, not a video; give it with"):
        source_facts(path)


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=500)
    assert source_facts(tmp_path / "a.gif").duration_s == pytest.approx(1)
