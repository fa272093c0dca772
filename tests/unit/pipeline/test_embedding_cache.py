"""Embeddings come back to the bit or not at all, and take no more room than they may."""

import os
from pathlib import Path

import pytest
import torch

from framepack.pipeline.embedding_cache import EmbeddingCache, embedding_key

CPU = torch.device("cpu")
KEYS = [f"{number:064x}" for number in range(4)]


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    floats = torch.randn(1, 50, 8, generator=generator)
    return {"a": floats, "b": floats.half()[:, :3], "mask": floats[..., 0] > 0}


def test_an_entry_comes_back_to_the_bit(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).put(KEYS[0], tensors())
    back = EmbeddingCache(tmp_path).get(KEYS[0])
    assert back is not None
    for name, tensor in tensors().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    assert EmbeddingCache(tmp_path).get(KEYS[1]) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "embeddings"


@pytest.mark.parametrize("left", [0, 10, 32, 40, -1])
def test_a_file_that_was_cut_short_counts_as_not_there(folder: Path, left: int) -> None:
    cache = EmbeddingCache(folder)
    cache.put(KEYS[0], tensors())
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:left])
    assert KEYS[0] not in cache
    cache.put(KEYS[0], tensors())
    assert KEYS[0] in cache


def test_a_damaged_byte_is_found(folder: Path) -> None:
    cache = EmbeddingCache(folder)
    cache.put(KEYS[0], tensors())
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert KEYS[0] not in cache


def test_those_not_used_for_longest_make_room(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path / "one").put(KEYS[0], tensors())
    (one,) = (tmp_path / "one").iterdir()
    cache = EmbeddingCache(tmp_path / "few", max_bytes=3 * one.stat().st_size)
    for age, key in enumerate(KEYS[:3]):
        cache.put(key, tensors())
        os.utime(tmp_path / "few" / f"{key}.bin", (1000 + age, 1000 + age))
    assert KEYS[0] in cache  # used now
    cache.put(KEYS[3], tensors())
    assert [key in cache for key in KEYS] == [True, False, True, True]


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    cache = EmbeddingCache(blocked / "inside")
    cache.put(KEYS[0], tensors())
    assert cache.get(KEYS[0]) is None


def test_nothing_unfinished_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    EmbeddingCache(folder).put(KEYS[0], tensors())
    assert list(folder.iterdir()) == []


def test_a_key_names_all_that_decides_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    key = embedding_key(CPU, {"prompt": "a cat"})
    assert len(key) == 64
    assert key == embedding_key(CPU, {"prompt": "a cat"})
    others = {key, embedding_key(CPU, {"prompt": "a dog"})}
    monkeypatch.setattr(torch, "__version__", "0.0")
    others.add(embedding_key(CPU, {"prompt": "a cat"}))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    others.add(embedding_key(CPU, {"prompt": "a cat"}))
    assert len(others) == 4
