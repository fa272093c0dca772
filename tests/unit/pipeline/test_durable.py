import errno
import json
from pathlib import Path

import pytest
import torch

from framepack.domain.errors import WorkspaceError
from framepack.pipeline import durable
from framepack.pipeline.durable import load_tensors, save_tensors, write_json


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.bool])
def test_tensors_and_document_come_back_as_they_were(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"a": torch.randn(3, 4).to(dtype), "b": torch.randn(2, 4)[:, ::2].to(dtype)}
    save_tensors(tmp_path / "x.safetensors", tensors, {"number": 0.1, "text": "é"})
    loaded, document = load_tensors(tmp_path / "x.safetensors")
    assert document == {"number": 0.1, "text": "é"}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(100)}, {})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"x\.safetensors is damaged .*checksum"):
        load_tensors(path)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_foreign_file_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match="is damaged"):
        load_tensors(path)


def test_a_failed_write_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half of i")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "folder" / "x.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {})
    monkeypatch.setattr(durable, "save_file", fill_the_disk)
    with pytest.raises(WorkspaceError, match="No space left on device; free some space"):
        save_tensors(path, {"a": torch.zeros(3)}, {})
    assert torch.equal(load_tensors(path)[0]["a"], torch.ones(3))
    assert [entry.name for entry in path.parent.iterdir()] == ["x.safetensors"]


def test_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"text": "é"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"text": "é"}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="shows maps on Linux only")
def test_a_loaded_file_is_not_held_open(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.ones(1000)}, {})
    loaded, _ = load_tensors(path)
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert loaded["a"].sum() == 1000


def test_a_path_that_is_no_text_is_kept(tmp_path: Path) -> None:
    document = {"path": "caf\udce9.mp4"}
    write_json(tmp_path / "x.json", document)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == document
    save_tensors(tmp_path / "x.safetensors", {"a": torch.ones(1)}, document)
    assert load_tensors(tmp_path / "x.safetensors")[1] == document
