import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import framepack
from framepack.pipeline.statistics import RunStatistics, peak_device_gb


def _work(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_seconds_are_counted_towards_their_stage() -> None:
    stats = RunStatistics()
    with stats.stage("decode"):
        _work(0.02)
    assert stats.stage_s["decode"] >= 0.02
    assert stats.elapsed_s == stats.stage_s["decode"]


def test_time_of_the_consumer_is_not_counted() -> None:
    stats = RunStatistics()

    def steps() -> Iterator[int]:
        for number in range(3):
            _work(0.01)
            yield number

    taken = []
    begun = time.perf_counter()
    for number, seconds in stats.each("denoise", steps()):
        taken.append(number)
        assert seconds >= 0.01
        time.sleep(0.1)
    wall_s = time.perf_counter() - begun
    assert taken == [0, 1, 2]
    assert 0.03 <= stats.elapsed_s <= wall_s - 0.3


def test_totals_survive_json_and_go_on() -> None:
    stats = RunStatistics()
    with stats.stage("denoise"):
        _work(0.01)
    stats.end_section(10)
    stats.num_frames += 36
    stats.note_memory(torch.device("cpu"))
    again = RunStatistics.from_state(json.loads(json.dumps(stats.to_state())))
    assert again == stats
    again.end_section(10)
    again.num_frames += 37
    summary = again.summary()
    assert (summary["num_sections"], summary["num_steps"], summary["num_frames"]) == (2, 20, 73)
    assert summary["step_s"] == pytest.approx(again.stage_s["denoise"] / 20, abs=1e-5)
    assert summary["peak_device_gb"] is None


def test_summary_of_nothing_is_zeros() -> None:
    summary = RunStatistics().summary()
    assert summary["total_s"] == 0
    assert summary["step_s"] == 0


def test_peak_memory_follows_what_was_held() -> None:
    # In a process of its own: this one may have peaked long ago.
    code = (
        "import numpy as np\n"
        "from framepack.pipeline.statistics import peak_host_gb\n"
        "before = peak_host_gb()\n"
        "held = np.ones(int(before * 1e9) + 300_000_000, dtype=np.uint8)\n"
        "del held\n"
        "print(before, peak_host_gb())"
    )
    source = str(Path(framepack.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(float, done.stdout.split())
    assert 0.01 < before < 100
    assert after - before == pytest.approx(0.3 + before, rel=0.5)


def test_a_cpu_has_no_device_memory() -> None:
    assert peak_device_gb(torch.device("cpu")) is None
