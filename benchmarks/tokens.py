"""A forward pass against diffusers' over the number of tokens: where does the gain come from?

    OMP_NUM_THREADS=1 PYTHONPATH=src:. python benchmarks/tokens.py [--rounds 5] [--json FILE]

The middle network of ``benchmarks/forward.py``, one thread, fp32, at sizes from a thumbnail on.
One JSON line per size.
"""

import argparse
from pathlib import Path

import torch
from benchmarks.common import JsonLines, machine
from benchmarks.forward import Row, measure

SIZES = ((8, 8), (12, 12), (16, 16), (20, 20), (24, 24))
"""Latent rows and columns, an eighth of the picture's px each."""


@torch.inference_mode()
def main() -> None:
    """Measure, and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    lines = JsonLines(options.json)
    for height, width in SIZES:
        row = Row(f"middle-{height}x{width}", "middle", height, width, torch.float32, 1)
        lines.add({"benchmark": "tokens", **measure(row, options.rounds), **machine()})


if __name__ == "__main__":
    main()
