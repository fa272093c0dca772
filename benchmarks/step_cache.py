"""What step caches save and what they cost, against the exact video of the same seed.

    OMP_NUM_THREADS=1 python benchmarks/step_cache.py --lines rows.jsonl [--repeats 2] [--only NAME]
    python benchmarks/step_cache.py --read rows.jsonl [--plot docs/images/step-caches.webp]

Videos of each case are made exactly and with each setting in turn, all in one process, so that
whatever else the machine does meets all alike. Time is the process's CPU seconds in the steps of
the section rendered first; of several runs, of which those after the first make no more than that
section, the least counts. PSNR is between the raw frames of two videos, all frames together; SSIM
is the mean over frames. Each video adds one JSON line once its case is through; the table and the
plot are made from the lines, of several runs too.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from skimage.metrics import structural_similarity

import framepack
from framepack.domain.settings import Settings
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import Components, load_components

ROOT = Path(__file__).parents[1]
CASES: dict[str, dict[str, Any]] = {
    "pan": {"image": ROOT / "examples/hills.jpg", "prompt": "the camera pans left"},
    "zoom": {"image": ROOT / "examples/day.jpg", "prompt": "the camera zooms in"},
    "dissolve": {
        "image": ROOT / "examples/day.jpg",
        "end_image": ROOT / "examples/night.jpg",
        "prompt": "a slow dissolve",
    },
    "sprite": {"prompt": "a purple cross moves left on a teal background"},
}
THRESHOLDS = {
    "teacache": (0.1, 0.2, 0.3, 0.4, 0.5),
    "first_block": (0.2, 0.3, 0.5),
    "magcache": (0.05, 0.1, 0.2, 0.3, 0.4),
    "taylorseer": (1, 2, 3),
    "easycache": (0.05, 0.1, 0.2, 0.3),
}
FEWER = (0.8, 0.7, 0.5, 0.4)
"""Shares of the steps, all computed: what a step cache must be better than."""
EXACT = "exact"
STEPS = "fewer steps"
INFINITE = float("inf")

Line = dict[str, Any]
Frames = NDArray[np.uint8]


def settings(steps: int) -> list[tuple[str, float, dict[str, Any]]]:
    """Method, threshold and fields of every setting, the exact one first."""
    cached = [
        (method, value, {"step_cache": method, "step_cache_threshold": value})
        for method, values in THRESHOLDS.items()
        for value in values
    ]
    fewer = [round(steps * share) for share in FEWER]
    return [
        (EXACT, 0, {}),
        *cached,
        *((STEPS, number, {"num_inference_steps": number}) for number in fewer),
    ]


def make(
    components: Components, folder: Path, **fields: Any
) -> tuple[float, Frames, framepack.Finished]:
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


def psnr(a: Frames, b: Frames) -> float | None:
    """Peak signal-to-noise ratio of two videos, dB; None, infinite, if they are the same."""
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64)
    return None if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(a: Frames, b: Frames) -> float:
    """Mean structural similarity of their frames; 1 if they are the same."""
    pairs = zip(a, b, strict=True)
    return float(np.mean([structural_similarity(*pair, channel_axis=-1) for pair in pairs]))


def measure(
    cases: Sequence[str], only: Sequence[str], steps: int, repeats: int, duration_s: float
) -> Iterator[Line]:
    """One line per case and setting."""
    components = load_components(resolve_spec("tiny"), Settings.load())
    chosen = [each for each in settings(steps) if not only or each[0] in (EXACT, *only)]
    for case in cases:
        asked = {"num_inference_steps": steps, "seed": 7, "duration_s": duration_s, **CASES[case]}
        lines: list[Line] = []
        exact: Frames | None = None
        for method, value, fields in chosen:
            with tempfile.TemporaryDirectory() as folder:
                spent, frames, done = make(components, Path(folder), **{**asked, **fields})
            exact = frames if exact is None else exact
            lines.append(
                {
                    "case": case,
                    "method": method,
                    "value": value,
                    "cpu_s": spent,
                    "psnr_db": psnr(frames, exact),
                    "ssim": ssim(frames, exact),
                    "num_steps": done.stats["num_steps"],
                    "num_skipped_steps": done.stats["num_skipped_steps"],
                }
            )
        for _ in range(repeats - 1):
            for line, (_, _, fields) in zip(lines, chosen, strict=True):
                with tempfile.TemporaryDirectory() as folder:
                    events = framepack.stream(
                        output=f"{folder}/out.mp4",
                        run_dir=f"{folder}/run",
                        components=components,
                        **{**asked, **fields},
                    )
                    line["cpu_s"] = min(line["cpu_s"], first_section(events))
                    events.close()  # type: ignore[attr-defined]
        for line in lines:
            yield {**line, "exact_cpu_s": lines[0]["cpu_s"]}


def summed(lines: Iterable[Line]) -> list[Line]:
    """One line per setting over all cases, in the order in which settings first appear."""
    groups: dict[tuple[str, float], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["method"], line["value"]), []).append(line)
    rows = []
    for (method, value), group in groups.items():
        qualities = {
            "psnr_db": [INFINITE if line["psnr_db"] is None else line["psnr_db"] for line in group],
            "ssim": [line["ssim"] for line in group],
        }
        rows.append(
            {
                "method": method,
                "value": value,
                "skipped": sum(line["num_skipped_steps"] for line in group)
                / sum(line["num_steps"] for line in group),
                "speed": sum(line["exact_cpu_s"] for line in group)
                / sum(line["cpu_s"] for line in group),
                **{f"{name}_median": statistics.median(all_) for name, all_ in qualities.items()},
                **{f"{name}_least": min(all_) for name, all_ in qualities.items()},
            }
        )
    return rows


def table(rows: Iterable[Line]) -> str:
    """The rows in Markdown."""
    lines = [
        "| setting | steps skipped | denoising | PSNR, dB: median | least | SSIM: median | least |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        method, value = row["method"], row["value"]
        name = f"`{method}`, {value:g}" if method in THRESHOLDS else f"{value:g} steps"
        lines.append(
            f"| {EXACT if method == EXACT else name} | {row['skipped']:.0%} | "
            f"{row['speed']:.2f} | {row['psnr_db_median']:.1f} | {row['psnr_db_least']:.1f} | "
            f"{row['ssim_median']:.3f} | {row['ssim_least']:.3f} |"
        )
    return "\n".join(lines)


def plot(rows: Sequence[Line], path: Path) -> None:
    """Draw speed against PSNR, a line per method."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.6), dpi=120)
    for method in (*THRESHOLDS, STEPS):
        own = sorted(
            (row["speed"], row["psnr_db_median"], row["value"])
            for row in rows
            if row["method"] == method
        )
        style = {"linestyle": ":", "color": "0.4"} if method == STEPS else {}
        speeds, qualities, _ = zip(*own, strict=True)
        (drawn,) = axes.plot(speeds, qualities, marker="o", markersize=4, label=method, **style)
        for speed, quality, value in own:
            axes.annotate(
                f"{value:g}",
                (speed, quality),
                textcoords="offset points",
                xytext=(4, 4),
                fontsize=7,
                color=drawn.get_color(),
            )
    axes.set_xlabel("denoising, times as fast as exact")
    axes.set_ylabel("PSNR against the exact video, dB (median)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Measure or read lines, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--duration", type=float, default=2.4)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--only", nargs="+", choices=(*THRESHOLDS, STEPS), default=[])
    parser.add_argument("--lines", type=Path, help="file that each video's line is added to")
    parser.add_argument("--read", type=Path, help="measure nothing; take these lines")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    options = parser.parse_args()
    if options.read:
        lines = [json.loads(line) for line in options.read.read_text().splitlines()]
    else:
        lines = []
        for line in measure(
            options.cases, options.only, options.steps, options.repeats, options.duration
        ):
            lines.append(line)
            if options.lines:
                with options.lines.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    rows = summed(lines)
    print(table(rows))
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
