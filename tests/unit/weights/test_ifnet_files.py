"""Weights for RIFE: published files fit strictly, others are refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.ifnets import LAYOUTS, published_tensors, random_ifnet, save_ifnet

from framepack.domain.errors import CheckpointError, FramePackError, InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.weights.hashing import sha256_file
from framepack.weights.ifnet_files import EMBEDDED_IFNET, check_rife, load_ifnet, rife_hashes


def asked(path: Path | None = None, **fields: Any) -> GenerationRequest:
    values = {"prompt": "x", "interpolate": 2, "interpolation": "rife", "rife_weights": path}
    return GenerationRequest.parse(**{**values, **fields})


@pytest.mark.parametrize("version", LAYOUTS)
def test_published_files_load_strictly(tmp_path: Path, version: str) -> None:
    tensors = published_tensors(version)
    path = tmp_path / "flownet.pkl"
    torch.save(tensors, path)
    network = load_ifnet(path)
    assert network.config == LAYOUTS[version]
    assert not network.training
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[f"module.{key}"])


def test_what_only_training_used_is_passed_over(tmp_path: Path) -> None:
    tensors = published_tensors("4.6")
    tensors["module.teacher.block0.conv0.0.0.weight"] = torch.zeros(1)
    tensors["module.caltime.0.bias"] = torch.zeros(2)
    path = tmp_path / "flownet.safetensors"
    save_file(tensors, path)
    assert load_ifnet(path).config == LAYOUTS["4.6"]


@pytest.mark.parametrize("name", ["own.safetensors", "own.pth"])
def test_either_kind_of_file_gives_the_same_network(tmp_path: Path, name: str) -> None:
    network = random_ifnet()
    loaded = load_ifnet(save_ifnet(network, tmp_path / name))
    frames = torch.rand(2, 1, 3, 32, 32)
    time = torch.tensor([0.4])
    assert torch.equal(loaded(*frames, time), network(*frames, time))


def test_half_precision_is_computed_in_full(tmp_path: Path) -> None:
    tensors = {key: tensor.half() for key, tensor in random_ifnet().state_dict().items()}
    path = tmp_path / "half.safetensors"
    save_file(tensors, path)
    assert {tensor.dtype for tensor in load_ifnet(path).state_dict().values()} == {torch.float32}


def _without(key: str) -> dict[str, torch.Tensor]:
    return {name: t for name, t in published_tensors("4.6").items() if name != key}


CASES: dict[str, tuple[Any, str]] = {
    "no-network": ({"unet.weight": torch.zeros(2)}, "holds no IFNet: it has unet.weight"),
    "missing": (_without("module.block2.lastconv.0.bias"), "missing block2.lastconv.0.bias"),
    "unexpected": (
        {**published_tensors("4.6"), "module.block4.conv0.0.0.weight": torch.zeros(1)},
        "unexpected block4.conv0.0.0.weight",
    ),
    "other-shape": (
        {**published_tensors("4.6"), "module.block1.conv0.0.0.weight": torch.zeros(64, 13, 3, 3)},
        r"block1.conv0.0.0.weight \[64, 13, 3, 3\], needed \[64, 12, 3, 3\]",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_other_networks_are_refused_by_name(tmp_path: Path, case: str) -> None:
    tensors, message = CASES[case]
    path = tmp_path / f"{case}.safetensors"
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=message):
        check_rife(asked(path))


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    for name in ("text.safetensors", "text.pkl", "text.txt"):
        path = tmp_path / name
        path.write_text("no weights")
        with pytest.raises(FramePackError, match=str(path)):
            check_rife(asked(path))


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist; give --rife-weights the path"):
        check_rife(asked(tmp_path / "none.pkl"))
    with pytest.raises(InvalidRequest, match="is a folder"):
        check_rife(asked(tmp_path))


def test_weights_that_are_not_used_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "none.pkl"
    for fields in ({"interpolate": 1}, {"interpolation": "blend"}):
        check_rife(asked(path, **fields))
        assert rife_hashes(asked(path, **fields)) == {}


def test_a_record_names_the_weights_by_their_hash(tmp_path: Path) -> None:
    path = save_ifnet(random_ifnet(), tmp_path / "own.safetensors")
    assert rife_hashes(asked(path)) == {"rife own.safetensors": sha256_file(path)}
    own = rife_hashes(asked())
    assert own == {f"rife {EMBEDDED_IFNET.name}": sha256_file(EMBEDDED_IFNET)}
