"""A video with the transformer from a GGUF file, named as people name it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.helpers.gguf_file import write_gguf
from tests.helpers.runs import frames_of, make_video, seconds

import framepack
from framepack.domain.errors import InvalidRequest, MissingWeights
from framepack.models.spec import PRESETS, resolve_spec
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.store_quantized import store_quantized
from framepack.weights.locate import locate

pytest.importorskip("gguf", reason="gguf is not installed")

TINY = PRESETS["tiny"].sources["transformer"].path
ASKED = {"duration_s": seconds(12), "variant": "forward-only"}
LEAST_PSNR = {"F32": 60.0, "Q8_0": 35.0}
"""dB against the exact video."""


def recipe(folder: Path, kind: str = "F32") -> Path:
    """A recipe with a transformer in a file, beside its config."""
    assert TINY is not None
    place = folder / "weights"
    place.mkdir()
    shutil.copy(TINY / "config.json", place)
    (path,) = TINY.glob("*.safetensors")
    write_gguf(place / f"tiny-{kind}.gguf", load_file(path), kind)
    made = folder / "recipe.toml"
    made.write_text(
        f'base = "tiny"\n[components]\ntransformer = "./weights/tiny-{kind}.gguf"\n',
        encoding="utf-8",
    )
    return made


def loaded(path: Path, **settings: object) -> Components:
    asked = framepack.Settings.load(device="cpu", dtype="float32", **settings)
    return load_components(resolve_spec(str(path)), asked, preload=())


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    settings = framepack.Settings.load(device="cpu", dtype="float32")
    components = load_components(PRESETS["tiny"], settings, preload=())
    return frames_of(make_video(tmp_path_factory.mktemp("exact"), components, **ASKED).path)


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_its_video_is_near_the_exact_one(tmp_path: Path, exact: np.ndarray, kind: str) -> None:
    path = recipe(tmp_path, kind)
    asked = {**ASKED, "model": str(path), "run_dir": tmp_path / "run", "keep_run": True}
    made = frames_of(make_video(tmp_path, loaded(path), **asked).path)
    error = np.mean((made.astype(np.float64) - exact) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > LEAST_PSNR[kind]
    assert kind == "F32" or error > 0
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["made_with"]
    assert recorded["quantisation"] == "transformer from GGUF"


@pytest.mark.parametrize("offload", ["group", "sequential"])
def test_streamed_weights_are_those_of_the_file(tmp_path: Path, offload: str) -> None:
    path = recipe(tmp_path, "Q8_0")
    asked = {**ASKED, "model": str(path)}
    videos = []
    for name, way in (("whole", "none"), ("streamed", offload)):
        (tmp_path / name).mkdir()
        components = loaded(path, offload=way)
        videos.append(frames_of(make_video(tmp_path / name, components, **asked).path))
    assert np.array_equal(*videos)


def test_it_can_be_quantised_as_it_is_read(tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed")
    components = loaded(recipe(tmp_path, "Q8_0"), quantize="int8")
    weight = components.transformer.transformer_blocks[0].attn.to_q.weight
    assert type(weight.data) is not torch.Tensor
    assert components.networks.quantization.title == "transformer from GGUF int8"


def test_disk_and_storing_are_refused(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    with pytest.raises(InvalidRequest, match="offload disk reads blocks from safetensors"):
        loaded(path, offload="disk")
    with pytest.raises(InvalidRequest, match="holds a GGUF file; name original weights"):
        store_quantized(resolve_spec(str(path)), tmp_path / "new", "int8", framepack.Settings())


def test_a_file_that_is_not_alone_or_lacks_its_config_is_refused(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    spec, settings = resolve_spec(str(path)), framepack.Settings.load(device="cpu")
    assert locate(spec, "transformer", settings).resolve() == (tmp_path / "weights").resolve()
    other = tmp_path / "weights" / "model.safetensors"
    other.write_bytes(b"")
    with pytest.raises(MissingWeights, match=r"stands beside model\.safetensors"):
        locate(spec, "transformer", settings)
    other.unlink()
    (tmp_path / "weights" / "config.json").unlink()
    with pytest.raises(MissingWeights, match=r"needs the config\.json"):
        locate(spec, "transformer", settings)


def test_only_the_transformer_is_read_from_such_a_file(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    path.write_text(path.read_text().replace("transformer =", "vae ="), encoding="utf-8")
    with pytest.raises(MissingWeights, match="which only the transformer is read from"):
        loaded(path)
