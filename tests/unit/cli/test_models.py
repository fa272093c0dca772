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


def test_components_are_exchanged_and_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    exchanged = ["--set", "vae=someone/vae/fine", "--set", f"transformer={tmp_path / 'net'}"]
    assert main(["models", "recipe", "i2v", *exchanged, "-o", str(path)]) == 0
    mine, base = resolve_spec(str(path)), PRESETS["i2v"]
    assert str(mine.sources["vae"]) == "someone/vae/fine"
    assert mine.sources["transformer"].path == tmp_path / "net"
    assert mine.sources["tokenizer"] == base.sources["tokenizer"]
    assert main(["models", "recipe", str(path), "--reset", "vae", "-o", str(path)]) == 0
    again = resolve_spec(str(path))
    assert again.sources["vae"] == base.sources["vae"]
    assert again.sources["transformer"].path == tmp_path / "net"
    assert main(["models", "recipe", str(path), "--reset", "pipeline", "-o", str(path)]) == 0
    assert resolve_spec(str(path)).sources == base.sources
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "vea=a/b"], "model i2v: unknown component vea; choose pipeline, transformer"),
        (["--reset", "vea"], "unknown component vea"),
        (["--set", "vae"], "--set vae names no source; write NAME=SOURCE"),
        (["--set", "vae=nowhere"], "neither a repository nor a folder"),
    ],
)
def test_a_wrong_component_is_named(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "recipe", "i2v", *options]) == 2
    assert message in capsys.readouterr().err
