"""A step under a cap of device memory: the recipes that others publish, and ours."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from benchmarks.gpu_suite.networks import build_theirs, for_diffusers, pass_arguments
from benchmarks.gpu_suite.runner import (
    Measured,
    Suite,
    error_of,
    in_turn,
    memory_fields,
    out_of_memory,
    reset_peak,
    spent_s,
)
from benchmarks.gpu_suite.steps import ours_of
from diffusers.hooks import apply_group_offloading
from torch import Tensor, nn

from framepack.memory.placement import place_group, section_working_bytes
from framepack.memory.streaming import Streamer
from framepack.models.reuse import Reuse

RECIPES: dict[str, dict[str, Any]] = {
    # As diffusers' documentation of FramePack has it.
    "diffusers-leaf-level": {
        "offload_type": "leaf_level",
        "use_stream": True,
        "low_cpu_mem_usage": True,
    },
    # The fastest that its options allow: blocks, pinned beforehand, no waiting for frees.
    "diffusers-block-level": {
        "offload_type": "block_level",
        "num_blocks_per_group": 1,
        "non_blocking": True,
        "use_stream": True,
        "record_stream": True,
    },
}


def memory(suite: Suite) -> Iterator[Measured]:
    """Steps with weights in host memory, the device's memory capped."""
    suite.kept.pop("theirs", None)
    ours = nn.Module.to(ours_of(suite), "cpu")
    if "vae" in suite.kept:
        suite.kept["vae"].to("cpu")
    for name, recipe in RECIPES.items():
        # diffusers' pipelines run without gradients, not in inference mode.
        with capped(suite), torch.inference_mode(False), torch.no_grad():
            row = _theirs(suite, name, build_theirs(suite, ours), recipe)
        reset_peak(suite)
        yield row
    with capped(suite):
        row = _ours(suite, ours)
    yield row


@contextlib.contextmanager
def capped(suite: Suite) -> Iterator[None]:
    """Have CUDA refuse more than the limit; its own context, some 0.5 GB, is not counted."""
    if not suite.is_cuda:
        yield
        return
    total = torch.cuda.get_device_properties(suite.device).total_memory
    reset_peak(suite)
    torch.cuda.set_per_process_memory_fraction(suite.sizes.limit_bytes / total, suite.device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, suite.device)


def _theirs(suite: Suite, name: str, theirs: Any, recipe: dict[str, Any]) -> Measured:
    """diffusers' group offloading; without a device to copy to, its streams are left out."""
    options = dict(recipe)
    if not suite.is_cuda:
        for option in ("use_stream", "record_stream", "low_cpu_mem_usage"):
            options.pop(option, None)
    arguments = for_diffusers(pass_arguments(suite), suite.device)
    try:
        prepared_s = spent_s(
            suite.device,
            lambda: apply_group_offloading(
                theirs, onload_device=suite.device, offload_device=torch.device("cpu"), **options
            ),
        )
        return _measured(
            suite, name, lambda: theirs(**arguments)[0], {"prepared_s": prepared_s, **options}
        )
    except torch.OutOfMemoryError as error:
        return out_of_memory(name, error)


def _ours(suite: Suite, ours: Any) -> Measured:
    """Our streamer with as many blocks on the device as the cap leaves room for."""
    sizes = suite.sizes
    width = sizes.transformer["num_attention_heads"] * sizes.transformer["attention_head_dim"]
    working = section_working_bytes(sizes.num_tokens, width, suite.dtype.itemsize)
    made: list[Streamer] = []
    prepared_s = spent_s(suite.device, lambda: made.append(Streamer(ours, suite.device)))
    (streamer,) = made
    size = streamer.size("transformer", working)
    mode = "balanced" if suite.is_cuda else "group"
    (placed,) = place_group([size], sizes.limit_bytes, mode)
    arguments, reuse = pass_arguments(suite), Reuse()
    streamer.bring(placed.resident)
    try:
        row = _measured(
            suite,
            "ours",
            lambda: ours(**arguments, reuse=reuse)[0],
            {"prepared_s": prepared_s, "resident_blocks": len(placed.resident)},
        )
    finally:
        streamer.close()
    compared = {
        "ratio_block_level": suite.ratio(row.value, "memory/diffusers-block-level"),
        "ratio_leaf_level": suite.ratio(row.value, "memory/diffusers-leaf-level"),
    }
    return Measured(
        row.name,
        row.value,
        against="step/ours",
        flops=row.flops,
        relative_error=row.relative_error,
        more={**row.more, **compared},
    )


def _measured(suite: Suite, name: str, run: Callable[[], Tensor], more: dict[str, Any]) -> Measured:
    result = run()  # also shows hooks the order of the layers
    error = error_of(result, suite.kept["result"]) if "result" in suite.kept else None
    spent = in_turn(suite.device, {name: run}, warm=0, timed=suite.sizes.streamed)[name]
    return Measured(
        name,
        spent,
        against="step/diffusers",
        flops=suite.sizes.step_flops,
        relative_error=error,
        more={**more, **memory_fields(suite)},
    )
