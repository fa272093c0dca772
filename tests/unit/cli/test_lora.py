"""What ``framepack lora inspect`` tells of a LoRA file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from framepack.cli.main import main

NAME = "lora_unet_double_blocks_{}_img_attn_proj"


def _tensors(width: int, blocks: range, *, rank: int = 4, alpha: float = 2.0) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for i in blocks:
        name = NAME.format(i)
        tensors[f"{name}.lora_down.weight"] = torch.ones(rank, width, dtype=torch.bfloat16)
        tensors[f"{name}.lora_up.weight"] = torch.ones(width, rank, dtype=torch.bfloat16)
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A LoRA of the 13B models' size, with metadata as kohya's trainers write it."""
    path = tmp_path / "face.safetensors"
    tags = {"set": {"a cat": 9, "night": 2}, "other": {"night": 30}}
    metadata = {
        "ss_base_model_version": "hunyuan_video",
        "modelspec.trigger_phrase": "ohwx person",
        "ss_trigger_words": '["ohwx person", "red hat"]',
        "ss_tag_frequency": json.dumps(tags),
        "modelspec.title": "A \x1b[31mface",
        "ss_training_comment": "x" * 1000,
    }
    tensors = _tensors(3072, range(20)) | {
        "lora_unet_single_blocks_39_linear2.lora_down.weight": torch.ones(8, 15360),
        "lora_unet_single_blocks_39_linear2.lora_up.weight": torch.ones(3072, 8),
        "lora_unet_time_in_mlp_2.lora_down.weight": torch.ones(8, 3072),
        "lora_unet_time_in_mlp_2.lora_up.weight": torch.ones(3072, 8),
    }
    save_file(tensors, path, metadata)
    return path


def test_people_read_what_it_is_and_what_it_fits(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lora", "inspect", str(published)]) == 0
    text = capsys.readouterr().out
    for part in (
        f"{published}: a LoRA of 22 layers",
        "kohya, HunyuanVideo names",
        "Rank           4 to 8",
        "Alpha          2",
        "Scale          0.5 to 1",
        "bfloat16, float32",
        "ohwx person, red hat",
        "night, a cat",
        "20 in 20 blocks, from 0 to 19",
        "1 in 1 blocks, from 39 to 39",
        "1: time_text_embed.timestep_embedder.linear_2",
        "hunyuan_video (ss_base_model_version)",
        "HunyuanVideo by its names",
        "i2v   yes",
        "f1    yes",
        "tiny  no: LoRA",
    ):
        assert part in text
    assert "\x1b" not in text
    assert "x" * 300 not in text


@pytest.mark.parametrize("name", ["face", "face.safetensors"])
def test_a_name_is_looked_for_in_the_lora_folder(
    name: str,
    published: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRAMEPACK_LORAS_DIR", str(published.parent))
    assert main(["lora", "inspect", name]) == 0
    assert f"{published}: a LoRA of 22 layers" in capsys.readouterr().out


def test_machines_read_the_same(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lora", "inspect", str(published), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["layout"] == "kohya, HunyuanVideo names"
    assert document["num_layers"] == 22
    assert document["ranks"] == [4, 8]
    assert document["alphas"] == [2.0, 2.0]
    assert document["parts"]["double_blocks"]["blocks"] == list(range(20))
    assert document["parts"]["others"]["num_layers"] == 1
    assert document["trigger_words"] == ["ohwx person", "red hat"]
    assert document["unknown_keys"] == []
    assert document["metadata"]["ss_training_comment"] == "x" * 1000
    fits = {entry["model"]: entry["fits"] for entry in document["models"]}
    assert fits == {"tiny": False, "i2v": True, "f1": True}


def test_one_model_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(_tensors(256, range(1)), path)
    assert main(["lora", "inspect", str(path), "--model", "tiny", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert models == [{"model": "tiny", "fits": True, "problem": None}]


def test_a_model_it_does_not_fit_is_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.safetensors"
    save_file(_tensors(64, range(1)) | {"lora_te_a.alpha": torch.tensor(1.0)}, path)
    assert main(["lora", "inspect", str(path), "--model", "i2v"]) == 0
    text = capsys.readouterr().out
    assert "transformer_blocks.0.attn.to_out.0 [64, 64], the model has [3072, 3072]" in text
    assert "1 keys that no model here has, such as lora_te_a.alpha" in text


def test_a_lora_with_the_blocks_of_flux_is_suspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flux.safetensors"
    tensors = _tensors(64, range(19)) | {
        "lora_unet_single_blocks_37_linear2.lora_down.weight": torch.ones(4, 64),
        "lora_unet_single_blocks_37_linear2.lora_up.weight": torch.ones(64, 4),
    }
    save_file(tensors, path)
    assert main(["lora", "inspect", str(path), "--model", "tiny"]) == 0
    assert "perhaps FLUX.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none.safetensors", "is no file and no"),
        ("old.pt", "needed: the same LoRA as .safetensors"),
    ],
)
def test_a_file_that_cannot_be_read_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, found: str
) -> None:
    (tmp_path / "old.pt").write_bytes(b"x")
    assert main(["lora", "inspect", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert found in captured.err
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_an_unknown_model_is_bad_input(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lora", "inspect", str(published), "--model", "i3v"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from framepack.cli.main import main; "
        "assert main(['lora', 'inspect', '--help']) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
