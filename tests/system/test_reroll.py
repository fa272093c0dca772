"""Sections that drift are made again, and the attempt that drifts least stays."""

from pathlib import Path
from typing import Any

import numpy as np
from tests.helpers.runs import (
    SECTION_FRAMES,
    SMALL,
    frames_of,
    seconds,
    stop_after_section,
    write_picture,
)

import framepack
from framepack.domain.events import Event, SectionDone
from framepack.pipeline.components import Components


def _fields(folder: Path, **more: Any) -> dict[str, Any]:
    values = {**SMALL, "variant": "forward-only", "image": write_picture(folder / "start.png")}
    return {**values, "duration_s": seconds(3 * SECTION_FRAMES + 1), **more}


def _made(
    folder: Path, components: Components, **fields: Any
) -> tuple[framepack.Result, list[SectionDone]]:
    done: list[SectionDone] = []

    def note(event: Event) -> None:
        if isinstance(event, SectionDone):
            done.append(event)

    result = framepack.generate(
        output=folder / "out.mp4", components=components, on_event=note, **_fields(folder, **fields)
    )
    return result, done


def test_a_section_is_made_again_as_often_as_allowed_and_the_best_stays(
    tmp_path: Path, components: Components
) -> None:
    _, watched = _made(tmp_path, components, reroll=1, drift_limit=10)
    _, again = _made(tmp_path, components, reroll=3, drift_limit=0)
    assert [event.num_rerolls for event in watched] == [0, 0, 0]
    # The first-rendered section is what the others are measured against.
    assert [event.num_rerolls for event in again] == [0, 3, 3]
    assert watched[0].drift == again[0].drift == 0
    assert watched[1].drift is not None
    assert again[1].drift is not None
    assert again[1].drift <= watched[1].drift


def test_a_steady_video_is_left_as_it_is(tmp_path: Path, components: Components) -> None:
    plain, silent = _made(tmp_path, components)
    expected = frames_of(plain.path)
    watched, _ = _made(tmp_path, components, reroll=3, drift_limit=10)
    np.testing.assert_array_equal(expected, frames_of(watched.path))
    assert [event.drift for event in silent] == [None] * 3


def test_a_watched_run_resumes_to_the_same_video(tmp_path: Path, components: Components) -> None:
    whole, _ = _made(tmp_path, components, reroll=2, drift_limit=0.05)
    events = framepack.stream(
        output=tmp_path / "cut.mp4",
        run_dir=tmp_path / "run",
        components=components,
        **_fields(tmp_path, reroll=2, drift_limit=0.05),
    )
    stop_after_section(events)
    resumed = framepack.resume(tmp_path / "run", components=components)
    np.testing.assert_array_equal(frames_of(whole.path), frames_of(resumed.path))


def test_a_take_measures_against_the_same_section(tmp_path: Path, components: Components) -> None:
    fields = _fields(tmp_path, reroll=2, drift_limit=0.05)
    framepack.generate(
        output=tmp_path / "out.mp4",
        run_dir=tmp_path / "run",
        keep_run=True,
        components=components,
        **fields,
    )
    take = framepack.redo(
        tmp_path / "run", section=2, seed=3, output=tmp_path / "take.mp4", components=components
    )
    anew = framepack.generate(
        take.plan.request, output=tmp_path / "anew.mp4", components=components
    )
    np.testing.assert_array_equal(frames_of(take.path), frames_of(anew.path))
