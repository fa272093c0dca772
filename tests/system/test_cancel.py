"""Stopping a run on purpose: at once, cleanly, and without losing finished sections."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers.runs import SEAM_FRAMES, SECTION_FRAMES, SMALL, frames_of, seconds, write_picture

import framepack
from framepack.domain.events import Event, SectionDone, StepDone
from framepack.pipeline.components import Components

VARIANTS = ("bi-directional", "forward-only")
SECTIONS = 3
NUM_FRAMES = SECTIONS * SECTION_FRAMES + 1


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_picture(tmp_path_factory.mktemp("input") / "start.png")


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, components: Components, picture: Path
) -> dict[str, NDArray[np.uint8]]:
    """Frames of the whole video by variant."""
    folder = tmp_path_factory.mktemp("undisturbed")
    whole = {}
    for variant in VARIANTS:
        output = folder / f"{variant}.mp4"
        list(_stream(output, folder / "run", components, picture, variant))
        whole[variant] = frames_of(output)
    return whole


def _stream(
    output: Path, run: Path, components: Components, picture: Path, variant: str
) -> Iterator[Event]:
    return framepack.stream(
        **{**SMALL, "variant": variant},
        image=picture,
        duration_s=seconds(NUM_FRAMES),
        output=output,
        run_dir=run,
        components=components,
    )


def _stop_after(events: Iterator[Event], kind: type[Event], count: int) -> None:
    """Pull until ``count`` events of a kind were seen, then close."""
    with closing(events) as open_events:  # type: ignore[type-var]
        for event in open_events:
            count -= isinstance(event, kind)
            if count == 0:
                return


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_closing_runs_no_further_step(
    tmp_path: Path,
    components: Components,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
) -> None:
    calls: list[None] = []
    hook = components.transformer.register_forward_hook(lambda *_: calls.append(None))
    events = _stream(tmp_path / "out.mp4", tmp_path / "run", components, picture, VARIANTS[0])
    try:
        _stop_after(events, StepDone, steps)
    finally:
        hook.remove()
    assert len(calls) == steps
    assert not torch.is_inference_mode_enabled()
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sections", [1, 2])
def test_a_cancelled_run_is_finished_later_as_if_nothing_had_been(
    tmp_path: Path,
    components: Components,
    picture: Path,
    undisturbed: dict[str, NDArray[np.uint8]],
    variant: str,
    sections: int,
) -> None:
    output, run = tmp_path / "out.mp4", tmp_path / "run"
    events = _stream(output, run, components, picture, variant)
    _stop_after(events, SectionDone, sections)
    steps: list[StepDone] = []
    result = framepack.resume(
        run,
        components=components,
        on_event=lambda event: steps.append(event) if isinstance(event, StepDone) else None,
    )
    assert {step.render_index for step in steps} == set(range(sections, SECTIONS))
    assert result.statistics["num_sections"] == SECTIONS
    assert not run.exists()
    np.testing.assert_array_equal(frames_of(output), undisturbed[variant])


def test_a_run_stopped_within_a_section_repeats_that_section_only(
    tmp_path: Path,
    components: Components,
    picture: Path,
    undisturbed: dict[str, NDArray[np.uint8]],
) -> None:
    output, run = tmp_path / "out.mp4", tmp_path / "run"
    _stop_after(_stream(output, run, components, picture, VARIANTS[0]), StepDone, 3)
    resumed = framepack.stream_resume(run, components=components)
    rendered = {event.render_index for event in resumed if isinstance(event, StepDone)}
    assert rendered == {1, 2}
    np.testing.assert_array_equal(frames_of(output), undisturbed[VARIANTS[0]])


def test_a_run_can_be_stopped_again_and_again(
    tmp_path: Path,
    components: Components,
    picture: Path,
    undisturbed: dict[str, NDArray[np.uint8]],
) -> None:
    output, run = tmp_path / "out.mp4", tmp_path / "run"
    _stop_after(_stream(output, run, components, picture, VARIANTS[1]), StepDone, 1)
    for _ in range(SECTIONS):
        _stop_after(framepack.stream_resume(run, components=components), SectionDone, 1)
    assert not output.exists()
    framepack.resume(run, components=components)
    np.testing.assert_array_equal(frames_of(output), undisturbed[VARIANTS[1]])


def test_a_cancelled_run_is_free_for_others_and_a_live_one_is_not(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    events = _stream(tmp_path / "out.mp4", tmp_path / "run", components, picture, VARIANTS[0])
    next(events)
    with pytest.raises(framepack.WorkspaceError, match="is in use by process"):
        framepack.resume(tmp_path / "run", components=components)
    events.close()  # type: ignore[attr-defined]
    framepack.resume(tmp_path / "run", components=components)


def test_an_unpulled_run_does_nothing(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    events = _stream(tmp_path / "out.mp4", tmp_path / "run", components, picture, VARIANTS[0])
    events.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "run" / "conditions.safetensors").exists()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_partial_video_is_the_finished_part_of_the_whole(
    tmp_path: Path,
    components: Components,
    picture: Path,
    undisturbed: dict[str, NDArray[np.uint8]],
    variant: str,
) -> None:
    run, partial = tmp_path / "run", tmp_path / "partial.mp4"
    _stop_after(_stream(tmp_path / "out.mp4", run, components, picture, variant), SectionDone, 2)
    num_frames = framepack.save_partial(run, partial)
    frames = frames_of(partial)
    whole = undisturbed[variant]
    assert num_frames == len(frames)
    if variant == "bi-directional":
        assert num_frames == 2 * SECTION_FRAMES - 3
        np.testing.assert_array_equal(frames[SEAM_FRAMES:], whole[-num_frames + SEAM_FRAMES :])
    else:
        assert num_frames == 2 * SECTION_FRAMES + 1
        np.testing.assert_array_equal(frames[:-SEAM_FRAMES], whole[: num_frames - SEAM_FRAMES])
    framepack.resume(run, components=components)
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mp4"), whole)


def test_a_run_without_a_finished_section_has_no_partial_video(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    run = tmp_path / "run"
    _stop_after(_stream(tmp_path / "out.mp4", run, components, picture, VARIANTS[0]), StepDone, 1)
    assert framepack.save_partial(run, tmp_path / "partial.mp4") == 0
    assert not (tmp_path / "partial.mp4").exists()
