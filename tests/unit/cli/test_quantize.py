"""``framepack models quantize`` names the recipe that it wrote, or says why there is none."""

import json
from pathlib import Path

import pytest

from framepack.cli.main import main

pytest.importorskip("torchao", reason="torchao is not installed")


def test_it_prints_the_recipe_of_the_model_that_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models" / "small"
    assert main(["models", "quantize", "tiny", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "recipe.toml")
    assert 'transformer = "./transformer"' in (folder / "recipe.toml").read_text()
    config = json.loads((folder / "transformer" / "config.json").read_text())
    assert config["quantization_config"] == {"quant_method": "torchao", "framepack_format": "fp8"}
    assert [path.name for path in folder.parent.iterdir()] == ["small"]  # and nothing half done


def test_a_format_that_is_not_stored_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "quantize", "tiny", str(tmp_path / "x"), "--format", "nf4"]) == 2
    assert "--format is 'nf4'; choose fp8" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
