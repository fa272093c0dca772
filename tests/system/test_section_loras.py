"""LoRAs whose weights change from section to section: where they act, and to the byte."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.helpers.loras import fingerprint
from tests.helpers.runs import SEAM_FRAMES, SECTION_FRAMES, SMALL, frames_of, make_video, seconds

import framepack
from framepack.domain.events import SectionDone, StepDone
from framepack.models.spec import PRESETS
from framepack.pipeline.components import Components, load_components
from framepack.weights.lora import MergedLoras, apply_loras, linear_shapes

LAYER = "transformer_blocks.0.attn.to_q"
ASKED: dict[str, Any] = {"duration_s": seconds(37), "variant": "forward-only"}
FIRST = 1 + SECTION_FRAMES - SEAM_FRAMES
"""Frames that are final when the first section with a start picture is done."""


@pytest.fixture
def lora(tmp_path: Path, components: Components) -> Path:
    height, width = linear_shapes(components.transformer)[LAYER]
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"transformer.{LAYER}.lora_A.weight": torch.randn(2, width, generator=generator),
        f"transformer.{LAYER}.lora_B.weight": torch.randn(height, 2, generator=generator) * 0.1,
    }
    path = tmp_path / "style.safetensors"
    save_file(tensors, path)
    return path


def differs(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> list[bool]:
    return [not np.array_equal(*pair) for pair in zip(one, other, strict=True)]


def made(folder: Path, components: Components, **fields: Any) -> NDArray[np.uint8]:
    return frames_of(make_video(folder, components, **{**ASKED, **fields}).path)


def test_a_section_of_weight_zero_is_that_of_a_video_without_the_lora(
    tmp_path: Path, components: Components, lora: Path, picture: Path
) -> None:
    before = fingerprint(components.transformer)
    asked: dict[str, Any] = {"image": picture}
    plain = made(tmp_path / "plain", components, **asked)
    late = made(
        tmp_path / "late", components, loras=f"{lora}:1", section_loras="0: 0\n1: 1", **asked
    )
    whole = made(tmp_path / "whole", components, loras=f"{lora}:1", **asked)
    assert not any(differs(plain, late)[:FIRST])
    assert all(differs(plain, late)[1 + SECTION_FRAMES :])
    assert all(differs(plain, whole)[1:FIRST])
    assert fingerprint(components.transformer) == before


def test_weights_follow_the_video_where_its_end_is_rendered_first(
    tmp_path: Path, components: Components, lora: Path, picture: Path
) -> None:
    asked: dict[str, Any] = {"image": picture, "variant": "bi-directional"}
    plain = made(tmp_path / "plain", components, **asked)
    early = made(
        tmp_path / "early", components, loras=str(lora), section_loras="0: 1\n1: 0", **asked
    )
    # Until the end of section 1, which section 0 is decoded together with.
    assert not any(differs(plain, early)[1 + 2 * SECTION_FRAMES :])
    assert all(differs(plain, early)[1:SECTION_FRAMES])


def test_a_stopped_run_goes_on_with_the_weights_of_its_sections(
    tmp_path: Path, components: Components, lora: Path
) -> None:
    asked = {**SMALL, **ASKED, "loras": str(lora), "section_loras": "0: 0.2\n1: 1\n2: 0.5"}
    whole = frames_of(make_video(tmp_path, components, **asked).path)
    events = framepack.stream(
        output=tmp_path / "stopped.mp4", run_dir=tmp_path / "run", components=components, **asked
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
        next(event for event in opened if isinstance(event, StepDone))
    settings = framepack.Settings(device="cpu", dtype="float32")
    fresh = load_components(PRESETS["tiny"], settings)
    resumed = framepack.resume(tmp_path / "run", components=fresh)
    assert np.array_equal(whole, frames_of(resumed.path))


def test_one_weight_everywhere_is_that_weight_and_keeps_no_second_copy(
    tmp_path: Path, components: Components, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = made(tmp_path / "wanted", components, loras=f"{lora}:0.4")
    kept: list[bool] = []

    def merge(*args: Any, keep_originals: bool) -> MergedLoras:
        kept.append(keep_originals)
        return apply_loras(*args, keep_originals=keep_originals)

    monkeypatch.setattr("framepack.pipeline.run_loras.apply_loras", merge)
    monkeypatch.setattr(MergedLoras, "change", None)
    found = made(tmp_path / "found", components, loras=f"{lora}:0.8", section_loras="0.5")
    assert not any(differs(wanted, found))
    assert kept == [False]


def test_the_file_repeats_the_weights_of_its_sections(
    tmp_path: Path, components: Components, lora: Path
) -> None:
    made = make_video(
        tmp_path, components, loras=str(lora), section_loras=f"0: {lora}:0.3\n1: 1", **ASKED
    )
    found = framepack.inspect(made.path)
    assert str(tmp_path) not in str(found.document)
    again = found.restore(tmp_path / "pictures")
    settings = framepack.Settings(device="cpu", dtype="float32", loras_dir=tmp_path)
    repeated = framepack.generate(
        again, output=tmp_path / "again.mp4", components=components, settings=settings
    )
    assert np.array_equal(frames_of(made.path), frames_of(repeated.path))


def test_a_lora_that_the_video_lacks_is_refused_before_any_work(
    tmp_path: Path, components: Components, lora: Path
) -> None:
    with pytest.raises(framepack.InvalidRequest, match="names LoRA felt, but the video has style"):
        make_video(
            tmp_path / "made", components, loras=str(lora), section_loras="0: felt:1", **ASKED
        )
    assert not (tmp_path / "made").exists()
