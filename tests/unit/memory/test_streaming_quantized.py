"""Quantised weights are streamed by their parts, and compute the same bits."""

from typing import Literal

import pytest
import torch
from tests.helpers.networks import build, predict, section_inputs

from framepack.domain.packing import forward_indices
from framepack.domain.quantization import QuantFormat
from framepack.memory.streaming import Streamer
from framepack.models.tensor_parts import num_bytes, parts_of
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.quantize import quantize_network

pytest.importorskip("torchao", reason="torchao is not installed")

CPU = torch.device("cpu")


def quantized(kept_as: QuantFormat) -> FramePackTransformer3DModel:
    model = build().requires_grad_(False)
    quantize_network(model, "transformer", kept_as, dtype=torch.float32, device=CPU)
    return model


@pytest.mark.parametrize("kept_as", ["fp8", "int8", "int8-dynamic"])
@pytest.mark.parametrize(("by", "resident"), [("block", ()), ("block", (0, 3)), ("layer", ())])
def test_streamed_quantised_weights_give_the_same_bits(
    kept_as: QuantFormat, by: Literal["block", "layer"], resident: tuple[int, ...]
) -> None:
    inputs, model = section_inputs(forward_indices(3)), quantized(kept_as)
    wanted = predict(model, inputs)
    streamer = Streamer(model, CPU, by=by)
    streamer.bring(resident)
    for _ in range(2):
        assert torch.equal(predict(model, inputs), wanted)
    streamer.close()
    assert torch.equal(predict(model, inputs), wanted)


@pytest.mark.parametrize("from_disk", [False, True])
def test_parts_stay_as_they_are(from_disk: bool) -> None:
    model = quantized("int8")
    before = {name: parts_of(weight) for name, weight in model.state_dict().items()}
    streamer = Streamer(model, CPU, from_disk=from_disk)
    streamer.bring()
    predict(model, section_inputs(forward_indices(3)))
    streamer.release()
    for name, weight in model.state_dict().items():
        for part, other in zip(parts_of(weight), before[name], strict=True):
            assert part.dtype == other.dtype
            assert torch.equal(part, other)


def test_only_the_parts_take_memory_of_the_device() -> None:
    model = quantized("int8")
    streamer = Streamer(model, CPU)
    size = streamer.size("transformer")
    assert size.weight_bytes == pytest.approx(num_bytes(model.parameters()), rel=0.3)
    plain = Streamer(build().requires_grad_(False), CPU).size("transformer")
    assert max(size.block_bytes) < 0.75 * max(plain.block_bytes)
