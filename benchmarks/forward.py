"""One forward pass of our transformer against diffusers' class with the same weights.

    PYTHONPATH=src:. python benchmarks/forward.py [--rounds 15] [--rows NAME ...] [--json FILE]

Each row builds both networks once and runs them in turn in one process, so that whatever else the
machine does meets both alike. Time is the process's CPU seconds, of all threads; the least of all
rounds counts. Our network runs as in sampling: projections packed, without gradients, once with
what earlier sections of the video left (`reuse`), once without (`alone`), and once like `reuse` but
with attention by torch's own choice (`sdpa`). With `--compile` also with its blocks compiled
(`compiled`), which goes by the modules and not by the packed projections. Prints one line of JSON
per row.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.common import ROOT, machine
from diffusers import HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

from framepack.domain.choices import AttentionName
from framepack.domain.packing import inverted_indices
from framepack.models.attention import use_backend
from framepack.models.cpu_attention import DTYPES
from framepack.models.linear import prefers_onednn_attention
from framepack.models.reuse import Reuse
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.device import has_fast_bf16

MIDDLE: dict[str, Any] = {
    "num_attention_heads": 6,
    "attention_head_dim": 64,
    "num_layers": 4,
    "num_single_layers": 8,
    "num_refiner_layers": 2,
    "text_embed_dim": 256,
    "pooled_projection_dim": 128,
    "rope_axes_dim": (16, 24, 24),
    "image_proj_dim": 128,
    "has_image_proj": True,
    "has_clean_x_embedder": True,
}
"""47 million parameters in the proportions of the published network."""


@dataclass(frozen=True)
class Row:
    """What is measured: a network, the latent size in latent px, and how it is computed."""

    name: str
    size: str
    height: int
    width: int
    dtype: torch.dtype
    threads: int


def rows() -> list[Row]:
    """All rows that this machine computes natively."""
    formats = {"fp32": torch.float32}
    if has_fast_bf16(torch.device("cpu")):
        formats["bf16"] = torch.bfloat16
    sizes = (("middle", 24, 20), ("middle", 8, 8), ("tiny", 24, 20), ("tiny", 8, 8))
    return [
        Row(f"{size}-{height}x{width}-{name}-{threads}", size, height, width, dtype, threads)
        for name, dtype in formats.items()
        for size, height, width in sizes
        for threads in (1, 2)
    ]


def config(size: str) -> dict[str, Any]:
    """Constructor arguments of a network of that size."""
    if size == "middle":
        return MIDDLE
    path = ROOT / "src/framepack/assets/tiny/transformer/config.json"
    return {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith("_")}


def inputs(row: Row, fields: dict[str, Any]) -> dict[str, Any]:
    """Random arguments of one pass: a section in the middle of a video, 30 prompt tokens."""
    generator = torch.Generator().manual_seed(1)
    indices = inverted_indices(1, 9)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(row.dtype)

    arguments: dict[str, Any] = {
        "timestep": torch.tensor([700.0]),
        "guidance": torch.tensor([10_000.0]),
        "encoder_hidden_states": normal(1, 30, fields["text_embed_dim"]),
        "encoder_attention_mask": torch.ones(1, 30),
        "pooled_projections": normal(1, fields["pooled_projection_dim"]),
        "image_embeds": normal(1, 16, fields["image_proj_dim"]),
        "return_dict": False,
    }
    tiers = {
        "latents": ("hidden_states", indices.noisy),
        "latents_clean": ("latents_clean", indices.clean),
        "latents_history_2x": ("latents_history_2x", indices.history_2x),
        "latents_history_4x": ("latents_history_4x", indices.history_4x),
    }
    channels = fields.get("in_channels", 16)
    for name, (argument, frames) in tiers.items():
        arguments[argument] = normal(1, channels, len(frames), row.height, row.width)
        arguments[f"indices_{name}"] = torch.tensor(frames)
    return arguments


def networks(
    fields: dict[str, Any], dtype: torch.dtype
) -> tuple[FramePackTransformer3DModel, HunyuanVideoFramepackTransformer3DModel]:
    """Ours, packed, and diffusers' with the same random weights."""
    generator = torch.Generator().manual_seed(0)
    theirs = HunyuanVideoFramepackTransformer3DModel(**fields).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            scale = 0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    ours = FramePackTransformer3DModel(**fields).eval()
    ours.load_state_dict(theirs.state_dict())
    for model in (ours, theirs):
        torch.nn.Module.to(model, dtype)
    ours.pack_projections()
    return ours, theirs


def measure(row: Row, rounds: int, *, compiled: bool = False) -> dict[str, Any]:
    """Least CPU seconds of a pass each way, and how far the outputs lie apart."""
    torch.set_num_threads(row.threads)
    fields = config(row.size)
    ours, theirs = networks(fields, row.dtype)
    arguments = inputs(row, fields)
    kept = Reuse()
    rule: AttentionName = "onednn" if _takes_onednn(row) else "sdpa"
    ways: dict[str, Callable[[], Tensor]] = {
        "diffusers": lambda: theirs(**arguments)[0],
        "alone": lambda: ours(**arguments)[0],
        "reuse": lambda: ours(**arguments, reuse=kept)[0],
        "sdpa": lambda: ours(**arguments, reuse=kept)[0],
    }
    first_pass_s = None
    if compiled:
        blocks = copy.deepcopy(ours)
        blocks.compile_repeated_blocks()
        ways["compiled"] = lambda: blocks(**arguments, reuse=kept)[0]
        began = time.perf_counter()
        ways["compiled"]()
        first_pass_s = round(time.perf_counter() - began, 1)
    outputs: dict[str, Tensor] = {}
    cpu_s = dict.fromkeys(ways, float("inf"))
    wall_s = dict.fromkeys(ways, float("inf"))
    for number in range(rounds + 1):
        for name, run in ways.items():
            use_backend(ours, "sdpa" if name == "sdpa" else rule)
            before, began = time.process_time(), time.perf_counter()
            output = run()
            if number == 0:  # warms up
                outputs[name] = output.float()
                continue
            wall_s[name] = min(wall_s[name], time.perf_counter() - began)
            cpu_s[name] = min(cpu_s[name], time.process_time() - before)
    expected = outputs["diffusers"]
    num_tokens = sum(part.shape[1] for part, _ in kept.section["history"])
    num_tokens += 9 * row.height * row.width // 4 + 16 + 30
    return {
        "row": row.name,
        "tokens": num_tokens,
        "parameters": sum(p.numel() for p in ours.parameters()),
        "threads": row.threads,
        "attention": rule,
        "cpu_s": {name: round(value, 5) for name, value in cpu_s.items()},
        "wall_s": {name: round(value, 5) for name, value in wall_s.items()},
        "ratio": round(cpu_s["diffusers"] / cpu_s["reuse"], 3),
        "ratio_alone": round(cpu_s["diffusers"] / cpu_s["alone"], 3),
        "ratio_sdpa": round(cpu_s["diffusers"] / cpu_s["sdpa"], 3),
        "relative_error": _distance(outputs["reuse"], expected),
        "relative_errors": {
            name: _distance(each, expected) for name, each in outputs.items() if name != "diffusers"
        },
        "reuse_is_bit_equal": torch.equal(outputs["reuse"], outputs["alone"]),
        "first_compiled_pass_s": first_pass_s,
    }


def _takes_onednn(row: Row) -> bool:
    return row.dtype in DTYPES and prefers_onednn_attention()


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", nargs="+", help="only rows whose name starts with one of these")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = []
    for row in rows():
        if options.rows is None or row.name.startswith(tuple(options.rows)):
            lines.append(
                json.dumps({**measure(row, options.rounds, compiled=options.compile), **machine()})
            )
            print(lines[-1], flush=True)
    if options.json:
        options.json.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
