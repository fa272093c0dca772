"""Events survive JSON."""

import json
from typing import Any

import pytest

from framepack.domain.errors import FramePackError
from framepack.domain.events import (
    Event,
    Finished,
    MemoryRanOut,
    Planned,
    SectionDone,
    StageStarted,
    Statistics,
    StepDone,
)

STATS: Statistics = {
    "total_s": 3.0,
    "stage_s": {"denoise": 2.0},
    "step_s": 0.1,
    "section_s": {"denoise": 1.0},
    "frame_s": {"denoise": 0.01},
    "num_steps": 20,
    "num_sections": 2,
    "num_frames": 60,
    "peak_host_gb": 0.5,
    "peak_device_gb": None,
}
EVENTS = [
    Planned(elapsed_s=0, plan={"sections": [1, 2]}),
    StageStarted(elapsed_s=0.1, stage="load"),
    StageStarted(elapsed_s=0.1, stage="denoise", section=3),
    StepDone(
        elapsed_s=1.0,
        section=1,
        render_index=0,
        num_sections=2,
        step=1,
        num_steps=10,
        seconds=0.2,
        preview="p.png",
    ),
    MemoryRanOut(elapsed_s=1.5, way="smaller tiles", reason="out of memory", section=1),
    SectionDone(elapsed_s=2.0, section=1, render_index=0, num_sections=2, seconds=1.5),
    Finished(elapsed_s=3.0, path="out.mp4", num_frames=60, duration_s=2.0, stats=STATS),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_json(event: Event) -> None:
    back = Event.from_dict(json.loads(json.dumps(event.to_dict())))
    assert back == event
    assert type(back) is type(event)


def test_the_json_form_names_the_class_first() -> None:
    assert next(iter(EVENTS[1].to_dict().items())) == ("event", "StageStarted")


@pytest.mark.parametrize(
    "values",
    [
        {"elapsed_s": 1.0},
        {"event": "Exploded", "elapsed_s": 1.0},
        {"event": "StageStarted", "stage": "load"},
        {"event": "StageStarted", "elapsed_s": 1.0, "stage": "dream"},
        {"event": "StageStarted", "elapsed_s": "soon", "stage": "load"},
        {"event": "StageStarted", "elapsed_s": 1.0, "stage": "load", "extra": 1},
    ],
)
def test_what_is_not_an_event_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(FramePackError, match=r"unknown event|cannot be read"):
        Event.from_dict(values)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        setattr(EVENTS[1], "stage", "write")  # noqa: B010 - mypy sees a plain assignment
