"""Models over HTTP: their terms, getting their weights, and recipes that stand for models."""

import json
import struct
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.helpers.answers import ended, refused
from tests.helpers.hub import serve
from tests.helpers.service import FakeExecutor, new_service, until

from framepack.domain.settings import Settings
from framepack.models.spec import HUNYUAN_LICENCE, TINY
from framepack.service.service import Service
from framepack.weights.consent import is_licence_accepted

MINE = 'base = "tiny"\ntitle = "my fine-tune"\nvariants = ["forward-only"]\n'


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: FakeExecutor) -> Service:
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(tmp_path / "settings.toml"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.load(
        models_dir=tmp_path / "models", hf_home=tmp_path / "home", loras_dir=tmp_path
    )
    return new_service(tmp_path, executor, settings=settings, requests_per_minute=1e6)


def test_a_model_says_what_is_here_of_it_and_under_which_terms(client: TestClient) -> None:
    models = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    assert list(models) == ["tiny", "i2v", "f1"]
    size = sum(path.stat().st_size for path in TINY.glob("*/*.safetensors")) / 1e9
    assert models["tiny"]["size_gb"] == pytest.approx(size, abs=1e-4)
    assert (models["tiny"]["licence_accepted"], models["tiny"]["licence_url"]) == (True, None)
    assert models["f1"]["size_gb"] == pytest.approx(43.4)
    assert (models["f1"]["weights_present"], models["f1"]["licence_accepted"]) == (False, False)
    assert models["f1"]["licence_url"] == HUNYUAN_LICENCE.url


def test_the_terms_can_be_read_before_they_are_accepted(client: TestClient) -> None:
    terms = client.get("/v1/models/i2v/licence").json()
    assert (terms["name"], terms["accepted"]) == (HUNYUAN_LICENCE.name, False)
    assert HUNYUAN_LICENCE.url in terms["text"]
    assert client.get("/v1/models/tiny/licence").json()["name"] is None
    assert "there is no model" in refused(client.get("/v1/models/x/licence"), 404)


def test_nothing_is_fetched_without_consent(client: TestClient) -> None:
    message = refused(client.post("/v1/models/i2v/download"), 422)
    assert HUNYUAN_LICENCE.url in message
    assert "accept_licence" in message
    refused(client.post("/v1/models/i2v/download", json={"accept_licence": False}), 422)
    assert not is_licence_accepted(HUNYUAN_LICENCE)
    assert client.get("/v1/tasks").json()["data"] == []


def test_what_is_in_the_package_needs_no_download(client: TestClient) -> None:
    assert "needs no download" in refused(client.post("/v1/models/tiny/download", json={}), 422)


def test_an_offline_server_fetches_nothing(client: TestClient) -> None:
    assert client.patch("/v1/settings", json={"offline": True}).status_code == 200
    asked = {"accept_licence": True}
    assert "offline" in refused(client.post("/v1/models/f1/download", json=asked), 409)


def test_only_operators_fetch_and_keep_recipes(service: Service, client: TestClient) -> None:
    key = {"Authorization": f"Bearer {service.keys.create('guest')[1]}"}
    asked = {"accept_licence": True}
    refused(client.post("/v1/models/f1/download", json=asked, headers=key), 403)
    refused(client.put("/v1/recipes/mine", json={"text": MINE}, headers=key), 403)
    refused(client.get("/v1/models/tiny/recipe", headers=key), 403)
    assert client.get("/v1/models/tiny", headers=key).json()["sources"] == {}


def test_weights_are_fetched_as_a_task_after_consent(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "hub" / "someone" / "fine-tune" / "transformer"
    repo.mkdir(parents=True)
    for path in (TINY / "transformer").iterdir():
        (repo / path.name).write_bytes(path.read_bytes())
    recipe = MINE.replace("tiny", "f1", 1) + "[components]\n"
    recipe += f'pipeline = "{TINY.as_posix()}"\ntransformer = "someone/fine-tune/transformer"\n'
    saved = client.put("/v1/recipes/tuned", json={"text": recipe})
    assert saved.status_code == 200, saved.text
    assert saved.json()["weights_present"] is False
    with serve(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        asked = {"accept_licence": True}
        task = client.post("/v1/models/tuned/download", json=asked).json()
        assert (task["tool"], task["fields"]) == ("download", {"model": "tuned"})
        done = ended(client, task)
    assert done["state"] == "completed", done["error"]
    assert done["output"]["report"]["fetched_bytes"] > 1_000_000
    model = client.get("/v1/models/tuned").json()
    assert (model["weights_present"], model["licence_accepted"]) == (True, True)
    assert model["download"]["id"] == task["id"]


def test_a_download_that_cannot_be_made_says_why(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    first = client.post("/v1/models/f1/download", json={"accept_licence": True}).json()
    done = ended(client, first)
    assert (done["state"], done["error"]["code"]) == ("failed", "failed")
    assert "the download stopped" in done["error"]["message"]
    again = client.post("/v1/models/f1/download").json()  # consent is remembered
    assert again["id"] != first["id"]


def test_a_model_can_be_changed_as_a_recipe_and_named(
    client: TestClient, executor: FakeExecutor, service: Service
) -> None:
    answer = client.get("/v1/models/tiny/recipe")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text.replace("num_inference_steps = 10", "num_inference_steps = 3")
    assert client.post("/v1/recipes/check", json={"text": text}).json()["id"] is None
    assert client.get("/v1/recipes").json()["data"] == []
    saved = client.put("/v1/recipes/quick", json={"text": text}).json()
    assert (saved["id"], saved["weights_present"]) == ("quick", True)
    assert client.get("/v1/recipes/quick").json()["text"] == text
    models = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    assert models["quick"]["recipe"] is True
    assert models["quick"]["defaults"]["num_inference_steps"] == 3
    made = client.post("/v1/videos", json={"prompt": "a ball", "model": "quick", "seconds": 1})
    assert made.status_code == 200, made.text
    assert (made.json()["model"], made.json()["request"]["model"]) == ("quick", "quick")
    until(lambda: executor.tasks)
    assert Path(executor.tasks[0].request["model"]) == service.recipes.path("quick")
    again = client.post(f"/v1/videos/{made.json()['id']}/remix", json={"prompt": "two balls"})
    assert again.json()["model"] == "quick"
    reused = client.post(f"/v1/videos/{made.json()['id']}/reuse")
    assert reused.json()["request"]["model"] == "quick"
    assert str(service.data.path) not in made.text + again.text + reused.text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine", "base = ", "cannot be read"),
        ("mine", 'base = "huge"', "unknown base 'huge'"),
        ("mine", "colour = 1", "colour"),
        ("mine", '[components]\nvae = "no source"', "neither a repository nor a folder"),
        ("tiny", MINE, "is a model already"),
        (".hidden", MINE, "it must be letters"),
        ("a" * 65, MINE, "it must be letters"),
    ],
)
def test_a_wrong_recipe_is_not_kept(
    client: TestClient, service: Service, name: str, text: str, words: str
) -> None:
    message = refused(client.put(f"/v1/recipes/{name}", json={"text": text}), 422)
    assert words in message
    assert str(service.data.path) not in message
    assert list(service.data.recipes.iterdir()) == []


def test_a_recipe_that_somebody_damaged_is_told_of(service: Service, client: TestClient) -> None:
    (service.data.recipes / "mine.toml").write_bytes(b'title = "\xff"')
    assert "no text in UTF-8" in refused(client.get("/v1/recipes/mine"), 422)
    assert client.get("/v1/recipes").json()["data"] == []


def test_a_deleted_recipe_is_no_model_any_more(client: TestClient) -> None:
    client.put("/v1/recipes/mine", json={"text": MINE})
    assert client.delete("/v1/recipes/mine").json()["deleted"] is True
    refused(client.delete("/v1/recipes/mine"), 404)
    message = refused(client.post("/v1/videos", json={"prompt": "x", "model": "mine"}), 422)
    assert "this server has tiny, i2v, f1" in message


def test_a_lora_says_what_its_header_knows(client: TestClient, tmp_path: Path) -> None:
    metadata = {
        "modelspec.title": "Felt",
        "ss_trigger_words": '["made of felt", "wool"]',
        "ss_base_model_version": "hunyuan-video",
    }
    header = json.dumps({"__metadata__": metadata}).encode()
    (tmp_path / "felt.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (tmp_path / "torn.safetensors").write_bytes(b"\xff" * 9)
    felt, torn = client.get("/v1/loras").json()["data"]
    assert (felt["title"], felt["base"]) == ("Felt", "hunyuan-video")
    assert felt["trigger_words"] == ["made of felt", "wool"]
    assert (torn["title"], torn["trigger_words"], torn["base"]) == (None, [], None)
