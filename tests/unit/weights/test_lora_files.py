"""LoRA files that cannot be used are refused with one clear line."""

from pathlib import Path

import pytest
import torch
from tests.helpers.loras import (
    ONE,
    ONE_NAME,
    WIDTH,
    Save,
    kohya_lora,
    peft_lora,
)

from framepack.domain.errors import InvalidRequest
from framepack.weights.lora import (
    read_lora,
)


def _error(path: Path) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_lora(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "does not exist" in _error(tmp_path / "none.safetensors")
    assert "is a folder" in _error(tmp_path)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, save: Save) -> None:
    path = tmp_path / "empty.safetensors"
    path.touch()
    assert "empty file" in _error(path)
    assert "holds no tensor" in _error(save({}))


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".PTH", ".bin"])
def test_pickles_are_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"lora{suffix}"
    path.write_bytes(b"\x80\x04")
    assert "needed: the same LoRA as .safetensors" in _error(path)


def test_a_damaged_file_is_refused(tmp_path: Path, save: Save) -> None:
    path = save(peft_lora(ONE))
    path.write_bytes(path.read_bytes()[:-50])
    assert "damaged or not a safetensors file" in _error(path)
    path.write_bytes(b"not a LoRA at all, rather some text that is long enough to be read")
    assert "damaged or not a safetensors file" in _error(path)


def test_an_unknown_layout_is_named(save: Save) -> None:
    keys = [f"lora_unet_down_blocks_{i}_attn.lora_down.weight" for i in range(9)]
    text = _error(save({key: torch.ones(1) for key in keys}))
    assert f"{keys[0]}, {keys[1]}" in text
    assert "and 4 more" in text
    assert "lora_A.weight" in text


@pytest.mark.parametrize("kept", ["lora_A", "lora_B"])
def test_a_missing_partner_is_named(save: Save, kept: str) -> None:
    tensors = {key: value for key, value in peft_lora(ONE).items() if kept in key}
    gone = "up" if kept == "lora_A" else "down"
    assert f"no {gone} matrix of transformer.{ONE_NAME}" in _error(save(tensors))


def test_an_alpha_alone_is_incomplete(save: Save) -> None:
    path = save({"lora_unet_single_blocks_0_linear2.alpha": torch.tensor(1.0)})
    assert "no down and no up matrix" in _error(path)


@pytest.mark.parametrize(
    ("down", "up"),
    [((4, 64), (64, 3)), ((64,), (64, 4)), ((4, 64, 1, 1), (64, 4, 1, 1)), ((0, 64), (64, 0))],
)
def test_matrices_that_cannot_be_multiplied_are_refused(
    save: Save, down: tuple[int, ...], up: tuple[int, ...]
) -> None:
    name = f"transformer.{ONE_NAME}"
    tensors = {f"{name}.lora_A.weight": torch.ones(down), f"{name}.lora_B.weight": torch.ones(up)}
    assert "of one rank" in _error(save(tensors))


def test_rows_that_cannot_be_shared_out_are_refused(save: Save) -> None:
    for module, rows in (("double_blocks.0.img_attn_qkv", 100), ("single_blocks.0.linear1", 192)):
        assert "cannot be shared out" in _error(save(peft_lora({module: (rows, WIDTH)})))


@pytest.mark.parametrize("key", ["lora_down.weight", "alpha"])
def test_numbers_that_are_not_finite_are_refused(save: Save, key: str) -> None:
    tensors = kohya_lora(ONE)
    [name] = [name for name in tensors if name.endswith(key)]
    tensors[name].view(-1)[0] = torch.nan
    assert "not finite" in _error(save(tensors))


def test_one_layer_under_two_names_is_refused(save: Save) -> None:
    tensors = peft_lora(ONE) | peft_lora({"double_blocks.0.img_attn_qkv": (3 * WIDTH, WIDTH)})
    assert f"changes {ONE_NAME} twice" in _error(save(tensors))


def test_two_adapters_in_one_file_are_refused(save: Save) -> None:
    tensors = peft_lora(ONE)
    tensors |= {k.replace(".weight", ".second.weight"): v.clone() for k, v in tensors.items()}
    assert "two adapters in one file" in _error(save(tensors))
