"""How far a job is follows from what the pipeline says."""

from typing import Any

import pytest
from tests.helpers.jobs import section_done, step_done
from tests.helpers.runs import plan_without_model

from framepack.domain.errors import FramePackError
from framepack.domain.events import Finished, Planned, StageStarted
from framepack.service.progress import Tracker
from framepack.service.records import Progress


def _after(*events: dict[str, Any], start: Progress | None = None) -> Progress:
    tracker = Tracker(start)
    for event in events:
        tracker.add(event)
    return tracker.progress


def test_a_plan_says_how_much_there_is_to_do() -> None:
    plan = plan_without_model(duration_s=3.0)
    progress = _after(Planned(elapsed_s=0.0, plan=plan.to_dict()).to_dict())
    assert progress.num_sections == plan.num_sections
    assert progress.num_steps == plan.request.num_inference_steps
    assert progress.fraction == 0


def test_half_of_the_steps_are_half_of_the_way() -> None:
    progress = _after(step_done(1), step_done(2), section_done(0))
    assert progress.fraction == pytest.approx(0.5, abs=0.02)
    assert (progress.section, progress.step, progress.num_steps) == (1, 2, 2)
    assert progress.seconds_left is not None
    assert progress.seconds_left > 0


def test_a_stage_is_named() -> None:
    assert _after(StageStarted(elapsed_s=0.0, stage="encode").to_dict()).stage == "encode"


def test_a_resumed_job_begins_where_it_was() -> None:
    before = Progress(fraction=0.6, section=3, num_sections=5, num_steps=4)
    progress = _after(StageStarted(elapsed_s=9.0, stage="load").to_dict(), start=before)
    assert (progress.fraction, progress.section) == (0.6, 3)


def test_the_end_is_all_of_it() -> None:
    stats: Any = {}
    event = Finished(elapsed_s=9.0, path="v.mp4", num_frames=9, duration_s=1.0, stats=stats)
    tracker = Tracker(Progress(fraction=0.97, num_sections=2, section=2, seconds_left=1.0))
    tracker._pace.add(event)
    progress = tracker._after(event, tracker.progress)
    assert (progress.fraction, progress.section, progress.seconds_left) == (1.0, 2, 0.0)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(FramePackError, match="unknown event 'Dance'"):
        Tracker().add({"event": "Dance"})
