"""What is not exact to the bit: compiled blocks, and linear layers in fp8."""

from collections.abc import Iterator
from typing import Any

import torch
from benchmarks.gpu_suite.networks import for_diffusers, pass_arguments
from benchmarks.gpu_suite.runner import Measured, Suite, error_of, in_turn, spent_s
from benchmarks.gpu_suite.steps import ours_of, theirs_of
from torch import nn

_FP8_MODULES = ("attn.", "ff.", "ff_context.", "proj_mlp", "proj_out")


def compiled(suite: Suite) -> Iterator[Measured]:
    """A step with every block compiled; the first pass, which compiles, is told beside it."""
    ours, theirs = ours_of(suite), theirs_of(suite)
    arguments = pass_arguments(suite)
    compile_blocks(ours)
    yield _step(suite, "ours", lambda: ours(**arguments)[0])
    to_theirs = for_diffusers(arguments, suite.device)
    compile_blocks(theirs)
    yield _step(suite, "diffusers", lambda: theirs(**to_theirs)[0])
    suite.kept.pop("ours")
    suite.kept.pop("theirs")


def compile_blocks(transformer: Any) -> None:
    """Have each block compiled when it first runs; blocks of a kind share what is compiled."""
    for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
        block.compile(dynamic=False)


def is_fp8_layer(module: nn.Module, name: str) -> bool:
    """Whether a layer computes in fp8: the blocks' large products, not what steers them."""
    blocks, _, inside = name.partition(".")
    layer = inside.partition(".")[2]  # after the block's number
    return (
        isinstance(module, nn.Linear)
        and blocks in ("transformer_blocks", "single_transformer_blocks")
        and layer.startswith(_FP8_MODULES)
    )


def fp8(suite: Suite) -> Iterator[Measured]:
    """A step with linear layers in fp8, rows scaled as they come, attention in bf16."""
    names = [
        "step",
        "section-estimate",
        "frame-estimate",
        "section-half-the-steps-estimate",
        "frame-half-the-steps-estimate",
    ]
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            PerRow,
            quantize_,
        )
    except ImportError as error:
        for name in names:
            yield Measured(name, None, status=f"not installed: {error}")
        return
    suite.kept.pop("theirs", None)
    ours = ours_of(suite)
    suite.kept.pop("ours")  # no stage after this one gets what is in fp8 now
    config = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    with torch.inference_mode(False), torch.no_grad():
        quantize_(ours, config, is_fp8_layer)
    compile_blocks(ours)
    arguments = pass_arguments(suite)
    row = _step(suite, "step", lambda: ours(**arguments)[0])
    yield row
    step_s, decode = row.value or 0.0, suite.results.get("vae/ours-next")
    decode_s = decode.value if decode is not None and decode.value else 0.0
    for name, steps in zip(names[1:], (25, 25, 13, 13), strict=True):
        section_s = steps * step_s + decode_s
        value = section_s / 36 if name.startswith("frame") else section_s
        yield Measured(name, value, more={"is_estimate": True, "computed_steps": steps})


def _step(suite: Suite, name: str, run: Any) -> Measured:
    results: list[torch.Tensor] = []
    cold_s = spent_s(suite.device, lambda: results.append(run().clone()))
    sizes = suite.sizes
    spent = in_turn(suite.device, {name: run}, warm=sizes.warm, timed=sizes.timed)[name]
    return Measured(
        name,
        spent,
        against="step/diffusers",
        flops=sizes.step_flops,
        relative_error=error_of(results[0], suite.kept["result"])
        if "result" in suite.kept
        else None,
        more={"cold_s": cold_s},
    )
