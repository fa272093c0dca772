"""The worker: told to everybody, loaded and unloaded by operators while it is idle."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.helpers.service import FakeExecutor, new_service, running, until

from framepack.domain.settings import Settings


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor(is_held=True)


@pytest.fixture
def client(tmp_path: Path, executor: FakeExecutor) -> Iterator[TestClient]:
    settings = Settings.load().model_copy(update={"hf_home": tmp_path, "models_dir": None})
    with running(new_service(tmp_path, executor, settings=settings)) as client:
        yield client


def test_it_says_what_it_holds(client: TestClient) -> None:
    assert client.get("/v1/worker").json() == {
        "object": "worker",
        "alive": True,
        "busy": False,
        "device": "fake",
        "device_memory_gb": 1.5,
        "host_memory_gb": 0.5,
        "model": None,
        "loading": None,
        "load_error": None,
    }


def test_it_is_loaded_and_unloaded(client: TestClient, executor: FakeExecutor) -> None:
    assert client.post("/v1/worker/load", json={"model": "tiny"}).json()["model"] == "tiny"
    assert executor.loaded == "tiny"
    assert client.post("/v1/worker/unload").json()["model"] is None


def test_a_busy_one_is_left_alone(client: TestClient, executor: FakeExecutor) -> None:
    executor.loaded = "tiny"
    client.post("/v1/videos", json={"prompt": "x", "model": "tiny", "seconds": 1})
    until(lambda: client.get("/v1/worker").json()["busy"])
    for path, sent in (("unload", None), ("load", {"model": "tiny"})):
        answer = client.post(f"/v1/worker/{path}", json=sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "wrong_state")
    assert executor.loaded == "tiny"


@pytest.mark.parametrize(
    ("model", "code"), [("i2v", "missing_weights"), ("no-such", "invalid_request")]
)
def test_a_model_that_is_not_here_is_refused(
    client: TestClient, executor: FakeExecutor, model: str, code: str
) -> None:
    answer = client.post("/v1/worker/load", json={"model": model})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert executor.loaded is None


def test_tenants_see_it_and_leave_it(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    key = {"Authorization": f"Bearer {service.keys.create('tenant')[1]}"}
    with running(service) as client:
        assert client.get("/v1/worker", headers=key).status_code == 200
        assert client.post("/v1/worker/unload", headers=key).status_code == 403
        load = client.post("/v1/worker/load", headers=key, json={"model": "tiny"})
        assert load.status_code == 403


def test_tenants_hear_of_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor, file = FakeExecutor(), tmp_path / "keys"
    file.touch(mode=0o600)
    file.write_text("a-key-of-an-operator")
    told = {"alive": True, "loading": "/srv/mine.toml", "load_error": "/srv/models is damaged"}
    monkeypatch.setattr(executor, "facts", lambda: told)
    service = new_service(tmp_path, executor, api_key_file=file)

    with running(service) as client:
        tenant, operator = (
            client.get("/v1/worker", headers={"X-API-Key": key}).json()
            for key in (service.keys.create("tenant")[1], file.read_text())
        )

    assert (tenant["loading"], tenant["load_error"]) == ("mine", None)
    assert (operator["loading"], operator["load_error"]) == ("mine", "/srv/models is damaged")
