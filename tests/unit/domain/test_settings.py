"""Settings come from file, environment and flags, in rising order."""

import os
from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings, settings_path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty settings file, and an environment that says nothing else."""
    shared = ("OUTPUTS_DIR", "LOCAL_MODELS_DIR", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")
    for name in list(os.environ):
        if name.startswith("FRAMEPACK_") or name in (*shared, "XDG_CACHE_HOME"):
            monkeypatch.delenv(name)
    path = tmp_path / "settings.toml"
    path.touch()
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(path))
    return path


@pytest.mark.usefixtures("file")
def test_defaults_ask_nothing_of_the_machine() -> None:
    settings = Settings.load()
    assert (settings.device, settings.dtype) == ("auto", "auto")
    assert settings.offline is settings.accept_licence is settings.keep_runs is False
    assert settings.hub_cache == Path.home() / ".cache" / "huggingface" / "hub"


def test_the_file_wins_over_the_defaults(file: Path) -> None:
    file.write_text('device = "cuda:1"\nkeep_runs = true\n')
    assert (Settings.load().device, Settings.load().keep_runs) == ("cuda:1", True)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('device = "cuda:1"\n')
    monkeypatch.setenv("FRAMEPACK_DEVICE", "cpu")
    assert Settings.load().device == "cpu"


@pytest.mark.usefixtures("file")
def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEPACK_DEVICE", "cpu")
    assert Settings.load(device="mps", dtype=None).device == "mps"


@pytest.mark.usefixtures("file")
def test_variables_of_other_programs_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUTS_DIR", "o")
    monkeypatch.setenv("LOCAL_MODELS_DIR", "m")
    monkeypatch.setenv("HF_HOME", "h")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = Settings.load()
    assert (settings.outputs_dir, settings.models_dir) == (Path("o"), Path("m"))
    assert settings.hub_cache == Path("h/hub")
    assert settings.offline is True


@pytest.mark.usefixtures("file")
def test_our_own_variable_wins_over_a_shared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUTS_DIR", "shared")
    monkeypatch.setenv("FRAMEPACK_OUTPUTS_DIR", "own")
    assert Settings.load().outputs_dir == Path("own")


@pytest.mark.usefixtures("file")
def test_an_explicit_download_cache_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "h")
    monkeypatch.setenv("HF_HUB_CACHE", "elsewhere")
    assert Settings.load().hub_cache == Path("elsewhere")


@pytest.mark.usefixtures("file")
def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEPACK_OFFLINE", "")
    monkeypatch.setenv("OUTPUTS_DIR", "")
    assert Settings.load().outputs_dir == Path("outputs")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("device = ", "cannot be read"),
        ('device = "gpu"', "device is 'gpu'; needed: auto, cpu"),
        ('dtype = "float8"', "dtype is 'float8'; needed: "),
        ('offline = "perhaps"', "offline is 'perhaps'"),
        ("devise = 1", "unknown setting 'devise'; known are outputs_dir"),
    ],
)
def test_a_bad_file_gives_one_line_with_its_path(file: Path, text: str, line: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        Settings.load()
    assert line in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_named_file_must_exist(file: Path) -> None:
    file.unlink()
    with pytest.raises(InvalidRequest, match="no such file"):
        Settings.load()


@pytest.mark.usefixtures("file")
def test_without_a_name_the_users_configuration_folder_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FRAMEPACK_SETTINGS")
    assert settings_path().parts[-2:] == ("framepack", "settings.toml")


def test_the_home_folder_may_be_written_short(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('outputs_dir = "~/Videos"\n')
    monkeypatch.setenv("LOCAL_MODELS_DIR", "~/models")
    settings = Settings.load()
    assert settings.outputs_dir == Path.home() / "Videos"
    assert settings.models_dir == Path.home() / "models"
