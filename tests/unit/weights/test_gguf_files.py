"""A transformer in a GGUF file is the network that it was made from, up to how it was quantised."""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_hunyuan_video_transformer_to_diffusers
from tests.helpers.gguf_file import write_gguf
from tests.helpers.networks import SMALL, build, predict, relative_error, section_inputs
from torch import Tensor

from framepack.domain.errors import CheckpointError
from framepack.domain.packing import forward_indices
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights import gguf_files
from framepack.weights.checkpoint import load_transformer
from framepack.weights.gguf_files import check_gguf, gguf_shapes, gguf_tensors

gguf: Any = pytest.importorskip("gguf", reason="gguf is not installed")

OTHER: Any = import_module("diffusers.quantizers.gguf.utils")  # which imports gguf

INPUTS = section_inputs(forward_indices(3))


def store(folder: Path, tensors: Mapping[str, Tensor], kind: str = "F32", **rest: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SMALL))
    return write_gguf(folder / "weights.gguf", tensors, kind, **rest)


def state() -> dict[str, Tensor]:
    return dict(build().state_dict())


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("F32", 0, 1e-5),
        ("BF16", 1e-5, 0.02),
        ("F16", 1e-7, 0.002),
        ("Q8_0", 1e-4, 0.03),
        ("Q4_0", 0.005, 0.4),
    ],
)
def test_it_predicts_what_the_exact_one_does(
    tmp_path: Path, kind: str, least: float, most: float
) -> None:
    store(tmp_path, state(), kind)
    model = load_transformer(tmp_path, dtype=torch.float32)
    error = float(relative_error(predict(model, INPUTS), predict(build(), INPUTS)))
    assert least <= error < most
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())


def test_it_computes_in_the_number_format_that_is_asked_for(tmp_path: Path) -> None:
    store(tmp_path, state(), "Q8_0")
    assert load_transformer(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_what_is_stored_plainly_is_the_same_bits(tmp_path: Path) -> None:
    path = store(tmp_path, state())
    read = dict(gguf_tensors(path))
    assert all(torch.equal(tensor, read[name]) for name, tensor in state().items())


@pytest.mark.parametrize("merge", [lambda s: (s[0] * s[1], *s[2:]), lambda s: (s[0], -1)])
def test_kernels_of_five_dimensions_may_be_merged(
    tmp_path: Path, merge: Callable[[Any], Any]
) -> None:
    own = state()
    kernels = [name for name, tensor in own.items() if tensor.ndim == 5]
    stored = {n: t.reshape(merge(t.shape)) if n in kernels else t for n, t in own.items()}
    store(tmp_path, stored)
    read = load_transformer(tmp_path, dtype=torch.float32).state_dict()
    assert kernels
    assert all(torch.equal(read[name], own[name]) for name in own)


def original_names() -> dict[str, Tensor]:
    """A network of one block of each kind as the original HunyuanVideo code names it."""
    width, mlp = 16, 32
    double, single = "double_blocks.0", "single_blocks.0"
    refiner = "txt_in.individual_token_refiner.blocks.0"
    layers = {
        "img_in.proj": (width, 8),
        "time_in.mlp.0": (width, 8),
        "vector_in.in_layer": (width, 8),
        "guidance_in.mlp.2": (width, width),
        "txt_in.input_embedder": (width, 8),
        "txt_in.t_embedder.mlp.0": (width, 8),
        "txt_in.c_embedder.linear_1": (width, 8),
        f"{refiner}.norm1": (width,),
        f"{refiner}.norm2": (width,),
        f"{refiner}.self_attn_qkv": (3 * width, width),
        f"{refiner}.self_attn_proj": (width, width),
        f"{refiner}.mlp.fc1": (mlp, width),
        f"{refiner}.mlp.fc2": (width, mlp),
        f"{refiner}.adaLN_modulation.1": (2 * width, width),
        f"{single}.linear2": (width, width + mlp),
        f"{single}.modulation.linear": (3 * width, width),
        f"{single}.q_norm": (8,),
        f"{single}.k_norm": (8,),
        "final_layer.linear": (8, width),
        "final_layer.adaLN_modulation.1": (2 * width, width),
    }
    for stream in ("img", "txt"):
        layers |= {
            f"{double}.{stream}_mod.linear": (6 * width, width),
            f"{double}.{stream}_attn_qkv": (3 * width, width),
            f"{double}.{stream}_attn_q_norm": (8,),
            f"{double}.{stream}_attn_k_norm": (8,),
            f"{double}.{stream}_attn_proj": (width, width),
            f"{double}.{stream}_mlp.fc1": (mlp, width),
            f"{double}.{stream}_mlp.fc2": (width, mlp),
        }
    tensors = {}
    for name, shape in layers.items():
        tensors[f"{name}.weight"] = torch.randn(shape)
        if not name.endswith(("q_norm", "k_norm")):
            tensors[f"{name}.bias"] = torch.randn(shape[0])
    return tensors


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_original_names_mean_what_diffusers_makes_of_them(tmp_path: Path, prefix: str) -> None:
    tensors = original_names()
    path = write_gguf(tmp_path / "a.gguf", {f"{prefix}{n}": t for n, t in tensors.items()}, "F32")
    found = dict(gguf_tensors(path))
    assert {name: tensor.shape for name, tensor in found.items()} == gguf_shapes(path)
    wanted = convert_hunyuan_video_transformer_to_diffusers(dict(tensors))
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


@pytest.mark.parametrize("leaf", ["weight", "bias"])
def test_the_fused_layer_of_a_single_block_is_shared_out(tmp_path: Path, leaf: str) -> None:
    width, mlp = 4, 10
    fused = {"weight": torch.randn(3 * width + mlp, width), "bias": torch.randn(3 * width + mlp)}
    named = {f"single_blocks.3.linear1.{name}": tensor for name, tensor in fused.items()}
    found = dict(gguf_tensors(write_gguf(tmp_path / "a.gguf", named, "F32")))
    ours = "single_transformer_blocks.3"
    names = [f"{ours}.attn.{part}.{leaf}" for part in ("to_q", "to_k", "to_v")]
    parts = [found[name] for name in (*names, f"{ours}.proj_mlp.{leaf}")]
    wanted = fused[leaf].split([width, width, width, mlp])
    assert all(torch.equal(part, own) for part, own in zip(parts, wanted, strict=True))


@pytest.mark.parametrize(
    "kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
)
def test_numbers_are_those_that_another_reader_finds(tmp_path: Path, kind: str) -> None:
    of = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[of]
    raw = np.random.default_rng(0).integers(0, 60, (4, 2 * size), dtype=np.uint8)
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "framepack")
    writer.add_tensor("a.weight", raw, raw_dtype=of)
    close(writer)
    ((name, found),) = gguf_tensors(path)
    other = OTHER.dequantize_gguf_tensor(
        OTHER.GGUFParameter(torch.from_numpy(raw), quant_type=of)
    ).float()
    assert (name, found.shape) == ("a.weight", (4, 2 * block))
    assert relative_error(found, other) < 1e-3  # the other computes in fp16


def close(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: own.pop("proj_out.weight"), "missing proj_out.weight"),
        (lambda own: own.update(other=torch.ones(3)), "unexpected other"),
        (
            lambda own: own.update({"proj_out.bias": torch.ones(3)}),
            r"of another shape proj_out.bias \[3\], needed",
        ),
        (lambda own: own.pop("proj_out.weight"), "it says it holds flux"),
    ],
)
def test_another_network_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    own = state()
    change(own)
    store(tmp_path, own, architecture="flux")
    with pytest.raises(CheckpointError, match=message):
        load_transformer(tmp_path, dtype=torch.float32)


def test_a_format_that_is_not_read_is_named_with_the_key(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "framepack")
    writer.add_tensor("proj_out.weight", np.zeros((4, 4), np.int8))
    close(writer)
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    with pytest.raises(CheckpointError, match=r"has proj_out\.weight in I8, which is not read"):
        check_gguf(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no such file, but some text" * 9])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or not a GGUF file"):
        check_gguf(tmp_path)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path, state())
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="damaged or not a GGUF file"):
        check_gguf(tmp_path)


def test_rows_that_cannot_be_shared_out_are_refused(tmp_path: Path) -> None:
    tensors = {"double_blocks.0.img_attn_qkv.weight": torch.ones(7, 4)}
    with pytest.raises(CheckpointError, match=r"img_attn_qkv\.weight.*whose rows are not those of"):
        gguf_shapes(write_gguf(tmp_path / "a.gguf", tensors, "F32"))


def test_the_package_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, state())
    monkeypatch.setattr(gguf_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"needs the package gguf.*pip install"):
        check_gguf(tmp_path)


def test_sizes_are_known_from_the_header(tmp_path: Path) -> None:
    path = store(tmp_path, state(), "Q8_0")
    model = FramePackTransformer3DModel(**SMALL)
    wanted = {name: tensor.numel() for name, tensor in model.state_dict().items()}
    assert {name: shape.numel() for name, shape in gguf_shapes(path).items()} == wanted
