"""Events of a made-up run, for what shows and pulls them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from framepack.domain.events import (
    Event,
    Finished,
    Planned,
    SectionDone,
    StageStarted,
    Statistics,
    StepDone,
)

NUM_SECTIONS, NUM_STEPS = 2, 3


def _statistics() -> Statistics:
    stages = {"denoise": 6.0, "decode": 1.0, "write": 0.5}
    return Statistics(
        total_s=8.0,
        stage_s=stages,
        step_s=1.0,
        section_s=stages,
        frame_s=stages,
        num_steps=6,
        num_sections=2,
        num_frames=60,
        peak_host_gb=1.25,
        peak_device_gb=None,
    )


def _events(path: Path) -> Iterator[Event]:
    yield Planned(
        elapsed_s=0,
        plan={
            "mode": "i2v",
            "model": "tiny",
            "variant": "bi-directional",
            "width": 128,
            "height": 96,
            "num_frames": 60,
            "fps": 30.0,
            "seed": 7,
            "sections": [{}, {}],
            "request": {"num_inference_steps": NUM_STEPS, "one_frame": False},
            "notes": ["True length: 60 frames."],
        },
    )
    yield StageStarted(elapsed_s=0, stage="load")
    yield StageStarted(elapsed_s=0, stage="encode")
    for i in range(NUM_SECTIONS):
        yield StageStarted(elapsed_s=0, stage="denoise", section=i)
        for step in range(1, NUM_STEPS + 1):
            yield StepDone(
                elapsed_s=0,
                section=i,
                render_index=i,
                num_sections=NUM_SECTIONS,
                step=step,
                num_steps=NUM_STEPS,
                seconds=1.0,
            )
        yield StageStarted(elapsed_s=0, stage="decode", section=i)
        yield StageStarted(elapsed_s=0, stage="write", section=i)
        yield SectionDone(
            elapsed_s=0, section=i, render_index=i, num_sections=NUM_SECTIONS, seconds=4.0
        )
    yield StageStarted(elapsed_s=0, stage="write")
    yield Finished(elapsed_s=8, path=str(path), num_frames=60, duration_s=2.0, stats=_statistics())


@pytest.fixture
def events(tmp_path: Path) -> list[Event]:
    """Two sections of three steps."""
    return list(_events(tmp_path / "out.mp4"))
