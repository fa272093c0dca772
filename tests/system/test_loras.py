"""A LoRA in a video: the same as its weights merged by hand, and gone without a trace."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.helpers.runs import SMALL, frames_of, make_video, seconds
from torch import Tensor

import framepack
from framepack.models.spec import PRESETS
from framepack.pipeline.components import Components, load_components
from framepack.weights.lora import linear_shapes

RANK = 2
WEIGHT = 0.7
ASKED: dict[str, Any] = {"duration_s": seconds(13)}
LAYERS = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_mlp")


WIDTH = 256
ORIGINAL = {
    "transformer_blocks.0.attn.to_q": ("double_blocks.0.img_attn_qkv", 0, 2 * WIDTH),
    "single_transformer_blocks.1.proj_mlp": ("single_blocks.1.linear1", 3 * WIDTH, 0),
}
"""The fused layers of the original program, and its rows before and after ours."""


def _matrices(components: Components) -> dict[str, tuple[Tensor, Tensor]]:
    shapes = linear_shapes(components.transformer)
    generator = torch.Generator().manual_seed(0)
    return {
        name: (
            torch.randn(RANK, shapes[name][1], generator=generator),
            torch.randn(shapes[name][0], RANK, generator=generator) * 0.05,
        )
        for name in LAYERS
    }


def _write(path: Path, components: Components, layout: str) -> Path:
    tensors = {}
    for name, (down, up) in _matrices(components).items():
        if layout == "original":
            module, rows, after = ORIGINAL[name]
            whole = torch.zeros(rows + len(up) + after, RANK)
            whole[rows : rows + len(up)] = up
            tensors[f"diffusion_model.{module}.lora_A.weight"] = down
            tensors[f"diffusion_model.{module}.lora_B.weight"] = whole
        elif layout == "peft":
            tensors[f"transformer.{name}.lora_A.weight"] = down
            tensors[f"transformer.{name}.lora_B.weight"] = up
        else:
            stem = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{stem}.lora_down.weight"] = down
            tensors[f"{stem}.lora_up.weight"] = up
            tensors[f"{stem}.alpha"] = torch.tensor(float(RANK))
    save_file(tensors, path)
    return path


def _frames(folder: Path, components: Components, **fields: Any) -> NDArray[np.uint8]:
    """Frames of a video that nothing is lost in: an encoder magnifies the last bits."""
    made = framepack.generate(
        output=folder / "out.mkv",
        components=components,
        **{**SMALL, **ASKED, "codec": "ffv1", "pixel_format": "bgr0", **fields},
    )
    return frames_of(made.path)


def _apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two videos, in 0..255."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.fixture
def hand_merged(components: Components) -> Components:
    settings = framepack.Settings(device="cpu", dtype="float32")
    merged = load_components(PRESETS["tiny"], settings)
    with torch.no_grad():
        for name, (down, up) in _matrices(components).items():
            merged.transformer.get_submodule(name).weight.add_(WEIGHT * up @ down)
    return merged


@pytest.mark.parametrize("layout", ["peft", "kohya", "original"])
def test_a_lora_gives_what_its_weights_merged_by_hand_give(
    tmp_path: Path, components: Components, hand_merged: Components, layout: str
) -> None:
    path = _write(tmp_path / "style.safetensors", components, layout)
    wanted = _frames(tmp_path / "hand", hand_merged)
    plain = _frames(tmp_path / "plain", components)
    found = _frames(tmp_path / "lora", components, loras=f"{path}:{WEIGHT}")
    # Sums in another order differ in their last bits, which a pixel in a hundred may show.
    assert _apart(found, wanted) < 0.02 * _apart(plain, wanted)
    after = _frames(tmp_path / "after", components)
    assert np.array_equal(after, plain), "the LoRA left a trace"


def test_weight_zero_is_the_identity(tmp_path: Path, components: Components) -> None:
    path = _write(tmp_path / "style.safetensors", components, "peft")
    plain = _frames(tmp_path / "plain", components)
    assert np.array_equal(_frames(tmp_path / "lora", components, loras=f"{path}:0"), plain)


def test_two_loras_add_up(tmp_path: Path, components: Components) -> None:
    one = _write(tmp_path / "one.safetensors", components, "peft")
    two = _write(tmp_path / "two.safetensors", components, "kohya")
    found = _frames(tmp_path / "both", components, loras=[f"{one}:0.3", f"{two}:0.4"])
    wanted = _frames(tmp_path / "single", components, loras=f"{one}:0.7")
    plain = _frames(tmp_path / "plain", components)
    assert _apart(found, wanted) < 0.02 * _apart(plain, wanted)


def test_the_file_records_the_lora_and_hides_its_folder(
    tmp_path: Path, components: Components
) -> None:
    path = _write(tmp_path / "style.safetensors", components, "peft")
    made = make_video(tmp_path / "made", components, loras=f"{path}:0.5", **ASKED)
    document = framepack.inspect(made.path).document
    assert document["request"]["loras"] == [{"path": "style.safetensors", "weight": 0.5}]
    assert len(document["components"]["lora 1 style.safetensors x 0.5"]) == 64


def test_a_lora_is_found_by_name_in_its_folder(tmp_path: Path, components: Components) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    _write(folder / "style.safetensors", components, "peft")
    settings = framepack.Settings(device="cpu", dtype="float32", loras_dir=folder)
    made = make_video(tmp_path, components, loras="style:0.5", settings=settings, **ASKED)
    assert made.plan.request.loras[0].path == folder / "style.safetensors"


def test_a_lora_that_does_not_fit_is_refused_before_any_work(
    tmp_path: Path, components: Components
) -> None:
    wrong, text = tmp_path / "wrong.safetensors", tmp_path / "text.safetensors"
    name = "transformer.transformer_blocks.9.attn.to_q"
    save_file(
        {f"{name}.lora_A.weight": torch.ones(2, 4), f"{name}.lora_B.weight": torch.ones(4, 2)},
        wrong,
    )
    text.write_text("nothing", encoding="utf-8")
    for path, message in (
        (wrong, r"does not fit the model: .*transformer_blocks\.9\.attn\.to_q"),
        (text, "text.safetensors"),
        (tmp_path / "missing.safetensors", "is no file and no LoRA folder is set"),
    ):
        with pytest.raises(framepack.InvalidRequest, match=message) as raised:
            make_video(tmp_path / "made", components, loras=str(path), **ASKED)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "made").exists()
