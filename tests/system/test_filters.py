"""Filters on generated videos: in every form of the frames, remembered, and refused in time."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.helpers.runs import SMALL, frames_of, make_video, seconds

import framepack
from framepack.domain.events import SectionDone
from framepack.media.exports import open_raw_frames
from framepack.pipeline.components import Components

EXACT: dict[str, Any] = {"duration_s": seconds(14), "codec": "ffv1", "pixel_format": "bgr0"}


def _make(folder: Path, components: Components, **fields: Any) -> framepack.Result:
    asked = {**SMALL, **EXACT, **fields}
    return framepack.generate(output=folder / "out.mkv", components=components, **asked)


def test_filters_act_on_the_finished_frames_and_nothing_else(
    tmp_path: Path, components: Components
) -> None:
    plain = frames_of(_make(tmp_path / "a", components).path)
    mirrored = frames_of(_make(tmp_path / "b", components, filters=["hflip"]).path)
    assert np.array_equal(mirrored, plain[:, :, ::-1])


def test_every_form_of_the_frames_is_filtered_and_of_the_new_size(
    tmp_path: Path, components: Components
) -> None:
    raw, pictures = tmp_path / "raw.safetensors", tmp_path / "frames"
    made = _make(
        tmp_path,
        components,
        filters=["crop=48:32:0:0", "negate"],
        interpolate=2,
        interpolation="blend",
        raw=raw,
        frames_dir=pictures,
    )
    frames = frames_of(made.path)
    assert frames.shape == (14, 32, 48, 3)
    assert "Filters make 48x32 px of 64x64." in made.plan.notes
    assert np.array_equal(list(open_raw_frames(raw).frames()), frames)
    first = sorted(pictures.iterdir())[0]
    with Image.open(first) as picture:
        assert np.array_equal(np.asarray(picture), frames[0])
    assert made.thumbnail is not None
    with Image.open(made.thumbnail) as thumbnail:
        assert thumbnail.size == (48, 32)
        found = np.asarray(thumbnail.convert("RGB")).astype(int)
    assert np.abs(found - frames[0]).mean() < 12  # JPEG
    plain = frames_of(
        _make(tmp_path / "plain", components, interpolate=2, interpolation="blend").path
    )
    assert np.array_equal(frames, 255 - plain[:, :32, :48])


def test_a_plain_h264_video_is_filtered_too(tmp_path: Path, components: Components) -> None:
    made = make_video(tmp_path, components, duration_s=seconds(14), filters="eq=brightness=-1")
    assert frames_of(made.path).shape == (14, 64, 64, 3)
    assert frames_of(made.path).max() < 20


def test_the_file_names_its_filters_and_is_made_again_with_them(
    tmp_path: Path, components: Components
) -> None:
    made = _make(tmp_path, components, filters=["hflip", "negate"])
    request = framepack.inspect(made.path).request
    assert request is not None
    assert request.filters == ("hflip", "negate")
    again = framepack.generate(request, output=tmp_path / "again.mkv", components=components)
    assert np.array_equal(frames_of(again.path), frames_of(made.path))


@pytest.mark.parametrize("filters", [["hflip"], ["tmix=frames=3"]])
def test_a_resumed_run_keeps_its_filters(
    tmp_path: Path, components: Components, filters: list[str]
) -> None:
    asked = {**SMALL, **EXACT, "duration_s": seconds(24), "filters": filters}
    whole = _make(tmp_path / "whole", components, duration_s=seconds(24), filters=filters)
    events = framepack.stream(
        output=tmp_path / "out.mkv", run_dir=tmp_path / "run", components=components, **asked
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    resumed = framepack.resume(tmp_path / "run", components=components)
    assert np.array_equal(frames_of(resumed.path), frames_of(whole.path))


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["nosuch"], "no video filter 'nosuch'"),
        (["hue=nope=1"], "No such option: nope"),
        (["fps=60"], "makes .* frames of 12"),
        (["scale=33:33"], "makes 33x33 px, and videos need even numbers"),
        (["[a]hflip"], "is a graph"),
    ],
)
def test_filters_that_cannot_be_are_refused_before_a_run_is_there(
    tmp_path: Path, filters: list[str], message: str
) -> None:
    asked = {**SMALL, "filters": filters}
    with pytest.raises(framepack.InvalidRequest, match=message):
        framepack.stream(output=tmp_path / "out.mp4", run_dir=tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "out.mp4").exists()
