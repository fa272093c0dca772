"""Time and memory of a section do not depend on how many there are."""

import gc
import json
import os
import statistics
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.helpers.runs import SECTION_FRAMES, SMALL, seconds

import framepack
from framepack.domain.events import SectionDone
from framepack.pipeline.components import Components

# Renders a video and prints, for each section, the CPU seconds it took and the peak in MB so far.
CHILD = """
import json, sys, time
import framepack
from framepack.domain.events import SectionDone, StageStarted
from framepack.pipeline.statistics import peak_host_gb
sections, peaks, before = [], [], 0.0
for event in framepack.stream(**json.loads(sys.argv[1])):
    if isinstance(event, StageStarted) and event.stage == "denoise":
        before = time.process_time()
    if isinstance(event, SectionDone):
        sections.append(time.process_time() - before)
        peaks.append(1000 * peak_host_gb())
print(json.dumps({"cpu_s": sections, "peaks_mb": peaks}))
"""


class Measured(NamedTuple):
    """Cost of one run in a process of its own."""

    cpu_s: list[float]
    peaks_mb: list[float]


def _measure(folder: Path, num_sections: int, **fields: Any) -> Measured:
    folder.mkdir()
    window = fields.get("latent_window_size", SMALL["latent_window_size"])
    arguments = {
        **SMALL,
        "duration_s": seconds(4 * window * num_sections - 3),
        "output": str(folder / "out.mp4"),
        "run_dir": str(folder / "run"),
        **fields,
    }
    source = Path(framepack.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(source), "FRAMEPACK_DTYPE": "float32"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured = Measured(**json.loads(done.stdout))
    assert len(measured.cpu_s) == len(measured.peaks_mb) == num_sections
    return measured


def _steady(measured: Measured) -> list[float]:
    """The sections that do equal work: not the first two and not the last."""
    return measured.cpu_s[2:-1]


@pytest.mark.parametrize(
    "variant", [pytest.param("bi-directional", marks=pytest.mark.full), "forward-only"]
)
def test_nothing_outlives_its_section(tmp_path: Path, components: Components, variant: str) -> None:
    held, traced = [], []
    tracemalloc.start()  # sees what NumPy and Python hold
    for event in framepack.stream(
        **{**SMALL, "variant": variant},
        duration_s=seconds(6 * SECTION_FRAMES - 3),
        output=tmp_path / "out.mp4",
        components=components,
    ):
        if isinstance(event, SectionDone):
            gc.collect()
            held.append(_tensor_bytes())
            traced.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    steady = held[2:-1]
    assert len(steady) == 3
    assert max(steady) == min(steady)
    one_section_of_pixels = SECTION_FRAMES * SMALL["height"] * SMALL["width"] * 3
    assert traced[-2] - traced[2] < one_section_of_pixels


def _tensor_bytes() -> int:
    """Bytes of all tensors alive, each storage once."""
    storages = {
        item.untyped_storage().data_ptr(): item.untyped_storage().nbytes()
        for item in gc.get_objects()
        if type(item) in (torch.Tensor, torch.nn.Parameter) and item.device.type == "cpu"
    }
    return sum(storages.values())


def test_ten_sections_more_take_no_more_memory(tmp_path: Path) -> None:
    """The quick form; what sections cost in time is for the long one, and for benchmarks."""
    run = _measure(tmp_path / "15", 15, num_inference_steps=1)
    # Within a run: between two runs the peak varies by 40 MB with what loading happens to hold.
    assert run.peaks_mb[-1] - run.peaks_mb[4] < 48


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("variant", ["bi-directional", "forward-only"])
def test_fifty_sections_cost_per_section_what_five_cost(tmp_path: Path, variant: str) -> None:
    default: dict[str, Any] = {"width": 128, "height": 128, "latent_window_size": 9}
    few = _measure(tmp_path / "few", 5, variant=variant, **default)
    many = _measure(tmp_path / "many", 50, variant=variant, **default)
    assert many.peaks_mb[-1] - many.peaks_mb[4] < 48
    # The quickest of each: what other programs on the machine cost comes on top of it.
    assert min(_steady(many)[-10:]) < 1.05 * min(_steady(few))
    early, late = _steady(many)[:15], _steady(many)[-15:]
    assert statistics.median(late) < 1.05 * statistics.median(early)
