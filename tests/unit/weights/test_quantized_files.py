"""A network that is stored quantised is read as it is, whoever stored it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers.networks import SMALL, build, predict, section_inputs

from framepack.domain.errors import CheckpointError
from framepack.domain.packing import forward_indices
from framepack.domain.quantization import QuantFormat
from framepack.models.tensor_parts import is_composed, num_bytes
from framepack.weights.checkpoint import load_transformer
from framepack.weights.quantize import quantize_network
from framepack.weights.quantized_files import (
    check_stored,
    save_quantized,
    stored_method,
    stored_sizes,
)

pytest.importorskip("torchao", reason="torchao is not installed")

CPU = torch.device("cpu")
FILE = "diffusion_pytorch_model.safetensors"


def stored(folder: Path, kept_as: QuantFormat = "int8") -> torch.Tensor:
    """Store a quantised network; return what it predicts."""
    model = build().requires_grad_(False)
    quantize_network(model, "transformer", kept_as, dtype=torch.float32, device=CPU)
    save_quantized(model, folder, SMALL, kept_as)
    return predict(model, section_inputs(forward_indices(3)))


@pytest.mark.parametrize("kept_as", ["fp8", "int8", "int8-dynamic"])
def test_it_is_read_as_it_was_stored(tmp_path: Path, kept_as: QuantFormat) -> None:
    wanted = stored(tmp_path, kept_as)
    model = load_transformer(tmp_path, dtype=torch.float32)
    assert is_composed(model.transformer_blocks[0].attn.to_q.weight)
    # Exact weights are used from the file, where they begin at any byte, so products round anew.
    torch.testing.assert_close(predict(model, section_inputs(forward_indices(3))), wanted)


def test_it_computes_in_the_number_format_that_is_asked_for(tmp_path: Path) -> None:
    stored(tmp_path, "fp8")
    model = load_transformer(tmp_path, dtype=torch.bfloat16)
    inputs = section_inputs(forward_indices(3))
    halves = {n: t.bfloat16() if t.is_floating_point() else t for n, t in inputs.items()}
    exact = predict(build().bfloat16(), halves).float()
    error = (predict(model, halves).float() - exact).norm() / exact.norm()
    assert model.dtype == torch.bfloat16
    assert 0 < float(error) < 0.1


def test_its_size_is_known_from_the_headers(tmp_path: Path) -> None:
    stored(tmp_path)
    model = load_transformer(tmp_path, dtype=torch.bfloat16)
    assert sum(stored_sizes(tmp_path, torch.bfloat16).values()) == num_bytes(model.parameters())


def test_its_config_says_what_it_was_stored_with(tmp_path: Path) -> None:
    stored(tmp_path)
    assert stored_method(tmp_path) == "torchao"
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    assert stored_method(tmp_path) is None


@pytest.mark.parametrize("method", ["bitsandbytes", "gguf", "sdnq"])
def test_another_layout_is_refused(tmp_path: Path, method: str) -> None:
    stored(tmp_path)
    config = {**SMALL, "quantization_config": {"quant_method": method}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"stored quantised with {method}; only torchao"):
        check_stored(tmp_path)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    stored(tmp_path)
    from safetensors import safe_open

    with safe_open(tmp_path / FILE, framework="pt") as shard:
        header = shard.metadata()
    tensors = load_file(tmp_path / FILE)
    del tensors["transformer_blocks.0.attn.to_q._weight_scale"]
    save_file(tensors, tmp_path / FILE, metadata=header)
    with pytest.raises(CheckpointError, match=r"lacks parts of transformer_blocks\.0\.attn\.to_q"):
        load_transformer(tmp_path, dtype=torch.float32)


def test_a_file_in_another_layout_is_refused(tmp_path: Path) -> None:
    stored(tmp_path)
    save_file(load_file(tmp_path / FILE), tmp_path / FILE)
    with pytest.raises(CheckpointError, match="not in torchao's safetensors layout"):
        load_transformer(tmp_path, dtype=torch.float32)


@pytest.mark.full
def test_what_diffusers_stores_is_read(tmp_path: Path) -> None:
    """The layout of another program: diffusers quantises and saves, and this package reads."""
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    from framepack.models.transformer import FramePackTransformer3DModel

    build().save_pretrained(tmp_path / "plain")
    theirs = FramePackTransformer3DModel.from_pretrained(
        tmp_path / "plain",
        torch_dtype=torch.float32,
        quantization_config=TorchAoConfig(Int8WeightOnlyConfig()),
    )
    theirs.save_pretrained(tmp_path / "stored")
    model = load_transformer(tmp_path / "stored", dtype=torch.float32)
    assert is_composed(model.transformer_blocks[0].norm1.linear.weight)
    assert not is_composed(model.proj_out.weight)  # the head multiplies in fp32
    inputs = section_inputs(forward_indices(3))
    exact = predict(build(), inputs)
    assert 0 < float((predict(model, inputs) - exact).norm() / exact.norm()) < 0.05
