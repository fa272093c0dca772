"""Listing models, their terms and their recipes."""

import json
from pathlib import Path

import pytest

from framepack.cli.main import main
from framepack.models.spec import HUNYUAN_LICENCE, PRESETS, resolve_spec


def test_list_names_every_preset_and_where_its_weights_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "list", "--json"]) == 0
    entries = {entry["model"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries.keys() == PRESETS.keys()
    assert entries["i2v"]["weights_present"] is False
    assert "https://huggingface.co/lllyasviel/FramePackI2V_HY" in entries["i2v"]["how_to_get"]
    assert main(["models", "list"]) == 0
    assert "`framepack models download f1`" in capsys.readouterr().out


def test_licence_shows_every_fact_and_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "licence", "i2v"]) == 0
    text = capsys.readouterr().out
    assert HUNYUAN_LICENCE.url in text
    assert all(fact in text for fact in HUNYUAN_LICENCE.facts)


def test_the_embedded_model_has_no_terms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "licence", "tiny"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_a_recipe_gives_the_same_model_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    assert main(["models", "recipe", "i2v", "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    again, original = resolve_spec(str(path)), PRESETS["i2v"]
    assert again.sources == original.sources
    assert again.defaults == original.defaults
    assert main(["models", "recipe", "i2v"]) == 0
    assert capsys.readouterr().out.strip() == path.read_text(encoding="utf-8").strip()
