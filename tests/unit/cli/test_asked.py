"""What a command line asks for beside the request of a video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepack.cli.asked import asked_request
from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.media.encode import write_video
from framepack.media.outputs import format_of

ENCODED = {"codec": "libx264", "codec_options": "tune:film", "pixel_format": "yuv444p"}
NONE = (None, "", None)


def _made_of(path: Path, asked: dict[str, Any]) -> Path:
    """A short video that says what was asked for."""
    write_video(
        [np.zeros((32, 32, 3), np.uint8)] * 2,
        path,
        width=32,
        height=32,
        fps=30,
        video_format=format_of(GenerationRequest.parse(prompt="x")),
        document={"program": "framepack", "request": asked},
    )
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video that carries a request."""
    return _made_of(tmp_path / "made.mp4", {"prompt": "a dog", "crf": 30, **ENCODED})


def _encoding(video: Path, output: str | None, **fields: Any) -> tuple[str | None, ...]:
    with asked_request(fields, str(video), output) as request:
        assert (request.prompt, request.crf) == ("a dog", 30)
        return request.codec, request.codec_options, request.pixel_format


@pytest.mark.parametrize("output", [None, "again.mp4", "again.MKV", "folder/again.mov"])
def test_a_video_made_again_is_encoded_alike(video: Path, output: str | None) -> None:
    assert _encoding(video, output) == tuple(ENCODED.values())


@pytest.mark.parametrize("output", ["again.webm", "again.gif", "again.webp"])
def test_a_kind_of_file_that_takes_no_such_codec_has_its_own(video: Path, output: str) -> None:
    assert _encoding(video, output) == NONE


def test_another_codec_has_no_use_for_the_options_of_the_old_one(video: Path) -> None:
    assert _encoding(video, "again.mp4", codec="libx265") == ("libx265", "", None)
    own = {"codec": "libx265", "codec_options": "crf:20", "pixel_format": "yuv420p"}
    assert _encoding(video, "again.mp4", **own) == tuple(own.values())


def _idle(tmp_path: Path) -> Path:
    """A video of a request with values that do nothing beside the others."""
    asked = {
        "prompt": "a dog",
        "video_strength": 0.3,
        "end_strength": 0.4,
        "step_cache_threshold": 0.3,
        "rife_weights": "a.pth",
    }
    return _made_of(tmp_path / "idle.mp4", asked)


IDLE = {
    "video_strength": "0.2",
    "end_strength": "0.2",
    "step_cache_threshold": "0.2",
    "rife_weights": "b.pth",
}


@pytest.mark.parametrize("name", IDLE)
def test_an_option_that_would_do_nothing_is_refused(name: str, tmp_path: Path) -> None:
    for source in (None, str(_idle(tmp_path))):
        typed = {"prompt": "a cat", name: IDLE[name]}
        with (
            pytest.raises(InvalidRequest, match=f"^{name} .* or leave --{name.replace('_', '-')}"),
            asked_request(typed, source),
        ):
            pass


def test_a_value_that_does_nothing_in_a_video_is_let_be(tmp_path: Path) -> None:
    with asked_request({"seed": "7"}, str(_idle(tmp_path))) as request:
        assert (request.seed, request.video_strength) == (7, 0.3)


def test_another_step_cache_has_its_own_threshold(tmp_path: Path) -> None:
    with asked_request({"step_cache": "first_block"}, str(_idle(tmp_path))) as request:
        assert (request.step_cache, request.step_cache_threshold) == ("first_block", None)


def _draft(tmp_path: Path, **asked: Any) -> str:
    return str(_made_of(tmp_path / "draft.mp4", {"prompt": "a dog", **asked}))


@pytest.mark.parametrize(
    "draft",
    [
        {"speed": "fast", "step_cache": "teacache", "step_cache_threshold": 0.5},
        {"speed": "exact", "step_cache": "teacache", "step_cache_threshold": 0.5},
    ],
)
@pytest.mark.parametrize("speed", ["exact", "balanced"])
def test_another_speed_takes_back_what_the_old_one_came_to(
    draft: dict[str, Any], speed: str, tmp_path: Path
) -> None:
    with asked_request({"speed": speed}, _draft(tmp_path, **draft)) as request:
        assert request.speed == speed
        assert (request.step_cache, request.step_cache_threshold) == (None, None)
    with asked_request({}, _draft(tmp_path, **draft)) as request:
        assert request.step_cache == "teacache"


@pytest.mark.parametrize(
    "typed",
    [
        {"prompt": "a cat", "video_strength": "0.5", "end_strength": "1"},
        {"video": "a.mp4", "video_strength": "0.2"},
        {"image": "a.png", "end_image": "b.png", "end_strength": "0.2"},
        {"image": "a.png", "loop": True, "end_strength": "0.2"},
        {"prompt": "a cat", "step_cache": "teacache", "step_cache_threshold": "0.2"},
        {"prompt": "a cat", "speed": "fast", "step_cache_threshold": "0.2"},
        {"prompt": "a cat", "interpolate": "2", "rife_weights": "b.pth"},
    ],
)
def test_options_that_do_something_and_defaults_pass(typed: dict[str, Any]) -> None:
    with asked_request(typed, None) as request:
        assert request.has_subject
