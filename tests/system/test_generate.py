"""Whole videos through the Python face, on the embedded model."""

import io
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.runs import SMALL, frames_of, make_video, seconds, write_picture

import framepack
from framepack.domain.events import Event, Finished, SectionDone, StageStarted, StepDone
from framepack.domain.plan import Plan
from framepack.media.images import fit_image, load_image
from framepack.pipeline.components import Components

VARIANTS = ("bi-directional", "forward-only")


# --- what is written ---


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_frames", [1, 12, 13, 14, 30])
def test_the_file_has_exactly_the_planned_frames(
    tmp_path: Path, components: Components, picture: Path, variant: str, num_frames: int
) -> None:
    result = make_video(
        tmp_path, components, variant=variant, image=picture, duration_s=seconds(num_frames)
    )
    info = framepack.inspect(result.path).info
    assert info.num_frames == result.plan.num_frames == num_frames
    assert len(frames_of(result.path)) == num_frames
    assert (info.width, info.height, info.fps, info.codec) == (64, 64, 24, "h264")
    assert info.duration_s == pytest.approx(num_frames / 24)


def test_same_request_same_frames_other_seed_other_frames(
    tmp_path: Path, components: Components
) -> None:
    videos = []
    for number, seed in enumerate((7, 7, 8)):
        folder = tmp_path / str(number)
        folder.mkdir()
        videos.append(make_video(folder, components, seed=seed, duration_s=seconds(9)).path)
    first, again, other = (frames_of(video) for video in videos)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_strengths_and_guidance_change_the_video(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    variations: list[dict[str, Any]] = [
        {},
        {"start_strength": 0.0},
        {"vision_strength": 2.0},
        {"true_cfg_scale": 4.0},
        {"true_cfg_scale": 4.0, "negative_prompt": "rotates"},
        {"solver": "euler"},
        {"shift": 1.0},
    ]
    seen = []
    for number, fields in enumerate(variations):
        folder = tmp_path / str(number)
        folder.mkdir()
        # Three steps: with two, both solvers are the same.
        fields = {"num_inference_steps": 3, **fields}
        result = make_video(folder, components, image=picture, duration_s=seconds(13), **fields)
        seen.append(frames_of(result.path).tobytes())
    assert len(set(seen)) == len(variations)


def test_the_first_frame_stays_the_picture_whatever_the_strength(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    def first_frame(strength: float) -> NDArray[np.float64]:
        folder = tmp_path / f"{strength}"
        folder.mkdir()
        result = make_video(
            folder, components, image=picture, duration_s=seconds(13), start_strength=strength
        )
        return frames_of(result.path)[0].astype(float)

    fitted = np.asarray(fit_image(load_image(picture), 64, 64), dtype=float)
    firm, loose = (np.sqrt(((first_frame(s) - fitted) ** 2).mean()) for s in (1.0, 0.0))
    assert loose < 1.5 * firm + 5


# --- what is told ---


def _told(
    folder: Path, components: Components, picture: Path, *, keep_run: bool = False
) -> list[Event]:
    """Everything that a run of two sections says."""
    events = framepack.stream(
        **SMALL,
        image=picture,
        duration_s=seconds(25),
        output=folder / "out.mp4",
        components=components,
        keep_run=keep_run,
    )
    return list(events)


def test_events_tell_the_run_in_order(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    events = _told(tmp_path, components, picture, keep_run=True)

    def told(event: Event) -> str:
        if isinstance(event, StageStarted):
            return event.stage if event.section is None else f"{event.stage} {event.section}"
        return type(event).__name__

    section = ["denoise {}", "StepDone", "StepDone", "decode {}", "write {}", "SectionDone"]
    assert [told(event) for event in events] == [
        "Planned",
        "load",
        "encode",
        *(line.format(1) for line in section),
        *(line.format(0) for line in section),
        "write",
        "Finished",
    ]
    assert all(before.elapsed_s <= after.elapsed_s for before, after in pairwise(events))
    for event in events:
        text = json.dumps(event.to_dict(), allow_nan=False)
        assert Event.from_dict(json.loads(text)) == event
    segments = [event.segment for event in events if isinstance(event, SectionDone)]
    assert segments[0] is None, "the frames of the end are not final before the next section"
    assert segments[1] is not None
    assert len(frames_of(segments[1])) == 25


def test_steps_carry_a_small_picture(tmp_path: Path, components: Components) -> None:
    previews = []
    for event in framepack.stream(
        **SMALL, duration_s=seconds(9), output=tmp_path / "out.mp4", components=components
    ):
        if isinstance(event, StepDone) and event.preview:
            previews.append(Image.open(io.BytesIO(Path(event.preview).read_bytes())).size)
    assert previews[0] == (3 * 8, 8)


def test_statistics_add_up(tmp_path: Path, components: Components, picture: Path) -> None:
    events = _told(tmp_path, components, picture)
    finished = events[-1]
    assert isinstance(finished, Finished)
    stats = finished.stats
    assert sum(stats["stage_s"].values()) == pytest.approx(stats["total_s"], abs=0.01)
    assert finished.elapsed_s == pytest.approx(stats["total_s"], abs=0.01)
    steps = [event.seconds for event in events if isinstance(event, StepDone)]
    assert 0 < sum(steps) <= stats["stage_s"]["denoise"]
    assert (stats["num_steps"], stats["num_sections"], stats["num_frames"]) == (4, 2, 25)
    assert stats["peak_host_gb"] > 0.1
    assert stats["peak_device_gb"] is None
    stored = framepack.inspect(finished.path).document["statistics"]
    assert stored["num_frames"] == 25
    assert stored["stage_s"]["denoise"] == stats["stage_s"]["denoise"]


def test_the_file_says_how_it_was_made(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    result = make_video(tmp_path, components, image=picture, duration_s=seconds(13))
    inspection = framepack.inspect(result.path)
    document = inspection.document
    assert document["version"] == framepack.__version__
    assert document["components"] == dict(components.hashes)
    assert Plan.model_validate(document["plan"]).sections == result.plan.sections
    request = inspection.request
    assert request is not None
    expected = {**dict(result.plan.request), "image": Path("start.png")}
    assert dict(request) == expected
    assert str(tmp_path) not in json.dumps(document), "where people keep files is their business"


def test_a_video_can_be_repeated_from_its_file(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    first = make_video(tmp_path, components, image=picture, duration_s=seconds(13))
    picture.unlink()
    request = framepack.inspect(first.path).restore(tmp_path / "pictures")
    again = framepack.generate(request, output=tmp_path / "again.mp4", components=components)
    np.testing.assert_array_equal(frames_of(again.path), frames_of(first.path))


def test_nothing_is_embedded_when_asked_not_to(tmp_path: Path, components: Components) -> None:
    result = framepack.generate(
        **SMALL,
        duration_s=seconds(9),
        output=tmp_path / "out.mp4",
        components=components,
        embed=False,
        thumbnail=False,
    )
    assert framepack.inspect(result.path).document == {}
    assert framepack.inspect(result.path).request is None
    with pytest.raises(framepack.InvalidRequest, match="carries no request"):
        framepack.inspect(result.path).restore(tmp_path)
    assert result.thumbnail is None
    assert not list(tmp_path.glob("*.jpg"))


def test_without_metadata_the_same_request_gives_the_same_bytes(
    tmp_path: Path, components: Components
) -> None:
    files = []
    for name in ("a.mp4", "b.mp4"):
        framepack.generate(
            **SMALL,
            duration_s=seconds(13),
            output=tmp_path / name,
            components=components,
            embed=False,
        )
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_a_thumbnail_stands_beside_the_video(tmp_path: Path, components: Components) -> None:
    result = make_video(tmp_path, components, duration_s=seconds(9))
    assert result.thumbnail == tmp_path / "out.thumb.jpg"
    with Image.open(result.thumbnail) as thumbnail:
        assert thumbnail.size == (64, 64)


def test_nothing_else_is_left(tmp_path: Path, components: Components) -> None:
    settings = framepack.Settings(outputs_dir=tmp_path / "outputs")
    make_video(tmp_path / "videos", components, duration_s=seconds(9), settings=settings)
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == [
        "out.mp4",
        "out.thumb.jpg",
    ]
    assert not list((tmp_path / "outputs" / "runs").iterdir())


def test_a_run_is_kept_when_asked(tmp_path: Path, components: Components) -> None:
    run = tmp_path / "run"
    result = make_video(tmp_path, components, duration_s=seconds(9), run_dir=run, keep_run=True)
    first = frames_of(result.path)
    result.path.unlink()
    again = framepack.resume(run, components=components)
    np.testing.assert_array_equal(frames_of(again.path), first)


# --- bad input: one clear line, nothing written, nothing loaded ---


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ""}, "prompt is empty and there is no picture"),
        ({"image": "missing.png"}, "missing.png does not exist"),
        ({"image": "damaged.png"}, "damaged"),
        ({"end_image": "good.png", "variant": "forward-only"}, "end picture"),
        ({"model": "huge"}, "unknown model 'huge'"),
        ({"model": "i2v", "variant": "forward-only"}, "forward-only"),
        ({"variant": "sideways"}, "--variant"),
        ({"duration_s": -1}, "--duration"),
        ({"width": 4096, "height": 64}, "4096x64"),
        ({"durations": 3}, "unknown field 'durations'; did you mean"),
        ({"output": "out.avi"}, r"out\.avi"),
        ({"output": "file/out.mp4"}, "cannot be written"),
        ({"run_dir": "."}, "holds other files"),
    ],
)
def test_bad_input_is_refused_before_anything_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], message: str
) -> None:
    write_picture(tmp_path / "good.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "good.png").read_bytes()[:500])
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("framepack.pipeline.components.load_components", refuse)
    values = {**SMALL, "duration_s": 1, "output": "out.mp4", **fields}
    with pytest.raises(framepack.InvalidRequest, match=message) as caught:
        framepack.stream(**values)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_weights_are_one_clear_line_and_leave_nothing(tmp_path: Path) -> None:
    settings = framepack.Settings(outputs_dir=tmp_path / "outputs")
    with pytest.raises(framepack.MissingWeights, match="framepack models download i2v"):
        framepack.stream(prompt="x", model="i2v", output=tmp_path / "out.mp4", settings=settings)
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "out.mp4").exists()


def test_a_full_disk_is_found_before_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(framepack.WorkspaceError, match="1 MB free"):
        framepack.stream(**SMALL, duration_s=1, output=tmp_path / "out.mp4")


def test_a_failure_before_any_work_leaves_no_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("framepack.pipeline.components.load_components", fail)
    events = framepack.stream(
        **SMALL, duration_s=1, output=tmp_path / "out.mp4", run_dir=tmp_path / "run"
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        list(events)
    assert not (tmp_path / "run").exists()
