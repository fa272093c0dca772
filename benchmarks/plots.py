"""Draw the pictures of docs/benchmarks.md from the rows that benchmarks have written.

    PYTHONPATH=src:. python benchmarks/plots.py [--rows docs/benchmarks] [--images docs/images]

Needs matplotlib, which nothing else here does. The rows come from

    python benchmarks/tokens.py --json docs/benchmarks/tokens.jsonl
    python benchmarks/length.py --steps 2 --json docs/benchmarks/length.jsonl
    python benchmarks/pipeline.py ... > docs/benchmarks/pipeline.jsonl

Backgrounds are transparent and colours of middle lightness, for light and dark pages alike.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmarks.common import ROOT, read_lines

mpl.use("agg")
from matplotlib import pyplot as plt

OURS, THEIRS, THIRD, TEXT = "#2f81d7", "#d9822b", "#2f9e77", "#808893"
STYLE = {
    "figure.dpi": 120,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "legend.frameon": False,
}
Rows = Sequence[dict[str, Any]]


def draw_tokens(rows: Rows) -> Any:
    """The ratio to diffusers over the tokens, and the seconds that it is of."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7), layout="constrained")
    tokens = [row["tokens"] for row in rows]
    left.plot(tokens, [row["ratio"] for row in rows], "o-", color=OURS, label="with tables kept")
    left.plot(
        tokens, [row["ratio_alone"] for row in rows], "o--", color=THIRD, label="with nothing kept"
    )
    left.axhline(1, color=THEIRS, linewidth=1)
    left.set(title="times as fast as diffusers", xlabel="tokens", ylim=(0, 2.25))
    left.legend()
    for name, label, colour in (("diffusers", "diffusers", THEIRS), ("reuse", "ours", OURS)):
        right.plot(tokens, [row["cpu_s"][name] for row in rows], "o-", color=colour, label=label)
    right.set(title="CPU seconds of a pass", xlabel="tokens", ylim=(0, None))
    right.legend()
    return figure


def draw_length(rows: Rows) -> Any:
    """Seconds and memory of each section along a long video."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7), layout="constrained")
    for row, colour in zip(rows, (OURS, THIRD), strict=False):
        seconds, memory = row["cpu_s_of_sections"], row["mb_after_sections"]
        numbers = range(1, len(seconds) + 1)
        usual = statistics.median(seconds)
        left.plot(numbers, [each / usual for each in seconds], color=colour, label=row["variant"])
        right.plot(
            numbers, [each - memory[4] for each in memory], color=colour, label=row["variant"]
        )
    left.set(title="CPU time of a section, by the median", xlabel="section", ylim=(0, 2))
    right.axhline(rows[0]["growth_mb_allowed"], color=THEIRS, linewidth=1, linestyle=":")
    right.text(1, rows[0]["growth_mb_allowed"] + 2, "wanted: below this", fontsize=8)
    right.set(title="memory against section 5, MB", xlabel="section", ylim=(-30, 70))
    left.legend(loc="lower right")
    return figure


def draw_pipeline(rows: Rows) -> Any:
    """Denoising, decoding and writing a video, ours and diffusers' side by side."""
    cases = sorted({(row["variant"], row["size_px"]) for row in rows})
    names = {(row["variant"], row["size_px"], row["row"]): row for row in rows}
    figure, axes = plt.subplots(
        len(cases), 1, figsize=(7.2, 0.5 + 0.95 * len(cases)), layout="constrained", squeeze=False
    )
    for case, axis in zip(cases, axes[:, 0], strict=True):
        for place, side in enumerate(("ours", "diffusers")):
            ends = [names[(*case, each)][f"{side}_cpu_s"] for each in ("latents", "decode", "file")]
            parts = [ends[0], ends[1] - ends[0], ends[2] - ends[1]]
            begun = 0.0
            for part, colour in zip(parts, (OURS, THEIRS, THIRD), strict=True):
                axis.barh(place, part, left=begun, color=colour, height=0.7)
                begun += part
            axis.text(begun, place, f"  {begun:.1f} s", va="center", fontsize=8)
        ratio = names[(*case, "file")]["ratio"]
        axis.set_yticks([0, 1], ["ours", "diffusers"])
        axis.invert_yaxis()
        axis.set_xlim(0, 1.1 * max(axis.get_xlim()[1], 0.1))
        axis.set_title(f"{case[0]}, {case[1]} px: {ratio:.2f} times as fast, with the file")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (OURS, THEIRS, THIRD)]
    figure.legend(handles, ["denoising", "decoding", "file"], loc="outside lower center", ncols=3)
    return figure


DRAWN = {"tokens": draw_tokens, "length": draw_length, "pipeline": draw_pipeline}


def main() -> None:
    """Draw all pictures whose rows are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=ROOT / "docs/benchmarks")
    parser.add_argument("--images", type=Path, default=ROOT / "docs/images")
    options = parser.parse_args()
    with mpl.rc_context(STYLE):
        for name, draw in DRAWN.items():
            path = options.rows / f"{name}.jsonl"
            if not path.is_file():
                print(f"{path} is not there; {name} is left as it is")
                continue
            picture = options.images / f"bench-{name}.webp"
            figure = draw(read_lines(path))
            figure.savefig(picture, transparent=True, pil_kwargs={"lossless": True})
            print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
