"""Videos made from videos: one goes on, one is drawn anew."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.runs import (
    SEAM_FRAMES,
    SECTION_FRAMES,
    SMALL,
    frames_of,
    seconds,
    stop_after_section,
    write_picture,
)

import framepack
from framepack.media.encode import write_video
from framepack.media.inspection import inspect
from framepack.media.outputs import format_of
from framepack.pipeline.components import Components

SIDE = 64


def _moving(folder: Path, num_frames: int, *, size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """A video whose picture slides to the left by a pixel a frame, as the camera pans right."""
    width, height = size
    picture = np.asarray(Image.open(write_picture(folder / "wide.png", size=(width * 3, height))))
    frames = [picture[:, index : index + width] for index in range(num_frames)]
    request = framepack.plan(**{**SMALL, "prompt": "x"}).request
    path = folder / "source.mp4"
    write_video(
        iter(frames),
        path,
        width=width,
        height=height,
        fps=24,
        video_format=format_of(request),
    )
    return path


def _made(folder: Path, components: Components, **fields: Any) -> framepack.Result:
    values = {**SMALL, "prompt": "the camera pans right", **fields}
    if "extend" in fields:
        values["variant"] = "forward-only"
    return framepack.generate(output=folder / "out.mp4", components=components, **values)


def _error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_a_video_goes_on_where_it_ended(tmp_path: Path, components: Components) -> None:
    source = _moving(tmp_path, 100)
    result = _made(tmp_path, components, extend=source, duration_s=seconds(20))
    there, made = frames_of(source), frames_of(result.path)
    assert len(made) == 120 == result.plan.num_frames
    # What is not blended is the video itself, encoded once more.
    assert _error(made[: 100 - SEAM_FRAMES], there[: 100 - SEAM_FRAMES]) < 2
    steps = [_error(one, other) for one, other in pairwise(made)]
    assert steps[99] < 3 * np.median(steps[60:90])


@pytest.mark.parametrize("field", ["extend", "video"])
def test_a_video_made_from_a_video_can_be_made_again(
    tmp_path: Path,
    components: Components,
    field: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = _moving(tmp_path, 40)
    made = _made(tmp_path, components, **{field: source}, duration_s=seconds(20))
    monkeypatch.chdir(tmp_path)  # videos are named, not carried
    restored = inspect(made.path).restore(tmp_path / "restored")
    again = framepack.generate(restored, output=tmp_path / "again.mp4", components=components)
    assert restored.image is None
    np.testing.assert_array_equal(frames_of(made.path), frames_of(again.path))


def test_what_it_showed_steers_what_follows(tmp_path: Path, components: Components) -> None:
    """The same last frame after another past gives another video."""
    source = _moving(tmp_path, 100)
    still = tmp_path / "still"
    still.mkdir()
    frames = [frames_of(source)[-1]] * 100
    request = framepack.plan(**{**SMALL, "prompt": "x"}).request
    write_video(
        iter(frames),
        still / "source.mp4",
        width=SIDE,
        height=SIDE,
        fps=24,
        video_format=format_of(request),
    )
    moving = _made(tmp_path, components, extend=source, duration_s=seconds(20))
    standing = _made(still, components, extend=still / "source.mp4", duration_s=seconds(20))
    assert _error(frames_of(moving.path)[105:], frames_of(standing.path)[105:]) > 3


def test_a_long_and_wide_video_at_another_rate_is_fitted(
    tmp_path: Path, components: Components
) -> None:
    source = _moving(tmp_path, 90, size=(128, 96))
    result = _made(tmp_path, components, extend=source, fps=12, duration_s=1, latent_window_size=2)
    assert result.plan.num_frames == 45 + 12
    assert frames_of(result.path).shape == (57, SIDE, SIDE, 3)


def test_a_video_of_a_few_frames_goes_on_from_its_last(
    tmp_path: Path, components: Components
) -> None:
    source = _moving(tmp_path, 5)
    result = _made(tmp_path, components, extend=source, duration_s=seconds(8))
    made = frames_of(result.path)
    assert len(made) == 13
    assert result.plan.num_given_sections == 0
    assert _error(made[:5], frames_of(source)) < 12
    assert any("too short" in note for note in result.plan.notes)


def test_an_extended_run_resumes_and_is_redone(tmp_path: Path, components: Components) -> None:
    source = _moving(tmp_path, 100)
    fields: dict[str, Any] = {
        **SMALL,
        "variant": "forward-only",
        "extend": source,
        "duration_s": seconds(3 * SECTION_FRAMES),
        "keep_run": True,
    }
    whole = framepack.generate(output=tmp_path / "whole.mp4", components=components, **fields)
    events = framepack.stream(
        output=tmp_path / "cut.mp4", run_dir=tmp_path / "run", components=components, **fields
    )
    stop_after_section(events)
    resumed = framepack.resume(tmp_path / "run", components=components)
    np.testing.assert_array_equal(frames_of(whole.path), frames_of(resumed.path))
    take = framepack.redo(
        tmp_path / "run", section=2, seed=8, output=tmp_path / "take.mp4", components=components
    )
    old, new = frames_of(whole.path), frames_of(take.path)
    last = len(old) - SECTION_FRAMES
    np.testing.assert_array_equal(old[: last - 24], new[: last - 24])
    assert _error(old[last + 4 :], new[last + 4 :]) > 1


def test_section_prompts_count_from_what_is_made(tmp_path: Path) -> None:
    source = _moving(tmp_path, 100)
    plan = framepack.plan(
        **{**SMALL, "variant": None},
        extend=source,
        duration_s=seconds(2 * SECTION_FRAMES),
        section_prompts="and left\nand right",
    )
    assert plan.variant == "forward-only"
    new = plan.sections[plan.num_given_sections :]
    assert [section.prompt.split()[-1] for section in new] == ["left", "right"]
    assert plan.num_frames == 100 + 2 * SECTION_FRAMES


def test_a_video_drawn_anew_stays_nearer_the_stronger_it_holds(
    tmp_path: Path, components: Components
) -> None:
    source = _moving(tmp_path, 37)
    errors = []
    for strength in (0.0, 0.5, 0.9):
        result = _made(
            tmp_path,
            components,
            prompt="the camera pans left",
            video=source,
            video_strength=strength,
            num_inference_steps=10,
        )
        assert result.plan.num_frames == 37
        errors.append(_error(frames_of(result.path), frames_of(source)))
    assert errors[0] > 1.3 * errors[1] > 1.3 * 1.3 * errors[2]


@pytest.mark.parametrize(
    "variant", [pytest.param("bi-directional", marks=pytest.mark.full), "forward-only"]
)
def test_a_redrawn_video_resumes(tmp_path: Path, components: Components, variant: str) -> None:
    fields: dict[str, Any] = {**SMALL, "variant": variant, "video": _moving(tmp_path, 37)}
    whole = framepack.generate(output=tmp_path / "whole.mp4", components=components, **fields)
    events = framepack.stream(
        output=tmp_path / "cut.mp4", run_dir=tmp_path / "run", components=components, **fields
    )
    stop_after_section(events)
    fields["video"].unlink()  # it is in the run directory by now
    resumed = framepack.resume(tmp_path / "run", components=components)
    np.testing.assert_array_equal(frames_of(whole.path), frames_of(resumed.path))
    assert inspect(resumed.path).document["request"]["video"] == "source.mp4"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "a.png"}, "leave image"),
        ({"end_image": "a.png"}, "leave end_image"),
        ({"video": "a.mp4"}, "leave video"),
        ({"variant": "bi-directional"}, "forward-only"),
        ({"official_length": True}, "official-length"),
    ],
)
def test_contradictions_of_an_extension_are_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    values = {**SMALL, "variant": None, "extend": tmp_path / "source.mp4", **fields}
    with pytest.raises(framepack.InvalidRequest, match=message):
        framepack.plan(**values)


def test_a_video_that_is_missing_or_too_short_to_redraw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(framepack.InvalidRequest, match=r"nothing\.mp4"):
        framepack.plan(**SMALL, video=tmp_path / "nothing.mp4")
    with pytest.raises(framepack.InvalidRequest, match="--extend"):
        framepack.plan(**SMALL, video=_moving(tmp_path, 10), duration_s=3)
