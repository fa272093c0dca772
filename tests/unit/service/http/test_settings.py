"""Settings over HTTP: what holds and why, and how the file is changed."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.helpers.answers import refused
from tests.helpers.service import FakeExecutor, new_service, running

from framepack.domain.settings import SHARED_VARIABLES, Settings
from framepack.service.service import Service

FILE = """# of this machine
device = "cpu"  # no card

[service]
max_waiting = 7
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, and an environment that says nothing else."""
    for name in list(os.environ):
        if name.startswith("FRAMEPACK_") or name in SHARED_VARIABLES.values():
            monkeypatch.delenv(name)
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(path))
    return path


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def service(tmp_path: Path, file: Path, executor: FakeExecutor) -> Service:
    assert file.is_file()
    return new_service(tmp_path, executor, settings=Settings.load(dtype="float32"))


def fields_of(client: TestClient) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in client.get("/v1/settings").json()["fields"]}


def test_every_setting_is_there_with_its_value_and_where_it_is_from(
    client: TestClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    answer = client.get("/v1/settings").json()
    fields = {field["name"]: field for field in answer["fields"]}
    assert answer["file"] == str(file)
    assert set(fields) == set(Settings.model_fields)
    assert {field["group"] for field in answer["fields"]} == {g["id"] for g in answer["groups"]}
    found = {name: fields[name]["source"] for name in ("device", "dtype", "offline", "vae")}
    assert found == {"device": "file", "dtype": "flag", "offline": "environment", "vae": "default"}
    assert fields["offline"]["variable"] == "HF_HUB_OFFLINE"
    assert (fields["models_dir"]["kind"], fields["models_dir"]["path"]) == ("text", True)
    assert fields["service"]["value"] == {"max_waiting": 7}


def test_a_change_is_written_beside_what_is_there_and_holds_at_once(
    client: TestClient, service: Service, executor: FakeExecutor, file: Path, tmp_path: Path
) -> None:
    answer = client.patch("/v1/settings", json={"vae": "tiny", "models_dir": str(tmp_path)})
    assert answer.status_code == 200, answer.text
    assert {f["name"]: f["value"] for f in answer.json()["fields"]}["vae"] == "tiny"
    text = file.read_text()
    assert text.startswith('# of this machine\ndevice = "cpu"  # no card\n')
    assert text.endswith("[service]\nmax_waiting = 7\n")
    assert (service.settings.vae, service.settings.models_dir) == ("tiny", tmp_path)
    assert executor.settings is service.settings
    assert service.settings.dtype == "float32"
    assert Settings.load().vae == "tiny"


def test_null_takes_a_value_out_of_the_file(client: TestClient, file: Path) -> None:
    client.patch("/v1/settings", json={"device": None, "loras_dir": ""})
    assert "device" not in file.read_text()
    assert fields_of(client)["device"]["value"] == "auto"
    assert fields_of(client)["loras_dir"]["value"] is None


def test_a_secret_is_kept_and_never_told(
    client: TestClient, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FRAMEPACK_SETTINGS")  # the user's own file, which is not there yet
    for name in ("XDG_CONFIG_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    answer = client.patch("/v1/settings", json={"enhancer_api_key": "sesame"})
    assert answer.status_code == 200, answer.text
    assert "sesame" not in answer.text
    field = fields_of(client)["enhancer_api_key"]
    assert (field["secret"], field["is_set"], field["value"]) == (True, True, None)
    assert service.settings.enhancer_api_key is not None
    assert service.settings.enhancer_api_key.get_secret_value() == "sesame"
    if os.name != "nt":
        assert stat.S_IMODE(Path(answer.json()["file"]).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "gpu"}, "device is 'gpu'; needed: auto, cpu, mps"),
        ({"colour": "red"}, "unknown setting 'colour'"),
        ({"enhancer_timeout_s": 0}, "enhancer_timeout_s is 0; needed: Input should be greater"),
        ({"service": {"prt": 1}}, "unknown setting service.prt"),
        ({"service": {"port": -1}}, "service.port is -1"),
        ({"vae": "tiny", "device": "x"}, "device is 'x'"),
    ],
)
def test_wrong_values_leave_the_file_as_it_is(
    client: TestClient, file: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in refused(client.patch("/v1/settings", json=changes), 422)
    assert file.read_text() == FILE


def test_what_a_flag_or_the_environment_fixes_cannot_be_changed(
    client: TestClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused(client.patch("/v1/settings", json={"dtype": "auto"}), 409)
    assert "given to the program" in message
    monkeypatch.setenv("FRAMEPACK_VAE", "full")
    message = refused(client.patch("/v1/settings", json={"vae": "tiny"}), 409)
    assert "FRAMEPACK_VAE" in message
    assert file.read_text() == FILE


def test_a_file_that_somebody_broke_is_named(client: TestClient, file: Path) -> None:
    file.write_text("device = ")
    assert str(file) in refused(client.patch("/v1/settings", json={"vae": "tiny"}), 422)


def test_only_operators_may_see_or_change_them(tmp_path: Path, file: Path) -> None:
    service = new_service(tmp_path)
    key = {"Authorization": f"Bearer {service.keys.create('guest')[1]}"}
    with running(service) as client:
        assert "operator" in refused(client.get("/v1/settings", headers=key), 403)
        refused(client.patch("/v1/settings", json={"vae": "tiny"}, headers=key), 403)
    assert file.read_text() == FILE
