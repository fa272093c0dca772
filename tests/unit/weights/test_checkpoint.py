"""Safetensors files are loaded strictly; what is wrong with them is named."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers.networks import build
from tests.helpers.vae import small_vae

from framepack.domain.errors import CheckpointError, MissingWeights
from framepack.models.autoencoder import DirectConv3d
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.checkpoint import (
    find_weight_files,
    load_state_dict,
    load_transformer,
    load_vae,
    num_parameters,
)

INDEX = "diffusion_pytorch_model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sharded transformer."""
    build().save_pretrained(tmp_path, max_shard_size="300KB")
    assert (tmp_path / INDEX).is_file()
    return tmp_path


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _rewrite(path: Path, **changes: torch.Tensor | None) -> None:
    tensors: dict[str, Any] = load_file(path) | changes
    save_file({name: value for name, value in tensors.items() if value is not None}, path)


def test_a_sharded_transformer_is_restored(folder: Path) -> None:
    expected = build().state_dict()
    loaded = load_transformer(folder, dtype=torch.float32)
    assert isinstance(loaded, FramePackTransformer3DModel)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    found = loaded.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_every_tensor_takes_the_dtype_asked_for(folder: Path) -> None:
    loaded = load_transformer(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


def test_parameters_are_counted_without_reading_them(folder: Path) -> None:
    count = sum(parameter.numel() for parameter in build().parameters())
    assert num_parameters(find_weight_files(folder)) == count


def test_a_missing_shard_is_named(folder: Path) -> None:
    gone = _shards(folder)[1]
    gone.unlink()
    with pytest.raises(MissingWeights, match=f"missing: {gone.name}"):
        load_transformer(folder, dtype=torch.float32)


def test_a_cut_off_shard_is_named(folder: Path) -> None:
    path = _shards(folder)[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{path.name} is damaged"):
        load_transformer(folder, dtype=torch.float32)


def test_a_shard_that_contradicts_the_index_is_refused(folder: Path) -> None:
    path = _shards(folder)[0]
    name = sorted(load_file(path))[0]
    _rewrite(path, **{name: None, "stowaway": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=rf"its index: missing {name}; unexpected stowaway"):
        load_transformer(folder, dtype=torch.float32)


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    _rewrite(path, **{"proj_out.bias": None, "proj_out.extra": torch.zeros(2)})
    with pytest.raises(
        CheckpointError, match=r"missing proj_out\.bias; unexpected proj_out\.extra"
    ):
        load_transformer(tmp_path, dtype=torch.float32)


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    _rewrite(path, **{"proj_out.bias": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"proj_out\.bias \[3\], needed \[64\]"):
        load_transformer(tmp_path, dtype=torch.float32)


def test_an_unknown_config_field_is_named(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_experts": 8}))
    with pytest.raises(CheckpointError, match="num_experts"):
        load_transformer(tmp_path, dtype=torch.float32)


def test_an_index_cannot_name_files_elsewhere(folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="beside the index"):
        load_state_dict(folder)


@pytest.mark.parametrize("name", ["model.pth", "model.pkl", "pytorch_model.bin"])
def test_pickle_files_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(CheckpointError, match=rf"{name}: such pickle files can run any code"):
        find_weight_files(tmp_path)


def test_several_files_without_an_index_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({name: torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match="without an index"):
        find_weight_files(tmp_path)


def test_a_half_precision_copy_beside_the_original_is_left_alone(tmp_path: Path) -> None:
    for name in ("model", "model.fp16"):
        save_file({"weight": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    assert [path.name for path in find_weight_files(tmp_path).files] == ["model.safetensors"]


def test_an_empty_folder_is_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"no \.safetensors file"):
        find_weight_files(tmp_path)


def test_a_loaded_vae_uses_direct_convolutions(tmp_path: Path) -> None:
    vae = small_vae()
    vae.save_pretrained(tmp_path)
    loaded = load_vae(tmp_path, dtype=torch.float32)
    convolutions = [m for m in loaded.modules() if isinstance(m, torch.nn.Conv3d)]
    assert convolutions
    assert all(isinstance(module, DirectConv3d) for module in convolutions)
    assert loaded.state_dict().keys() == vae.state_dict().keys()
