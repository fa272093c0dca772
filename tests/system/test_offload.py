"""Where networks lie changes nothing in a video: every way to place them gives the same bits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.runs import frames_of, make_video, seconds

import framepack
import framepack.pipeline.networks as networks_module
from framepack.domain.choices import Offload
from framepack.memory.placement import MODES
from framepack.models.spec import PRESETS
from framepack.pipeline import component_files
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.device import DeviceMemoryError
from framepack.weights.lora import linear_shapes

ASKED: dict[str, Any] = {"duration_s": seconds(25), "variant": "forward-only"}
LAYERS = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_out")


def loaded(offload: Offload = "auto", **settings: Any) -> Components:
    asked = framepack.Settings(device="cpu", dtype="float32", offload=offload, **settings)
    return load_components(PRESETS["tiny"], asked)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return Path(make_video(folder, loaded(), **ASKED).path)


@pytest.mark.parametrize("mode", MODES)
def test_every_way_to_place_networks_gives_the_same_video(
    tmp_path: Path, plain: Path, mode: Offload, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped_llamas: list[str] = []
    map_llama = component_files.map_llama

    def noted(folder: Path) -> Any:
        mapped_llamas.append(folder.name)
        return map_llama(folder)

    monkeypatch.setattr(component_files, "map_llama", noted)
    components = loaded(mode)
    video = make_video(tmp_path, components, **ASKED)
    assert np.array_equal(frames_of(video.path), frames_of(plain))
    streamed = {name for slot in components.networks.slots.values() for name in slot.streamers}
    assert ("transformer" in streamed) == (mode in ("group", "sequential", "disk"))
    mapped = {
        name
        for slot in components.networks.slots.values()
        for name, (_, from_disk) in slot.made_as.items()
        if from_disk
    }
    # Text encoders are read piece by piece too, and forgotten once the prompt is encoded.
    assert mapped == ({"transformer"} if mode == "disk" else set())
    assert ("text_encoder" in mapped_llamas) == (mode == "disk")


def test_a_budget_keeps_as_many_blocks_as_fit_and_gives_the_same_video(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    components = loaded("balanced", vram_budget="52MB", vram_reserve="1MB")
    free = components.networks.free

    def noted() -> tuple[int, int]:
        held.append(sum(slot.held_bytes for slot in components.networks.slots.values()))
        return free()

    monkeypatch.setattr(components.networks, "free", noted)
    video = make_video(tmp_path, components, **ASKED)
    assert np.array_equal(frames_of(video.path), frames_of(plain))
    assert 0 < max(held) <= 51_000_000
    _ = components.transformer
    streamer = components.networks.slots["transformer"].streamers["transformer"]
    assert 0 < len(streamer._resident) < len(streamer._names)


@pytest.mark.parametrize(
    "mode",
    [
        "balanced",
        pytest.param("group", marks=pytest.mark.full),
        pytest.param("sequential", marks=pytest.mark.full),
        pytest.param("disk", marks=pytest.mark.full),
    ],
)
def test_loras_with_other_weights_in_each_section_act_as_ever(
    tmp_path: Path, mode: Offload
) -> None:
    shapes = linear_shapes(loaded().transformer)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in LAYERS:
        height, width = shapes[layer]
        tensors[f"transformer.{layer}.lora_A.weight"] = torch.randn(2, width, generator=generator)
        tensors[f"transformer.{layer}.lora_B.weight"] = (
            torch.randn(height, 2, generator=generator) * 0.1
        )
    save_file(tensors, tmp_path / "style.safetensors")
    asked = {
        **ASKED,
        "loras": str(tmp_path / "style.safetensors"),
        "section_loras": "0: 0.2\n1: 1",
    }
    wanted = frames_of(make_video(tmp_path / "wanted", loaded(), **asked).path)
    components = loaded(mode)
    found = frames_of(make_video(tmp_path / "found", components, **asked).path)
    assert np.array_equal(found, wanted)
    after = frames_of(make_video(tmp_path / "after", components, **ASKED).path)
    without = frames_of(make_video(tmp_path / "without", loaded(), **ASKED).path)
    assert np.array_equal(after, without)


def test_a_step_cache_works_on_streamed_blocks(tmp_path: Path) -> None:
    asked = {**ASKED, "step_cache": "teacache", "num_inference_steps": 5}
    whole = make_video(tmp_path / "whole", loaded(), **asked)
    streamed = make_video(tmp_path / "streamed", loaded("group"), **asked)
    assert np.array_equal(frames_of(streamed.path), frames_of(whole.path))


def test_what_does_not_fit_at_all_says_what_was_needed(tmp_path: Path) -> None:
    with pytest.raises(DeviceMemoryError, match=r"needs .* GB .* disk: the text_encoder"):
        make_video(tmp_path, loaded("balanced", vram_budget="1MB"), **ASKED)


def test_auto_reads_blocks_from_disk_where_a_cpu_has_no_room_for_all(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    components = loaded("auto")
    monkeypatch.setattr("framepack.pipeline.generate.section_tokens", lambda *_: 100)
    components.networks.expect(100)
    size = components.networks._size("transformer")
    room = int(0.95 * size.weight_bytes) + size.working_bytes
    components.networks.make_working_room(10**18)

    def free(_: object) -> tuple[int, int]:
        return room - sum(slot.held_bytes for slot in components.networks.slots.values()), 10**12

    monkeypatch.setattr(networks_module, "memory_bytes", free)
    video = make_video(tmp_path, components, **ASKED)
    assert np.array_equal(frames_of(video.path), frames_of(plain))
    assert components.networks.slots["transformer"].is_from_disk


def test_blocks_leave_when_others_take_memory_come_back_and_the_video_stays_the_same(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    components = loaded("balanced")
    networks, others, stayed = components.networks, 0, list[int]()

    def free(_: object) -> tuple[int, int]:
        held = sum(slot.held_bytes for slot in networks.slots.values())
        return 52_000_000 - others - held, 10**12

    monkeypatch.setattr(networks_module, "memory_bytes", free)
    follow_memory = networks.follow_memory

    def looked() -> None:
        nonlocal others
        streamer = networks.slots["transformer"].streamers["transformer"]
        stayed.append(len(streamer.resident))
        others = 25_000_000 if len(stayed) in (2, 3) else 0
        follow_memory()

    monkeypatch.setattr(networks, "follow_memory", looked)
    asked = {**ASKED, "num_inference_steps": 5}
    video = make_video(tmp_path / "followed", components, **asked)
    monkeypatch.undo()
    whole = make_video(tmp_path / "whole", loaded(), **asked)
    assert np.array_equal(frames_of(video.path), frames_of(whole.path))
    assert min(stayed) < stayed[0]
    assert stayed.index(min(stayed)) == 2
    assert stayed[-1] >= stayed[0], "all come back once the memory has been free for a while"
