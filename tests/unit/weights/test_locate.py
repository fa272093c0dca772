"""Weights are looked for in a fixed order, and whatever is missing is said in one line."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from framepack.domain.errors import MissingWeights
from framepack.domain.settings import Settings
from framepack.models.parts import ComponentSource
from framepack.models.spec import COMPONENTS, PRESETS, resolve_spec
from framepack.weights.locate import are_weights_present, candidate_roots, locate, locate_all

SPEC = PRESETS["i2v"]
TRANSFORMER = str(SPEC.sources["transformer"].repo)
REPO = str(SPEC.sources["vae"].repo)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models", hf_home=tmp_path / "hf", offline=False)


def _component(folder: Path, *, shards: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if not shards:
        (folder / "model.safetensors").write_bytes(b"")
        return folder
    names = [f"model-{index}.safetensors" for index in range(shards)]
    index = {"weight_map": dict(zip("abcdefgh", names, strict=False))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def _snapshot(settings: Settings, repo: str, revision: str) -> Path:
    return settings.hub_cache / f"models--{repo.replace('/', '--')}" / "snapshots" / revision


def test_the_models_folder_comes_before_the_cache(settings: Settings) -> None:
    _component(_snapshot(settings, REPO, "a" * 40) / "vae")
    assert locate(SPEC, "vae", settings) == _snapshot(settings, REPO, "a" * 40) / "vae"
    assert settings.models_dir is not None
    own = _component(settings.models_dir / REPO / "vae")
    assert locate(SPEC, "vae", settings) == own


def test_an_incomplete_folder_is_passed_over(settings: Settings) -> None:
    assert settings.models_dir is not None
    half = _component(settings.models_dir / REPO / "vae", shards=3)
    (half / "model-1.safetensors").unlink()
    whole = _component(_snapshot(settings, REPO, "a" * 40) / "vae")
    assert locate(SPEC, "vae", settings) == whole


def test_the_current_revision_comes_first(settings: Settings) -> None:
    for age, revision in enumerate(("a" * 40, "b" * 40, "c" * 40)):
        folder = _component(_snapshot(settings, REPO, revision) / "vae")
        os.utime(folder.parent, (age, age))
    roots = [root.name[0] for root in candidate_roots(REPO, settings)]
    assert roots == ["c", "b", "a"]
    refs = settings.hub_cache / f"models--{REPO.replace('/', '--')}" / "refs"
    refs.mkdir()
    (refs / "main").write_text("b" * 40)
    roots = [root.name[0] for root in candidate_roots(REPO, settings)]
    assert roots == ["b", "c", "a"]


def test_the_transformer_stands_in_the_root_of_its_repository(settings: Settings) -> None:
    assert settings.models_dir is not None
    folder = _component(settings.models_dir / TRANSFORMER)
    assert locate(SPEC, "transformer", settings) == folder


def test_what_is_missing_is_one_line_with_the_way_out(settings: Settings) -> None:
    with pytest.raises(MissingWeights) as raised:
        locate_all(SPEC, settings)
    line = str(raised.value)
    assert "\n" not in line
    assert all(name in line for name in COMPONENTS)
    assert f"https://huggingface.co/{TRANSFORMER}" in line
    assert "`framepack models download i2v`" in line
    assert not are_weights_present(SPEC, settings)


def test_a_half_downloaded_network_says_what_is_missing(settings: Settings) -> None:
    assert settings.models_dir is not None
    half = _component(settings.models_dir / REPO / "text_encoder", shards=4)
    (half / "model-2.safetensors").unlink()
    with pytest.raises(MissingWeights, match=r"3 of 4 weight files; missing: model-2\.safe"):
        locate(SPEC, "text_encoder", settings)


def test_offline_mode_is_mentioned(settings: Settings) -> None:
    offline = settings.model_copy(update={"offline": True})
    with pytest.raises(MissingWeights, match="offline is set"):
        locate(SPEC, "vae", offline)


def test_a_folder_of_the_package_that_holds_something_else_is_no_broken_package(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = PRESETS["tiny"]
    wrong = tiny.sources["tokenizer"].path
    assert wrong is not None
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'base = "tiny"\n[components]\nvae = "{wrong.as_posix()}"\n')
    with pytest.raises(MissingWeights, match=r"take those of its base, tiny$") as raised:
        locate_all(resolve_spec(str(recipe)), settings)
    assert "install" not in str(raised.value)
    gone = replace(tiny, sources={**tiny.sources, "vae": ComponentSource(path=wrong.parent / "v")})
    monkeypatch.setitem(PRESETS, "tiny", gone)  # a package without its VAE
    with pytest.raises(MissingWeights, match="install framepack-studio again"):
        locate_all(gone, settings)


def test_nothing_here_imports_torch() -> None:
    code = (
        "import sys, framepack.weights.locate, framepack.weights.download\n"
        "print([name for name in ('torch', 'transformers', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
