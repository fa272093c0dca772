"""What quantised weights do to a video, to memory, to LoRAs and to runs that are gone on with."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from tests.helpers.runs import SMALL, frames_of, make_video, seconds

import framepack
from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.domain.quantization import QuantFormat
from framepack.models.spec import PRESETS, resolve_spec
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.device import DeviceMemoryError
from framepack.pipeline.offloading import stored_bytes
from framepack.pipeline.sanity import check_sanity
from framepack.pipeline.store_quantized import store_quantized
from framepack.weights.lora import linear_shapes

pytest.importorskip("torchao", reason="torchao is not installed")

ASKED: dict[str, Any] = {"duration_s": seconds(12), "variant": "forward-only"}
LEAST_PSNR = {"fp8": 30.0, "int8": 38.0, "int8-dynamic": 34.0}
"""dB against the exact video, of which the tiny model's stay above; see docs/how-to."""
LAYERS = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_out")


def loaded(quantize: object = None, **settings: Any) -> Components:
    asked = framepack.Settings.load(device="cpu", dtype="float32", quantize=quantize, **settings)
    return load_components(PRESETS["tiny"], asked, preload=())


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    folder = tmp_path_factory.mktemp("exact")
    asked = {**ASKED, "run_dir": folder / "run", "keep_run": True}
    frames = frames_of(make_video(folder, loaded(), **asked).path)
    recorded = json.loads((folder / "run" / "run.json").read_text())["made_with"]
    assert "quantisation" not in recorded
    return frames


@pytest.fixture(scope="module")
def in_int8(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    return frames_of(make_video(tmp_path_factory.mktemp("int8"), loaded("int8"), **ASKED).path)


@pytest.mark.parametrize(
    "kept_as", ["fp8", "int8", pytest.param("int8-dynamic", marks=pytest.mark.full)]
)
def test_a_quantised_video_is_near_the_exact_one_and_not_equal(
    tmp_path: Path, exact: NDArray[np.uint8], kept_as: str
) -> None:
    components = loaded(kept_as)
    made = frames_of(make_video(tmp_path, components, **ASKED).path)
    assert not np.array_equal(made, exact)
    assert psnr(made, exact) > LEAST_PSNR[kept_as]


@pytest.mark.parametrize("mode", ["group", pytest.param("balanced", marks=pytest.mark.full)])
def test_streamed_quantised_weights_give_the_same_bits(
    tmp_path: Path, in_int8: NDArray[np.uint8], mode: str
) -> None:
    components = loaded("int8", offload=mode)
    made = frames_of(make_video(tmp_path, components, **ASKED).path)
    assert np.array_equal(made, in_int8)
    is_streamed = "transformer" in components.networks.slots["transformer"].streamers
    assert is_streamed == (mode == "group")


def test_the_planner_knows_the_size_and_keeps_more_blocks() -> None:
    plain, small = loaded(), loaded("fp8")
    sizes = [each.networks._size("transformer") for each in (plain, small)]
    _ = small.transformer
    assert sizes[1].weight_bytes == stored_bytes(small.networks.slots["transformer"].modules)
    assert sizes[1].weight_bytes < 0.75 * sizes[0].weight_bytes
    assert sizes[1].block_names == sizes[0].block_names
    resident = []
    for quantize in (None, "fp8"):
        components = loaded(quantize, offload="balanced", vram_budget="30MB")
        components.networks.expect(200)
        _ = components.transformer
        streamer = components.networks.slots["transformer"].streamers["transformer"]
        resident.append(len(streamer._resident))
    assert resident[1] > resident[0]


@pytest.mark.full
def test_encoders_in_int8_change_little(tmp_path: Path, exact: NDArray[np.uint8]) -> None:
    components = loaded("text=int8,vision=int8")
    made = frames_of(make_video(tmp_path, components, **ASKED).path)
    assert psnr(made, exact) > 30
    assert stored_bytes(components.networks.slots["text"].modules) == pytest.approx(
        sum(components.networks._size(name).weight_bytes for name in PARTS_OF_TEXT), rel=0.01
    )


PARTS_OF_TEXT = ("text_encoder", "text_encoder_2")


def style(folder: Path) -> Path:
    """A LoRA that changes two layers visibly."""
    shapes = linear_shapes(loaded().transformer)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in LAYERS:
        height, width = shapes[layer]
        down = torch.randn(2, width, generator=generator)
        tensors[f"transformer.{layer}.lora_A.weight"] = down
        up = torch.randn(height, 2, generator=generator) * 0.1
        tensors[f"transformer.{layer}.lora_B.weight"] = up
    save_file(tensors, folder / "style.safetensors")
    return folder / "style.safetensors"


def test_loras_are_merged_before_quantising_and_gone_afterwards(
    tmp_path: Path, in_int8: NDArray[np.uint8]
) -> None:
    asked = {**ASKED, "loras": str(style(tmp_path))}
    wanted = frames_of(make_video(tmp_path / "exact", loaded(), **asked).path)
    components = loaded("int8")
    made = frames_of(make_video(tmp_path / "int8", components, **asked).path)
    assert psnr(made, wanted) > LEAST_PSNR["int8"]
    assert psnr(made, in_int8) < LEAST_PSNR["int8"]
    after = frames_of(make_video(tmp_path / "after", components, **ASKED).path)
    assert np.array_equal(after, in_int8)


@pytest.mark.full
def test_weights_of_a_lora_change_between_sections(tmp_path: Path) -> None:
    asked = {
        **ASKED,
        "duration_s": seconds(25),
        "loras": str(style(tmp_path)),
        "section_loras": "0: 0.2\n1: 1",
    }
    wanted = frames_of(make_video(tmp_path / "exact", loaded(), **asked).path)
    resident = frames_of(make_video(tmp_path / "int8", loaded("int8"), **asked).path)
    assert psnr(resident, wanted) > LEAST_PSNR["int8"] - 4
    streamed = loaded("int8", offload="group")
    made = frames_of(make_video(tmp_path / "streamed", streamed, **asked).path)
    assert np.array_equal(made, resident)


def test_going_on_with_other_weights_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {**SMALL, **ASKED, "duration_s": seconds(25)}
    run_dir = tmp_path / "run"
    events = framepack.stream(
        output=tmp_path / "out.mp4", run_dir=run_dir, components=loaded("int8"), **asked
    )
    for event in events:
        if isinstance(event, framepack.SectionDone):
            break
    events.close()  # type: ignore[attr-defined]
    recorded = json.loads((run_dir / "run.json").read_text())["made_with"]
    assert recorded["quantisation"] == "transformer int8"
    with caplog.at_level(logging.WARNING):
        *_, done = framepack.stream_resume(run_dir, components=loaded())
    assert isinstance(done, framepack.Finished)
    assert "began with quantisation transformer int8 and goes on with none" in caplog.text


@pytest.mark.parametrize(
    ("quantize", "settings", "message"),
    [
        ("nf4", {}, "needs the package bitsandbytes|runs on CUDA devices only"),
        ("fp8-dynamic", {}, "compute capability"),
        ("vae=int8", {}, "3-D convolutions"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, quantize: str, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("framepack.pipeline.networks.load_network", None)
    monkeypatch.setattr("framepack.pipeline.networks.load_quantized", None)
    with pytest.raises(InvalidRequest, match=message):
        loaded(quantize, **settings)


def test_what_is_quantised_as_it_is_read_is_not_left_in_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidRequest, match="offload disk reads blocks from their file"):
        loaded("int8", offload="disk")
    components = loaded("int8")
    size = components.networks._size("transformer")
    room = int(0.9 * size.weight_bytes) + size.working_bytes
    monkeypatch.setattr(components.networks, "free", lambda: (room, 10**12))
    with pytest.raises(DeviceMemoryError, match="cannot stay in its file"):
        _ = components.transformer


@pytest.mark.full
def test_the_sanity_check_is_of_exact_weights() -> None:
    settings = framepack.Settings.load(device="cpu", dtype="float32", quantize="all=int8")
    plain = framepack.Settings.load(device="cpu", dtype="float32")
    assert check_sanity(settings).distance == check_sanity(plain).distance


def test_nf4_is_not_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framepack.pipeline.quantizing.check_format", lambda *_: None)
    with pytest.raises(InvalidRequest, match="cannot be streamed, and offload is group"):
        loaded("nf4", offload="group")
    components = loaded("nf4")
    monkeypatch.setattr(components.networks, "free", lambda: (10**6, 10**12))
    with pytest.raises(DeviceMemoryError, match="in nf4 it cannot be streamed"):
        _ = components.transformer


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "model"
    return store_quantized(PRESETS["tiny"], folder, "int8", framepack.Settings.load())


def test_a_stored_model_gives_the_video_of_one_that_is_quantised_as_it_is_read(
    tmp_path: Path, in_int8: NDArray[np.uint8], recipe: Path
) -> None:
    settings = framepack.Settings.load(device="cpu", dtype="float32", offload="disk")
    components = load_components(resolve_spec(recipe), settings, preload=())
    made = frames_of(make_video(tmp_path, components, **{**ASKED, "model": str(recipe)}).path)
    assert psnr(made, in_int8) > 70  # exact weights begin at any byte of a file, and round anew
    sizes = [each.networks._size("transformer") for each in (components, loaded("int8"))]
    assert sizes[0].weight_bytes == sizes[1].weight_bytes
    assert components.networks.quantization.title == "transformer stored by torchao"


def test_what_is_stored_quantised_is_not_quantised_again_and_takes_no_lora(
    tmp_path: Path, recipe: Path
) -> None:
    spec = resolve_spec(recipe)
    settings = framepack.Settings.load(device="cpu", quantize="fp8")
    with pytest.raises(InvalidRequest, match="is stored quantised with torchao and is used as it"):
        load_components(spec, settings, preload=())
    with pytest.raises(InvalidRequest, match="is stored quantised with torchao; name original"):
        store_quantized(spec, tmp_path / "again", "fp8", settings)
    components = load_components(spec, framepack.Settings.load(device="cpu"), preload=())
    asked = {**ASKED, "model": str(recipe), "loras": str(style(tmp_path))}
    with pytest.raises(InvalidRequest, match=r"the transformer in .* is stored quantised"):
        make_video(tmp_path, components, **asked)


@pytest.mark.parametrize(
    ("kept_as", "exists", "message"),
    [
        ("nf4", False, "format nf4 is not stored; choose fp8, int8, int8-dynamic"),
        ("fp8-dynamic", False, "format fp8-dynamic is not stored"),
        ("int8", True, "exists; name a new folder"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    tmp_path: Path, kept_as: QuantFormat, exists: bool, message: str
) -> None:
    folder = tmp_path if exists else tmp_path / "new"
    with pytest.raises(InvalidRequest, match=message):
        store_quantized(PRESETS["tiny"], folder, kept_as, framepack.Settings.load())
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr("framepack.pipeline.store_quantized.save_quantized", full)
    with pytest.raises(WorkspaceError, match=r"cannot write .* No space left on device; free some"):
        store_quantized(
            PRESETS["tiny"], tmp_path / "models" / "new", "int8", framepack.Settings.load()
        )
    assert not list((tmp_path / "models").iterdir())
