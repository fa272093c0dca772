"""Downloads need consent, go on where they stopped, and are checked against the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.hub import Hub, serve
from tests.helpers.miniature import (
    PIPELINE_REPO,
    SIGLIP_REPO,
    TRANSFORMER_REPO,
    Miniature,
    write_miniature,
)

from framepack.domain.errors import (
    CheckpointError,
    FramePackError,
    LicenceNotAccepted,
    MissingWeights,
)
from framepack.domain.settings import Settings
from framepack.models.spec import HUNYUAN_LICENCE, PRESETS, ModelSpec, resolve_spec
from framepack.weights import download as download_module
from framepack.weights.consent import is_licence_accepted, record_licence
from framepack.weights.download import MANIFEST_NAME, DownloadProgress, download, verify
from framepack.weights.locate import are_weights_present, locate_all


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return write_miniature(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def hub(miniature: Miniature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub that serves the miniature, with consent given."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download_module.time, "sleep", lambda _: None)
    monkeypatch.setattr(download_module, "_CHUNK_BYTES", 256)
    settings = tmp_path / "config" / "settings.toml"
    settings.parent.mkdir()
    settings.touch()
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(settings))
    record_licence(HUNYUAN_LICENCE)
    with serve(miniature.models_dir) as running:
        yield running


@pytest.fixture
def spec(miniature: Miniature) -> ModelSpec:
    return resolve_spec(str(miniature.hub_recipe))


def _first_shard(hub: Hub) -> str:
    return min(path.name for path in (hub.folder / TRANSFORMER_REPO).glob("*.safetensors"))


def _in_folder(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models", hf_home=tmp_path / "hf", offline=False)


def _in_cache(tmp_path: Path) -> Settings:
    settings = _in_folder(tmp_path)
    return settings.model_copy(update={"models_dir": None})


LAYOUTS = pytest.mark.parametrize("layout", [_in_folder, _in_cache])


@LAYOUTS
def test_a_model_is_fetched_whole_and_found(
    hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any, miniature: Miniature
) -> None:
    settings = layout(tmp_path)
    seen: list[DownloadProgress] = []
    report = download(spec, settings, seen.append, endpoint=hub.url)
    folders = locate_all(spec, settings)
    assert set(report.folders) == {TRANSFORMER_REPO, PIPELINE_REPO, SIGLIP_REPO}
    originals = {"transformer": miniature.transformer, "vae": miniature.pipeline / "vae"}
    for name, original in originals.items():
        for path in original.glob("*.safetensors"):
            assert (folders[name] / path.name).read_bytes() == path.read_bytes()
    assert report.num_files == len({progress.file for progress in seen})
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1].total_bytes == report.fetched_bytes


@LAYOUTS
def test_only_what_is_needed_is_fetched(
    hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any
) -> None:
    download(spec, layout(tmp_path), endpoint=hub.url)
    assert not [path for path, _ in hub.served if path.endswith("README.md")]


@LAYOUTS
def test_nothing_is_fetched_twice(hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any) -> None:
    download(spec, layout(tmp_path), endpoint=hub.url)
    hub.served.clear()
    assert download(spec, layout(tmp_path), endpoint=hub.url).fetched_bytes == 0
    assert hub.served == []


@LAYOUTS
def test_a_broken_connection_is_continued(
    hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any
) -> None:
    name = _first_shard(hub)
    hub.cut_after[name] = 1000
    download(spec, layout(tmp_path), endpoint=hub.url)
    starts = [first for path, first in hub.served if path.endswith(name)]
    assert starts[0] == 0
    assert starts[1] >= 1
    assert are_weights_present(spec, layout(tmp_path))


@LAYOUTS
def test_a_killed_download_goes_on_inside_the_file(
    hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _first_shard(hub)
    hub.cut_after[name] = 1000
    with monkeypatch.context() as killed:
        killed.setattr(download_module, "_ATTEMPTS", 1)
        with pytest.raises(FramePackError, match="repeat"):
            download(spec, layout(tmp_path), endpoint=hub.url)
    assert not are_weights_present(spec, layout(tmp_path))
    hub.served.clear()
    download(spec, layout(tmp_path), endpoint=hub.url)
    starts = [first for path, first in hub.served if path.endswith(name)]
    assert len(starts) == 1
    assert 1 <= starts[0] <= 1000
    assert are_weights_present(spec, layout(tmp_path))


@LAYOUTS
def test_a_file_damaged_in_transit_is_fetched_again(
    hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any
) -> None:
    hub.corrupt["model.safetensors"] = 1
    download(spec, layout(tmp_path), endpoint=hub.url)
    assert verify(spec, layout(tmp_path)).num_files > 10


def test_a_file_that_stays_damaged_is_refused(hub: Hub, spec: ModelSpec, tmp_path: Path) -> None:
    hub.corrupt["model.safetensors"] = 9
    with pytest.raises(CheckpointError, match="arrived damaged twice"):
        download(spec, _in_folder(tmp_path), endpoint=hub.url)
    assert not list((tmp_path / "models").rglob("model.safetensors"))


@LAYOUTS
def test_a_file_changed_on_disk_is_found_offline_and_replaced_online(
    hub: Hub, spec: ModelSpec, tmp_path: Path, layout: Any
) -> None:
    settings = layout(tmp_path)
    report = download(spec, settings, endpoint=hub.url)
    path = report.folders[PIPELINE_REPO] / "vae" / "diffusion_pytorch_model.safetensors"
    real = path.resolve()
    real.write_bytes(real.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors differs"):
        verify(spec, settings)
    download(spec, settings, endpoint=hub.url)
    verify(spec, settings)


def test_every_repository_has_a_manifest(hub: Hub, spec: ModelSpec, tmp_path: Path) -> None:
    report = download(spec, _in_folder(tmp_path), endpoint=hub.url)
    assert all((folder / MANIFEST_NAME).is_file() for folder in report.folders.values())


def test_offline_downloads_nothing_but_verifies(hub: Hub, spec: ModelSpec, tmp_path: Path) -> None:
    settings = _in_folder(tmp_path)
    offline = settings.model_copy(update={"offline": True})
    with pytest.raises(MissingWeights, match="offline is set"):
        download(spec, offline, endpoint=hub.url)
    assert hub.served == []
    download(spec, settings, endpoint=hub.url)
    hub.served.clear()
    assert download(spec, offline, endpoint=hub.url).num_files > 10
    assert hub.served == []


def test_consent_is_asked_once(
    hub: Hub, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "settings.toml"
    other.parent.mkdir()
    other.touch()
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(other))
    settings = _in_folder(tmp_path)
    with pytest.raises(LicenceNotAccepted, match="--accept-license"):
        download(spec, settings, endpoint=hub.url)
    assert hub.served == []
    accepting = settings.model_copy(update={"accept_licence": True})
    download(spec, accepting, endpoint=hub.url)
    assert is_licence_accepted(HUNYUAN_LICENCE)
    download(spec, settings, endpoint=hub.url)


def test_an_unknown_repository_is_one_clear_line(
    hub: Hub, miniature: Miniature, tmp_path: Path
) -> None:
    recipe = tmp_path / "wrong.toml"
    text = miniature.hub_recipe.read_text().replace(SIGLIP_REPO, "miniature/nowhere")
    recipe.write_text(text)
    with pytest.raises(FramePackError, match="the download stopped") as raised:
        download(resolve_spec(str(recipe)), _in_folder(tmp_path), endpoint=hub.url)
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_found_before_the_first_byte(
    hub: Hub, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(FramePackError, match="LOCAL_MODELS_DIR"):
        download(spec, _in_folder(tmp_path), endpoint=hub.url)
    assert hub.served == []


def test_the_embedded_model_needs_no_download(tmp_path: Path) -> None:
    report = download(PRESETS["tiny"], _in_folder(tmp_path))
    assert report.fetched_bytes == 0
