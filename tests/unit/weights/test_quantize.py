"""Which layers are quantised, what they take, and how near they stay."""

import importlib.util
import sys
import types
from collections.abc import Callable

import pytest
import torch
from tests.helpers.networks import build, predict, section_inputs
from torch import nn

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import forward_indices
from framepack.domain.quantization import QuantFormat, weight_bytes
from framepack.models.tensor_parts import num_bytes
from framepack.weights import quantize
from framepack.weights.quantize import (
    check_format,
    is_quantized,
    quantize_network,
    quantized_layers,
    takes_format,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="torchao is not installed"
)
needs_sdnq = pytest.mark.skipif(
    importlib.util.find_spec("sdnq") is None, reason="sdnq is not installed: its licence is GPL"
)
FORMATS = [
    pytest.param("fp8", marks=needs_torchao),
    pytest.param("int8", marks=needs_torchao),
    pytest.param("int8-dynamic", marks=needs_torchao),
    pytest.param("sdnq-int8", marks=[needs_sdnq, pytest.mark.full]),
    pytest.param("sdnq-uint4", marks=[needs_sdnq, pytest.mark.full]),
]
FARTHEST = {"fp8": 0.1, "int8": 0.03, "int8-dynamic": 0.06, "sdnq-int8": 0.03, "sdnq-uint4": 0.4}
"""Of the prediction, as a share of its size: what random weights stayed under, and some more."""


def quantized(kept_as: QuantFormat, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = build().requires_grad_(False)
    quantize_network(model, "transformer", kept_as, dtype=dtype, device=CPU)
    return model


def test_attentions_and_feed_forwards_of_the_blocks_are_quantised() -> None:
    names = quantized_layers(build(), "transformer")
    assert "transformer_blocks.0.attn.to_q" in names
    assert "transformer_blocks.1.ff_context.net.2" in names
    assert "single_transformer_blocks.0.proj_out" in names
    assert len(names) == 2 * 12 + 2 * 5


@pytest.mark.parametrize(
    "key",
    [
        "transformer_blocks.0.norm1.linear.weight",
        "single_transformer_blocks.0.norm.linear.weight",
        "norm_out.linear.weight",
        "proj_out.weight",
        "x_embedder.proj.weight",
        "context_embedder.proj_in.weight",
        "context_embedder.token_refiner.refiner_blocks.0.attn.to_q.weight",
        "time_text_embed.timestep_embedder.linear_1.weight",
        "image_projection.up.weight",
        "transformer_blocks.0.attn.to_q.bias",
    ],
)
def test_what_everything_passes_through_stays_exact(key: str) -> None:
    assert not takes_format(key, 2, "transformer")


@pytest.mark.parametrize(
    ("key", "num_dims", "taken"),
    [
        ("layers.3.self_attn.q_proj.weight", 2, True),
        ("text_model.encoder.layers.0.mlp.fc1.weight", 2, True),
        ("layers.3.input_layernorm.weight", 1, False),
        ("embed_tokens.weight", 2, False),
        ("text_model.embeddings.position_embedding.weight", 2, False),
        ("vision_model.head.mlp.fc1.weight", 2, False),
    ],
)
def test_encoders_are_quantised_within_their_layers(key: str, num_dims: int, taken: bool) -> None:
    assert takes_format(key, num_dims, "text_encoder") == taken


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kept_as", FORMATS)
def test_the_size_that_is_planned_is_the_size_it_takes(
    kept_as: QuantFormat, dtype: torch.dtype
) -> None:
    plain = {name: tensor.shape for name, tensor in build().state_dict().items()}
    model = quantized(kept_as, dtype)
    planned = 0
    for name, shape in plain.items():
        if takes_format(name, len(shape), "transformer"):
            planned += weight_bytes(kept_as, (shape[0], shape[1]))
        else:
            planned += shape.numel() * dtype.itemsize
    assert num_bytes(model.parameters()) == planned


@pytest.mark.parametrize("kept_as", FORMATS)
def test_a_quantised_network_predicts_nearly_the_same(kept_as: QuantFormat) -> None:
    inputs = section_inputs(forward_indices(3))
    exact = predict(build(), inputs)
    model = quantized(kept_as)
    assert is_quantized(model)
    assert not is_quantized(build())
    error = float((predict(model, inputs) - exact).norm() / exact.norm())
    assert 0 < error < FARTHEST[kept_as]


@needs_torchao
def test_the_network_is_never_whole_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build().requires_grad_(False).to(torch.bfloat16)
    names = {f"{name}.weight" for name in quantized_layers(model, "transformer")}
    on_device: list[int] = []
    quantise: Callable[..., nn.Module] = quantize._quantized

    def counted(layer: nn.Linear, kept_as: QuantFormat, dtype: torch.dtype) -> nn.Module:
        # What has come to the device is in fp32 here, and what has not is in bf16.
        weights = [weight for name, weight in model.named_parameters() if name in names]
        plain = [weight for weight in weights if type(weight) is nn.Parameter]
        on_device.append(sum(weight.dtype == torch.float32 for weight in plain))
        return quantise(layer, kept_as, dtype)

    monkeypatch.setattr(quantize, "_quantized", counted)
    quantize_network(model, "transformer", "int8", dtype=torch.float32, device=CPU)
    assert on_device == [1] * len(names)


@needs_torchao
def test_weights_get_the_number_format_and_buffers_keep_theirs() -> None:
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(8, 8)])
    model.register_buffer("inv_freq", torch.tensor([0.1, 1e-4]), persistent=False)
    quantize_network(model, "text_encoder", "int8", dtype=torch.bfloat16, device=CPU)
    assert model.inv_freq.dtype == torch.float32
    assert model.layers[0].bias.dtype == torch.bfloat16
    assert model.layers[0].weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kept_as", "package", "advice"),
    [
        ("fp8", "torchao", r"pip install 'framepack-studio\[quant\]'"),
        ("nf4", "bitsandbytes", "pip install bitsandbytes"),
        ("sdnq-uint4", "sdnq", "pip install sdnq"),
    ],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, kept_as: QuantFormat, package: str, advice: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidRequest, match=f"needs the package {package}.*{advice}"):
        check_format(kept_as, "transformer", CUDA)


@pytest.mark.parametrize(
    ("kept_as", "message"),
    [
        ("nf4", "runs on CUDA devices only, and the device is cpu"),
        ("fp8-dynamic", r"needs an NVIDIA device of compute capability 8\.9"),
    ],
)
def test_a_device_that_cannot_is_refused(
    monkeypatch: pytest.MonkeyPatch, kept_as: QuantFormat, message: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(InvalidRequest, match=message):
        check_format(kept_as, "text", CPU)


@pytest.mark.parametrize(("capability", "runs"), [((8, 6), False), ((8, 9), True), ((9, 0), True)])
def test_fp8_is_multiplied_by_devices_that_can(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], runs: bool
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    if runs:
        check_format("fp8-dynamic", "transformer", CUDA)
    else:
        with pytest.raises(InvalidRequest, match="fp8-dynamic"):
            check_format("fp8-dynamic", "transformer", CUDA)


class _Params4bit(nn.Parameter):
    """What bitsandbytes makes of a weight on the way to a GPU, as its documentation has it."""

    asked: dict[str, object]

    def __new__(cls, data: torch.Tensor, requires_grad: bool, **asked: object) -> "_Params4bit":
        made: _Params4bit = torch.Tensor._make_subclass(cls, data, requires_grad)
        made.asked = asked
        return made


class _Linear4bit(nn.Linear):
    def __init__(self, width: int, out: int, **asked: object) -> None:
        super().__init__(width, out, bias=bool(asked["bias"]), device="meta")
        self.asked = asked


def test_nf4_hands_the_weight_to_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(
        nn=types.SimpleNamespace(Linear4bit=_Linear4bit, Params4bit=_Params4bit)
    )
    monkeypatch.setitem(sys.modules, "bitsandbytes", fake)
    plain, model = build(), build().requires_grad_(False)
    quantize_network(model, "transformer", "nf4", dtype=torch.bfloat16, device=CPU)
    made = model.get_submodule("transformer_blocks.0.attn.to_q")
    assert isinstance(made, _Linear4bit)
    assert made.asked["compute_dtype"] == torch.bfloat16
    assert made.asked["quant_type"] == "nf4"
    exact = plain.get_submodule("transformer_blocks.0.attn.to_q")
    assert torch.equal(made.weight, exact.weight.bfloat16())
    assert torch.equal(made.bias, exact.bias.bfloat16())
    head = model.get_submodule("transformer_blocks.0.norm1.linear")
    assert type(head) is nn.Linear
