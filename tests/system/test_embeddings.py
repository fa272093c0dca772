"""A prompt is encoded once: a second run needs no encoder and makes the same video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.runs import SMALL, frames_of, seconds

import framepack
from framepack.models.spec import PRESETS
from framepack.pipeline import networks
from framepack.pipeline.components import Components, load_components
from framepack.weights.hashing import HashCache, hash_folder

ENCODERS = {"text_encoder", "text_encoder_2", "image_encoder"}
FORMATS: dict[str, Any] = {"device": "cpu", "dtype": "float32"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Networks as they are read from their files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: list[str] = []
    plain = networks.load_network

    def noted(name: str, *args: Any) -> Any:
        names.append(name)
        return plain(name, *args)

    monkeypatch.setattr(networks, "load_network", noted)
    return names


def made(folder: Path, *, keep_embeddings: bool = True, **fields: Any) -> Any:
    settings = framepack.Settings(keep_embeddings=keep_embeddings, **FORMATS)
    asked = {**SMALL, "duration_s": seconds(12), **fields}
    result = framepack.generate(output=folder / "out.mp4", settings=settings, **asked)
    return frames_of(result.path)


def test_a_second_run_with_the_same_prompt_reads_no_encoder_and_gives_the_same_bits(
    tmp_path: Path, read: list[str]
) -> None:
    first = made(tmp_path / "first")
    assert set(read) >= ENCODERS
    read.clear()
    second = made(tmp_path / "second", seed=SMALL["seed"])
    assert not ENCODERS & set(read)
    assert np.array_equal(second, first)
    read.clear()
    made(tmp_path / "third", prompt="the camera pans right")
    assert set(read) & ENCODERS == {"text_encoder", "text_encoder_2"}


@pytest.mark.full
def test_turned_off_nothing_is_kept(tmp_path: Path, read: list[str]) -> None:
    first = made(tmp_path / "first", keep_embeddings=False)
    assert not (tmp_path / "cache" / "framepack" / "embeddings").exists()
    read.clear()
    assert np.array_equal(made(tmp_path / "second", keep_embeddings=False), first)
    assert set(read) >= ENCODERS


def components(**settings: Any) -> Components:
    asked = framepack.Settings(keep_embeddings=True, **{**FORMATS, **settings})
    return load_components(PRESETS["tiny"], asked, preload=())


def test_a_remembered_prompt_has_the_bits_of_one_encoded_now(read: list[str]) -> None:
    first = components()
    made_now = first.encode_prompt("a cat")
    assert not first.knows_prompts(["a cat", "a dog"])
    assert first.knows_prompts(["a cat"])
    read.clear()
    remembered = components().encode_prompt("a cat")
    assert read == []
    for name in ("prompt_embeds", "prompt_mask", "pooled"):
        assert torch.equal(getattr(remembered, name), getattr(made_now, name))
        assert getattr(remembered, name).dtype == getattr(made_now, name).dtype


def test_another_number_format_or_other_files_are_encoded_anew(read: list[str]) -> None:
    first = components()
    first.encode_prompt("a cat")
    assert not components(dtype="bfloat16").knows_prompts(["a cat"])
    cache = HashCache()
    hash_folder(first.folders["text_encoder"], cache)  # known by content from now on
    assert not components().knows_prompts(["a cat"])
