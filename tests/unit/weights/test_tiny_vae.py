"""Weights of the tiny VAE: read strictly, whatever the file is, and never run."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers.tiny_vae import SMALL_LAYOUT, random_tiny_vae, save_tiny_vae

from framepack.domain.errors import CheckpointError
from framepack.weights import pickled
from framepack.weights.tiny_vae import load_tiny_vae, read_tiny_vae_layout


@pytest.mark.parametrize("name", ["taehv.safetensors", "taehv.pth"])
def test_either_file_gives_the_same_network(tmp_path: Path, name: str) -> None:
    network = random_tiny_vae()
    path = save_tiny_vae(network, tmp_path / name)
    assert read_tiny_vae_layout(path) == SMALL_LAYOUT
    loaded = load_tiny_vae(path, dtype=torch.float32)
    latents = torch.randn(1, 4, 3, 2, 2)
    assert torch.equal(loaded.decode(latents), network.decode(latents))
    assert not loaded.training
    assert load_tiny_vae(path, dtype=torch.bfloat16).decoder[1].weight.dtype == torch.bfloat16


def test_a_pickle_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_tiny_vae(random_tiny_vae(seed=5), tmp_path / "taehv.pth")
    first = load_tiny_vae(path, dtype=torch.float32)
    monkeypatch.setattr(torch, "load", None)
    again = load_tiny_vae(path, dtype=torch.float32)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix != ".toml") == [
        "taehv.pth"
    ]


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("was-run"),)  # type: ignore[return-value]


def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "taehv.pth"
    torch.save({"decoder.1.weight": _Evil()}, path)
    with pytest.raises(CheckpointError, match="holds more than tensors and could run"):
        read_tiny_vae_layout(path)
    assert not Path("was-run").exists()


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = save_tiny_vae(random_tiny_vae(), tmp_path / "whole.pth").read_bytes()
    cases = {
        "cut.pth": whole[: len(whole) // 2],
        "empty.pth": b"",
        "text.pth": b"no weights at all",
        "text.safetensors": b"no weights at all",
        "other.pth": pickle.dumps([1, 2, 3]),
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name) as found:
            read_tiny_vae_layout(path)
        assert "\n" not in str(found.value)
    torch.save({"epoch": 3, "model": {}}, tmp_path / "nested.pth")
    with pytest.raises(CheckpointError, match="no dictionary from names to tensors"):
        read_tiny_vae_layout(tmp_path / "nested.pth")


def test_an_unwritable_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_tiny_vae(random_tiny_vae(seed=6), tmp_path / "taehv.pth")
    (tmp_path / "cache").write_text("a file in the place of a folder")
    monkeypatch.setattr(pickled, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    with pytest.raises(CheckpointError, match="cannot be converted, because"):
        read_tiny_vae_layout(path)


def test_tensors_that_do_not_match_are_named(tmp_path: Path) -> None:
    path = save_tiny_vae(random_tiny_vae(), tmp_path / "taehv.safetensors")
    tensors = load_file(path)
    del tensors["decoder.9.conv.2.bias"]
    tensors["decoder.23.weight"] = torch.zeros(3)
    tensors["decoder.10.conv.0.weight"] = torch.zeros(6, 6, 3, 3)
    save_file(tensors, path)
    for read in (read_tiny_vae_layout, lambda path: load_tiny_vae(path, dtype=torch.float32)):
        with pytest.raises(CheckpointError) as found:
            read(path)
        text = str(found.value)
        assert "does not fit the TAEHV layout: missing decoder.9.conv.2.bias" in text
        assert "unexpected decoder.23.weight" in text
        assert "decoder.10.conv.0.weight [6, 6, 3, 3], needed [6, 12, 3, 3]" in text


def test_weights_of_something_else_say_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"needed: a file of github\.com/madebyollin/taehv"):
        read_tiny_vae_layout(path)
