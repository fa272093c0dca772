"""The trainer end to end in a few steps: it trains, resumes, exports, and the result loads."""

import json
from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings
from framepack.models.spec import resolve_spec
from framepack.pipeline.components import load_components
from framepack.training.tiny import recipe

FEW = {"vae_steps": 3, "transformer_steps": 2, "batch_size": 1, "num_pictures": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("training")
    rows: list[str] = []
    assert recipe.train(directory, on_log=lambda stage, row: rows.append(stage), **FEW)
    return directory


def test_the_exported_model_loads_like_any_other(run_dir: Path) -> None:
    spec = resolve_spec(str(run_dir / "model"))
    assert spec.geometry.trained_padding == 4
    components = load_components(spec, Settings.load(device="cpu", dtype="float32"))
    assert components.transformer.config.in_channels == components.vae.config.latent_channels


def test_the_exported_model_is_small(run_dir: Path) -> None:
    weights = list((run_dir / "model").rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 25e6


def test_a_finished_training_is_not_repeated(run_dir: Path) -> None:
    before = (run_dir / "vae" / "checkpoint.pt").read_bytes()
    assert recipe.train(run_dir, stages=("vae", "transformer"), **FEW)
    assert (run_dir / "vae" / "checkpoint.pt").read_bytes() == before


def test_other_settings_in_the_same_directory_are_refused(run_dir: Path) -> None:
    with pytest.raises(InvalidRequest, match="was begun with seed 0, now it is 1"):
        recipe.train(run_dir, seed=1, **FEW)


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="unknown stage 'lora'"):
        recipe.train(tmp_path / "new", stages=("lora",))
    assert not (tmp_path / "new").exists()


def test_the_preview_matrix_fits_the_latents(run_dir: Path) -> None:
    preview = json.loads((run_dir / "model" / "vae" / "preview.json").read_text())
    assert len(preview["matrix"]) == recipe.LATENT_CHANNELS
    assert len(preview["bias"]) == 3
