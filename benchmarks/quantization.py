"""What quantised weights save and what they cost, against the exact video of the same seed.

    OMP_NUM_THREADS=1 python benchmarks/quantization.py --lines rows.jsonl [--repeats 2] [--only F]
    python benchmarks/quantization.py --read rows.jsonl
    python benchmarks/quantization.py --picture docs/images/quantisation.webp

The same videos are made exactly and in each format, in turn, all in one process. Memory is that of
the transformer's weights. Time is the process's CPU seconds in the steps of the section rendered
first; of several runs the least counts. Exact weights run fused and quantised ones block by block;
``blocks`` is exact weights block by block. PSNR is between the raw frames of two videos, all
frames together; SSIM is the mean over frames. Each video adds one JSON line.
"""

import argparse
import importlib.util
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.common import JsonLines, machine, read_lines
from benchmarks.step_cache import CASES, Frames, first_section, make, psnr, ssim
from PIL import Image

import framepack
from framepack.domain.settings import Settings
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.offloading import stored_bytes

EXACT, BLOCKS = "exact", "blocks"
FORMATS = ("fp8", "int8", "int8-dynamic", "sdnq-int8", "sdnq-uint4")
SHOWN = ("exact", "fp8", "int8", "sdnq-uint4")

Line = dict[str, Any]


def loaded(name: str, dtype: str) -> Components:
    """The tiny model with its transformer in a format."""
    quantize = name if name not in (EXACT, BLOCKS) else ""
    settings = Settings.load(device="cpu", dtype=dtype, quantize=quantize)
    components = load_components(resolve_spec("tiny"), settings)
    if name == BLOCKS:
        _unfuse(components)
    return components


def _unfuse(components: Components) -> None:
    """Have blocks run one by one, as a hook on any of them makes them do."""
    components.transformer.transformer_blocks[0].register_forward_pre_hook(lambda *_: None)


def names(only: Sequence[str]) -> list[str]:
    """What can be measured here, the exact way first."""
    known = [each for each in FORMATS if not each.startswith("sdnq") or _has("sdnq")]
    return [EXACT, BLOCKS, *(each for each in known if not only or each in only)]


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def measure(
    cases: Sequence[str],
    only: Sequence[str],
    *,
    dtype: str,
    steps: int,
    repeats: int,
    duration_s: float,
) -> Iterator[Line]:
    """One line per case and format."""
    chosen = {name: loaded(name, dtype) for name in names(only)}
    for case in cases:
        asked = {"num_inference_steps": steps, "seed": 7, "duration_s": duration_s, **CASES[case]}
        lines: dict[str, Line] = {}
        exact: Frames | None = None
        for name, components in chosen.items():
            with tempfile.TemporaryDirectory() as folder:
                spent, frames, _ = make(components, Path(folder), **asked)
            exact = frames if exact is None else exact
            transformer = components.networks.slots["transformer"].modules
            lines[name] = {
                "case": case,
                "format": name,
                "dtype": dtype,
                "steps": steps,
                "weight_bytes": stored_bytes(transformer),
                "denoise_s": spent,
                "psnr_db": psnr(frames, exact),
                "ssim": ssim(frames, exact),
                **machine(),
            }
        for _ in range(repeats - 1):
            for name, components in chosen.items():
                spent = _again(components, asked)
                lines[name]["denoise_s"] = min(lines[name]["denoise_s"], spent)
        yield from lines.values()


def _again(components: Components, asked: Line) -> float:
    with tempfile.TemporaryDirectory() as folder:
        events = framepack.stream(
            output=f"{folder}/out.mp4", run_dir=f"{folder}/run", components=components, **asked
        )
        spent = first_section(events)
        events.close()  # type: ignore[attr-defined]
    return spent


def table(rows: Sequence[Line]) -> str:
    """The rows as Markdown, all cases together."""
    lines = [
        "| weights | number format | size | denoising | PSNR, dB: median | least | SSIM: least |",
        "|---|---|---|---|---|---|---|",
    ]
    by_key: dict[tuple[str, str], list[Line]] = {}
    for row in rows:
        by_key.setdefault((row["dtype"], row["format"]), []).append(row)
    for (dtype, name), own in by_key.items():
        exact = by_key[dtype, EXACT]
        speed = sum(row["denoise_s"] for row in exact) / sum(row["denoise_s"] for row in own)
        decibels = [row["psnr_db"] for row in own if row["psnr_db"] is not None]
        median = f"{statistics.median(decibels):.1f}" if decibels else "same"
        least = f"{min(decibels):.1f}" if decibels else "same"
        share = own[0]["weight_bytes"] / exact[0]["weight_bytes"]
        lines.append(
            f"| {name} | {dtype} | {own[0]['weight_bytes'] / 1e6:.1f} MB ({share:.0%}) | "
            f"{speed:.2f}x | {median} | {least} | {min(row['ssim'] for row in own):.3f} |"
        )
    return "\n".join(lines)


def picture(path: Path, *, steps: int, duration_s: float) -> None:
    """A frame from the middle of each case's video, a row for each format."""
    rows: list[Any] = []
    for name in [each for each in SHOWN if each in names(())]:
        components = loaded(name, "float32")
        shown = []
        for case in CASES.values():
            asked = {"num_inference_steps": steps, "seed": 7, "duration_s": duration_s, **case}
            with tempfile.TemporaryDirectory() as folder:
                _, frames, _ = make(components, Path(folder), **asked)
            shown.append(frames[len(frames) // 2])
        height = min(frame.shape[0] for frame in shown)
        fitted = [
            Image.fromarray(frame).resize((frame.shape[1] * height // frame.shape[0], height))
            for frame in shown
        ]
        rows.append(np.concatenate([np.asarray(frame) for frame in fitted], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path, lossless=True)


def main() -> None:
    """Measure, read, or show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--duration", type=float, default=1.6)
    parser.add_argument("--case", action="append", choices=tuple(CASES))
    parser.add_argument("--only", action="append", default=[], choices=FORMATS)
    parser.add_argument("--lines", type=Path)
    parser.add_argument("--read", type=Path, action="append")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.picture:
        picture(options.picture, steps=options.steps, duration_s=options.duration)
        return
    if options.read:
        print(table([row for path in options.read for row in read_lines(path)]))
        return
    lines = JsonLines(options.lines)
    rows = []
    for row in measure(
        options.case or tuple(CASES),
        options.only,
        dtype=options.dtype,
        steps=options.steps,
        repeats=options.repeats,
        duration_s=options.duration,
    ):
        lines.add(row)
        rows.append(row)
    print(table(rows))


if __name__ == "__main__":
    main()
