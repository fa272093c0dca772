"""Does a section cost more the later it comes, and does memory grow with the video?

    OMP_NUM_THREADS=1 PYTHONPATH=src:. python benchmarks/length.py [--sections 52] [--steps 4]
        [--json FILE]

One video of many sections of the embedded model, made as ``framepack generate`` makes it. The
cost of section n is the median of the CPU seconds of sections n - 2 to n + 2. Memory is what the
process holds when section 5 and section 50 are on the disk. Freed memory goes back to the system
as it does by default, so that what is held shows. One JSON line per variant.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from benchmarks.common import ROOT, JsonLines, machine

import framepack
from framepack.domain.settings import Settings
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import load_components

EARLY, LATE = 5, 50
MOST_COST, MOST_MB = 1.05, 48


def follow(events: Iterable[framepack.Event]) -> tuple[list[float], list[float]]:
    """CPU seconds and resident memory in MB of each section."""
    process = psutil.Process()
    seconds: list[float] = []
    memory_mb: list[float] = []
    before = time.process_time()
    for event in events:
        if isinstance(event, framepack.StageStarted) and event.stage == "encode":
            before = time.process_time()
        if isinstance(event, framepack.SectionDone):
            now = time.process_time()
            seconds.append(now - before)
            memory_mb.append(process.memory_info().rss / 1e6)
            before = now
    return seconds, memory_mb


def measure(options: argparse.Namespace, variant: str, folder: Path) -> dict[str, Any]:
    """The row of a variant."""
    settings = Settings.load(device="cpu", dtype=options.dtype, keep_embeddings=False)
    components = load_components(resolve_spec("tiny"), settings)
    events = framepack.stream(
        output=folder / "out.mp4",
        run_dir=folder / "run",
        components=components,
        prompt="the camera pans left",
        image=ROOT / "examples/hills.jpg",
        variant=variant,
        width=options.size,
        height=options.size,
        duration_s=(36 * options.sections + 1) / 30,
        fps=30,
        num_inference_steps=options.steps,
        seed=7,
    )
    seconds, memory_mb = follow(events)
    # The lists begin with section 1.
    early, late = (statistics.median(seconds[number - 3 : number + 2]) for number in (EARLY, LATE))
    growth_mb = memory_mb[LATE - 1] - memory_mb[EARLY - 1]
    return {
        "benchmark": "length",
        "variant": variant,
        "ratio": round(late / early, 3),
        "target": MOST_COST,
        f"section_{EARLY}_cpu_s": round(early, 3),
        f"section_{LATE}_cpu_s": round(late, 3),
        "growth_mb": round(growth_mb, 1),
        "growth_mb_allowed": MOST_MB,
        f"section_{EARLY}_mb": round(memory_mb[EARLY - 1], 1),
        f"section_{LATE}_mb": round(memory_mb[LATE - 1], 1),
        "peak_mb": round(max(memory_mb), 1),
        "cpu_s_of_sections": [round(each, 3) for each in seconds],
        "mb_after_sections": [round(each, 1) for each in memory_mb],
        "sections": len(seconds),
        "steps": options.steps,
        "size_px": options.size,
        "dtype": options.dtype,
        **machine(),
    }


def main() -> None:
    """Measure, and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", type=int, default=LATE + 2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--variant", action="append", choices=("bi-directional", "forward-only"))
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    lines = JsonLines(options.json)
    if options.sections < LATE + 2:
        parser.error(f"--sections is {options.sections}, {LATE + 2} or more are needed")
    for variant in options.variant or ("bi-directional", "forward-only"):
        with tempfile.TemporaryDirectory() as folder:
            lines.add(measure(options, variant, Path(folder)))


if __name__ == "__main__":
    main()
