"""What step caches save and what they cost, against the exact video of the same seed.

    OMP_NUM_THREADS=1 python benchmarks/step_cache.py [--steps 10] [--repeats 2] [--json FILE]

Videos of each case are made exactly and with each setting in turn, all in one process, so that
whatever else the machine does meets all alike. Time is the process's CPU seconds in the steps of
the section rendered first; of several runs, of which those after the first make no more than that
section, the least counts. PSNR is between the raw frames of two videos, all frames together.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

import framepack
from framepack.domain.settings import Settings
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import Components, load_components

ROOT = Path(__file__).parents[1]
CASES: tuple[dict[str, Any], ...] = (
    {"image": ROOT / "examples/hills.jpg", "prompt": "the camera pans left"},
    {"image": ROOT / "examples/day.jpg", "prompt": "the camera zooms in"},
    {
        "image": ROOT / "examples/day.jpg",
        "end_image": ROOT / "examples/night.jpg",
        "prompt": "a slow dissolve",
    },
    {"prompt": "a purple cross moves left on a teal background"},
)
THRESHOLDS = (0.2, 0.3, 0.5)
FEWER = (0.7, 0.5)
"""Shares of the steps, all computed: what a step cache must be better than."""


@dataclass
class Row:
    """Figures of one setting over all cases."""

    name: str
    fields: dict[str, Any]
    cpu_s: list[float] = field(default_factory=list)
    psnr_db: list[float] = field(default_factory=list)
    num_steps: int = 0
    num_skipped_steps: int = 0


def make(
    components: Components, folder: Path, **fields: Any
) -> tuple[float, NDArray[np.uint8], framepack.Finished]:
    """Make a video: seconds of :func:`first_section`, its frames, and its last event."""
    raw = folder / "frames.safetensors"
    events = framepack.stream(
        output=folder / "out.mp4", raw=raw, components=components, thumbnail=False, **fields
    )
    spent = first_section(events)
    *_, done = events
    assert isinstance(done, framepack.Finished)
    (frames,) = (value for value in load_file(raw).values() if value.ndim == 4)
    return spent, frames, done


def first_section(events: Iterator[framepack.Event]) -> float:
    """Pull events until the first section is denoised; CPU seconds of its steps."""
    spent, before = 0.0, time.process_time()
    for event in events:
        now = time.process_time()
        if isinstance(event, framepack.StepDone):
            spent += now - before
            if event.step == event.num_steps:
                return spent
        before = time.process_time()
    raise AssertionError("no section was denoised")


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two videos, dB; infinite if they are the same."""
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def measure(steps: int, repeats: int, duration_s: float) -> list[Row]:
    """Figures of every setting, the exact one first."""
    rows = [Row("exact", {})]
    rows += [
        Row(f"{method} {value:g}", {"step_cache": method, "step_cache_threshold": value})
        for method in ("teacache", "first_block")
        for value in THRESHOLDS
    ]
    fewer = [round(steps * share) for share in FEWER]
    rows += [Row(f"{number} steps", {"num_inference_steps": number}) for number in fewer]
    components = load_components(resolve_spec("tiny"), Settings.load())
    for case in CASES:
        exact: NDArray[np.uint8] | None = None
        for repeat in range(repeats):
            for row in rows:
                fields = {"num_inference_steps": steps, "seed": 7, **case, **row.fields}
                fields["duration_s"] = duration_s
                with tempfile.TemporaryDirectory() as folder:
                    if repeat == 0:
                        spent, frames, done = make(components, Path(folder), **fields)
                        exact = frames if exact is None else exact
                        row.psnr_db.append(psnr(frames, exact))
                        row.num_steps += done.stats["num_steps"]
                        row.num_skipped_steps += done.stats.get("num_skipped_steps", 0)
                        row.cpu_s.append(spent)
                        continue
                    events = framepack.stream(
                        output=f"{folder}/out.mp4",
                        run_dir=f"{folder}/run",
                        components=components,
                        **fields,
                    )
                    row.cpu_s[-1] = min(row.cpu_s[-1], first_section(events))
                    events.close()  # type: ignore[attr-defined]
    return rows


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--duration", type=float, default=2.4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.steps, options.repeats, options.duration)
    exact_s = sum(rows[0].cpu_s)
    print("| setting | steps skipped | denoising | PSNR, dB: median | least |")
    print("|---|---|---|---|---|")
    for row in rows:
        share = row.num_skipped_steps / row.num_steps
        print(
            f"| {row.name} | {share:.0%} | "
            f"{exact_s / sum(row.cpu_s):.2f}x | {statistics.median(row.psnr_db):.1f} | "
            f"{min(row.psnr_db):.1f} |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
