"""Step caches on the embedded model: faster, near the exact video, and off unless asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.runs import SECTION_FRAMES, SMALL, frames_of, seconds

import framepack
from framepack.pipeline.components import Components

STEPS = 8
QUICK, LONG = ("teacache", "easycache"), ("first_block", "magcache", "taylorseer")
METHODS = [*QUICK, *(pytest.param(method, marks=pytest.mark.full) for method in LONG)]
GUIDED = {"true_cfg_scale": 2.0, "negative_prompt": "blurred"}
EAGER = {"taylorseer": 2}
"""Thresholds at which much is skipped, where they are not 0.3."""


def _events(
    folder: Path, components: Components, **fields: Any
) -> tuple[list[framepack.StepDone], framepack.Finished, NDArray[np.uint8]]:
    """A lossless video of two sections: its steps, its last event and its frames."""
    options = {
        **SMALL,
        "num_inference_steps": STEPS,
        "duration_s": seconds(2 * SECTION_FRAMES + 1),
        "crf": 0,
        "pixel_format": "yuv444p",
        **fields,
    }
    events = list(framepack.stream(output=folder / "out.mp4", components=components, **options))
    done = events[-1]
    assert isinstance(done, framepack.Finished)
    steps = [event for event in events if isinstance(event, framepack.StepDone)]
    return steps, done, frames_of(done.path)


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("method", METHODS)
def test_threshold_zero_is_the_exact_video(
    tmp_path: Path, components: Components, picture: Path, method: str
) -> None:
    exact = _events(tmp_path, components, image=picture)[2]
    steps, done, frames = _events(
        tmp_path, components, image=picture, step_cache=method, step_cache_threshold=0
    )
    assert np.array_equal(frames, exact)
    assert not any(step.skipped for step in steps)
    assert done.stats["num_skipped_steps"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_skipped_and_counted_and_the_video_stays_near(
    tmp_path: Path, components: Components, picture: Path, method: str
) -> None:
    exact = _events(tmp_path, components, image=picture)[2]
    eager = {"step_cache": method, "step_cache_threshold": EAGER.get(method, 0.3)}
    steps, done, frames = _events(tmp_path, components, image=picture, **eager)
    skipped = [step for step in steps if step.skipped]
    assert 2 <= len(skipped) == done.stats["num_skipped_steps"]
    assert not {1, STEPS} & {step.step for step in skipped}
    other = _events(tmp_path, components, image=picture, seed=8)[2]
    assert _psnr(frames, exact) > _psnr(other, exact) + 3, "nearer than another seed's"


def test_the_threshold_says_how_much_is_skipped(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    counts = [
        _events(
            tmp_path,
            components,
            image=picture,
            step_cache="teacache",
            **({} if threshold is None else {"step_cache_threshold": threshold}),
        )[1].stats["num_skipped_steps"]
        for threshold in (0.05, None, 1.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 2 * (STEPS - 2)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("taylorseer", {}),
        ("easycache", GUIDED),
        *(
            pytest.param(method, fields, marks=pytest.mark.full)
            for method in ("teacache", "first_block", "magcache", "taylorseer")
            for fields in ({}, GUIDED)
        ),
    ],
)
def test_a_cancelled_run_is_finished_as_if_nothing_had_been(
    tmp_path: Path, components: Components, picture: Path, fields: dict[str, Any], method: str
) -> None:
    eager = {"step_cache": method, "step_cache_threshold": EAGER.get(method, 0.3)}
    cached = {"image": picture, **eager, **fields}
    undisturbed = _events(tmp_path, components, **cached)
    assert any(step.skipped for step in undisturbed[0])
    events = framepack.stream(
        output=tmp_path / "stopped.mp4",
        run_dir=tmp_path / "run",
        components=components,
        **{
            **SMALL,
            "num_inference_steps": STEPS,
            "duration_s": seconds(2 * SECTION_FRAMES + 1),
            "crf": 0,
            "pixel_format": "yuv444p",
            **cached,
        },
    )
    for event in events:
        if isinstance(event, framepack.StepDone) and event.render_index == 1 and event.skipped:
            break
    events.close()  # type: ignore[attr-defined]
    result = framepack.resume(tmp_path / "run", components=components)
    assert np.array_equal(frames_of(result.path), undisturbed[2])
    counted = result.statistics["num_skipped_steps"]
    assert counted == undisturbed[1].stats["num_skipped_steps"]
