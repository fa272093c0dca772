"""Hashes follow content, and are remembered while a file stays the same."""

import hashlib
import os
from pathlib import Path

import pytest

from framepack.weights import hashing
from framepack.weights.hashing import (
    HashCache,
    git_blob_sha1,
    hash_folder,
    identify_folder,
    sha256_file,
)


@pytest.fixture
def cache(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "cache" / "hashes.json")


def _folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return path


def test_a_file_is_hashed_as_a_whole(tmp_path: Path) -> None:
    content = os.urandom(9_000_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_git_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello\n")
    assert git_blob_sha1(tmp_path / "file") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_an_unchanged_file_is_read_once(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    first = cache.sha256(path)
    again = HashCache(tmp_path / "cache" / "hashes.json")
    monkeypatch.setattr(hashing, "sha256_file", lambda _: pytest.fail("was read again"))
    assert again.sha256(path) == first


def test_a_changed_file_is_read_again(tmp_path: Path, cache: HashCache) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    first = cache.sha256(path)
    path.write_text("four")
    assert cache.sha256(path) != first


def test_renew_sees_a_change_that_hides(tmp_path: Path, cache: HashCache) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    stat = path.stat()
    first = cache.sha256(path)
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.sha256(path) == first
    assert cache.renew(path) != first


def test_a_damaged_memory_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "hashes.json").write_text("[1, 2")
    (tmp_path / "file").write_text("one")
    cache = HashCache(tmp_path / "hashes.json")
    assert cache.sha256(tmp_path / "file") == hashlib.sha256(b"one").hexdigest()


def test_a_memory_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    (tmp_path / "file").write_text("one")
    cache = HashCache(tmp_path / "in the way" / "hashes.json")
    assert cache.sha256(tmp_path / "file") == hashlib.sha256(b"one").hexdigest()


def test_a_component_is_its_names_and_contents(tmp_path: Path, cache: HashCache) -> None:
    first = _folder(tmp_path / "a", config_json="{}", model_safetensors="x")
    same = _folder(tmp_path / "b", config_json="{}", model_safetensors="x", README_md="hello")
    other = _folder(tmp_path / "c", config_json="{}", model_safetensors="y")
    renamed = _folder(tmp_path / "d", config_json="{}", other_safetensors="x")
    hashes = [hash_folder(folder, cache) for folder in (first, same, other, renamed)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_our_own_notes_do_not_count(tmp_path: Path, cache: HashCache) -> None:
    folder = _folder(tmp_path / "a", config_json="{}")
    before = hash_folder(folder, cache)
    (folder / ".framepack-manifest.json").write_text("{}")
    assert hash_folder(folder, cache) == before


def test_what_is_not_remembered_is_not_read(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path / "a", config_json="{}", model_safetensors="weights")
    file = folder / "model.safetensors"
    monkeypatch.setattr(hashing, "sha256_file", lambda _: pytest.fail("was read"))
    assert cache.known(file) is None
    unread = identify_folder(folder, cache)
    assert unread == identify_folder(folder, cache)
    os.utime(file, (1, 1))
    assert identify_folder(folder, cache) != unread


def test_folders_that_were_hashed_are_told_by_content(tmp_path: Path, cache: HashCache) -> None:
    files = {"config_json": "{}", "model_safetensors": "weights"}
    one, same = _folder(tmp_path / "a", **files), _folder(tmp_path / "b", **files)
    other = _folder(tmp_path / "c", config_json="{}", model_safetensors="others!")
    assert len({identify_folder(each, cache) for each in (one, same, other)}) == 3
    for each in (one, same, other):
        hash_folder(each, cache)
    assert cache.known(one / "model.safetensors") == cache.sha256(one / "model.safetensors")
    assert identify_folder(one, cache) == identify_folder(same, cache)
    assert identify_folder(one, cache) != identify_folder(other, cache)
    (one / "model.safetensors").write_text("changed")
    assert cache.known(one / "model.safetensors") is None
