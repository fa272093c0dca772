"""The routes of videos, one by one, with a fake that makes them."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.helpers.answers import accepted, refused
from tests.helpers.service import FakeExecutor, a_picture, data_url, new_service, running, until

from framepack.service.http import errors
from framepack.service.records import StoreBusy, StoreFull
from framepack.service.service import Service

SMALL = {"prompt": "a red ball", "model": "tiny", "seconds": "1"}


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor(is_held=True)


@pytest.fixture
def service(tmp_path: Path, executor: FakeExecutor) -> Service:
    return new_service(tmp_path, executor, upload_mb=0.5)


def make(client: TestClient, **fields: Any) -> dict[str, Any]:
    return accepted(client.post("/v1/videos", json={**SMALL, **fields}))


def state(client: TestClient, video_id: str) -> str:
    return str(client.get(f"/v1/videos/{video_id}").json()["state"])


def running_one(client: TestClient) -> str:
    video_id = str(make(client)["id"])
    until(lambda: state(client, video_id) == "running")
    return video_id


def test_a_video_says_what_becomes_of_it(client: TestClient) -> None:
    video = make(client, size="128x96", seed=7)
    assert (video["object"], video["size"], video["seconds"]) == ("video", "128x96", "1")
    assert (video["seed"], video["num_frames"], video["prompt"]) == (7, 30, "a red ball")
    assert video["completed_at"] is None


def test_polling_clients_are_told_when_to_come_again(
    client: TestClient, executor: FakeExecutor
) -> None:
    path = f"/v1/videos/{make(client)['id']}"
    assert client.get(path).headers["openai-poll-after-ms"] == "1000"
    executor.go.set()
    until(lambda: client.get(path).json()["status"] == "completed")
    assert "openai-poll-after-ms" not in client.get(path).headers


def test_a_plan_is_made_of_nothing_but_a_request(client: TestClient) -> None:
    answer = client.post("/v1/videos/plan", json={"model": "tiny", "seconds": 3, "seed": 7})
    plan = answer.json()
    assert (plan["object"], plan["num_frames"], plan["seed"]) == ("video.plan", 90, 7)
    assert len(plan["plan"]["sections"]) == plan["num_sections"]
    assert client.get("/v1/videos").json()["data"] == []


def test_the_plan_of_a_waiting_video_is_known(client: TestClient) -> None:
    planned = client.post("/v1/videos/plan", json={**SMALL, "seed": 7}).json()
    video = make(client, seed=7)
    kept = client.get(f"/v1/videos/{video['id']}/plan").json()
    assert kept["plan"]["sections"] == planned["plan"]["sections"]
    assert kept["plan"]["seed"] == 7


def test_a_plan_of_an_older_version_is_told_as_it_is(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    video = make(client, image=data_url(a_picture(tmp_path / "start.png")))
    with service.database.transaction() as connection:
        connection.execute("UPDATE jobs SET plan = json_remove(plan, '$.request.fps')")
    plan = client.get(f"/v1/videos/{video['id']}/plan").json()["plan"]
    assert "fps" not in plan["request"]
    assert "/" not in plan["request"]["image"]


def test_paths_of_the_server_are_nobodys_business(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    url = data_url(a_picture(tmp_path / "a.png"))
    texts = [
        client.post("/v1/videos", json={**SMALL, "image": url}).text,
        client.post("/v1/videos/plan", json={**SMALL, "image": url}).text,
    ]
    assert not any(str(service.data.path) in text for text in texts)
    assert '"image":"image.png"' in texts[0]


def test_a_prompt_that_looks_like_a_path_stays_what_it_is(client: TestClient) -> None:
    video = make(client, prompt="/imagine/a cat")
    assert video["prompt"] == video["request"]["prompt"] == "/imagine/a cat"


def test_videos_wait_and_move_in_the_queue(client: TestClient) -> None:
    running_one(client)
    first, second, third = (str(make(client)["id"]) for _ in range(3))

    def waiting() -> list[str]:
        found: list[str] = client.get("/v1/queue").json()["waiting"]
        return found

    assert waiting() == [first, second, third]
    client.post(f"/v1/videos/{third}/move", json={"before": first})
    assert waiting() == [third, first, second]
    client.post(f"/v1/videos/{second}/move", json={"priority": 5})
    assert waiting() == [second, third, first]
    client.post(f"/v1/videos/{second}/pause")
    assert waiting() == [third, first]
    assert state(client, second) == "paused"
    client.post(f"/v1/videos/{second}/resume")
    assert second in waiting()


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ({}, "either priority or before"),
        ({"priority": 1, "before": "x"}, "either priority or before"),
        ({"priority": 10**9}, "priority"),
        ({"x": 1}, "x: Extra"),
    ],
)
def test_a_move_needs_one_place(client: TestClient, move: dict[str, Any], message: str) -> None:
    video_id = make(client)["id"]
    answer = client.post(f"/v1/videos/{video_id}/move", json=move)
    assert message in refused(answer, 422)


def test_a_cancelled_video_can_be_tried_again(client: TestClient, executor: FakeExecutor) -> None:
    video_id = running_one(client)
    client.post(f"/v1/videos/{video_id}/cancel")
    until(lambda: state(client, video_id) == "cancelled")
    video = client.get(f"/v1/videos/{video_id}").json()
    assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")
    executor.go.set()
    assert client.post(f"/v1/videos/{video_id}/retry").json()["status"] == "queued"
    until(lambda: state(client, video_id) == "completed")


def test_states_that_do_not_fit_are_conflicts(client: TestClient) -> None:
    video_id = running_one(client)
    assert "cancel it first" in refused(client.delete(f"/v1/videos/{video_id}"), 409)
    refused(client.post(f"/v1/videos/{video_id}/resume"), 409)
    refused(client.post(f"/v1/videos/{video_id}/retry"), 409)
    refused(client.get(f"/v1/videos/{video_id}/content"), 409)
    assert "when it is completed" in refused(
        client.post(f"/v1/videos/{video_id}/extend", json={"prompt": "x"}), 409
    )


@pytest.mark.parametrize("verb", ["", "/content", "/events"])
def test_a_video_that_is_not_there_is_not_found(client: TestClient, verb: str) -> None:
    for video_id in ("video_000000000000000000000000", "nothing"):
        said = refused(client.get(f"/v1/videos/{video_id}{verb}"), 404)
        assert video_id in said


def test_a_key_makes_a_request_safe_to_repeat(client: TestClient) -> None:
    headers = {"Idempotency-Key": "one"}
    ids = {
        client.post("/v1/videos", json={**SMALL, "seed": 1}, headers=headers).json()["id"]
        for _ in range(3)
    }
    assert len(ids) == 1
    assert "new key" in refused(
        client.post("/v1/videos", json={**SMALL, "seed": 2}, headers=headers), 409
    )
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_an_upload_is_used_by_its_id(client: TestClient, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "a.png", (96, 64))
    with picture.open("rb") as file:
        upload = client.post("/v1/uploads", files={"file": ("dog.png", file)}).json()
    assert (upload["filename"], upload["bytes"]) == ("dog.png", picture.stat().st_size)
    for said in (upload["id"], {"file_id": upload["id"]}):
        assert make(client, image=said)["request"]["image"] == "image.png"
    assert client.get("/v1/uploads").json()["data"] == [upload]
    assert client.delete(f"/v1/uploads/{upload['id']}").json()["deleted"] is True
    answer = client.post("/v1/videos", json={**SMALL, "image": upload["id"]})
    assert "send the file again" in refused(answer, 422)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("http://127.0.0.1/a.png", "fetches nothing"),
        ("file:///etc/passwd", "no file"),
        ("/etc/passwd", "no file"),
        ("data:image/png;base64,%%%", "base64 is broken"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,aGVsbG8=", "no picture"),
        ({"image_url": "x", "file_id": "y"}, "must have one of"),
        ({"image_url": {"url": "http://x/"}}, "fetches nothing"),
        ({"path": "/etc/passwd"}, "must have one of"),
        (7, "must be a file"),
        ([], "must be a file"),
        ("", "no file"),
        ("video_000000000000000000000000", "no file"),
    ],
)
def test_pictures_that_are_none_are_refused(client: TestClient, said: Any, message: str) -> None:
    answer = client.post("/v1/videos", json={**SMALL, "image": said})
    assert message in refused(answer, 422)


@pytest.mark.parametrize("path", ["/v1/uploads", "/v1/videos"])
def test_a_body_that_is_too_large_is_said_so(client: TestClient, path: str) -> None:
    answer = client.post(path, files={"file": ("a", b"x" * 600_000)})
    assert "0.5 MB" in refused(answer, 413)


@pytest.mark.parametrize(
    ("body", "message"),
    [({"data": {"x": "1"}}, "unknown field"), ({"data": {"file": "text"}}, "file is missing")],
)
def test_an_upload_is_one_file(client: TestClient, body: dict[str, Any], message: str) -> None:
    assert message in refused(client.post("/v1/uploads", **body), 422)
    refused(client.post("/v1/uploads", files={"file": ("a", b"")}), 422)


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 101}, {"order": "up"}, {"limit": "x"}])
def test_a_page_has_limits(client: TestClient, params: dict[str, Any]) -> None:
    (name,) = params
    assert name in refused(client.get("/v1/videos", params=params), 422)


def test_a_page_begins_after_a_video_that_is_there(client: TestClient) -> None:
    said = refused(client.get("/v1/videos", params={"after": "nothing"}), 404)
    assert "nothing" in said


@pytest.mark.parametrize(
    ("error", "status"), [(StoreBusy("in use"), 503), (StoreFull("no space"), 507)]
)
def test_trouble_of_the_store_is_told_apart(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch,
    error: Exception, status: int,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(service.store, "create", fail)
    answer = client.post("/v1/videos", json=SMALL)
    refused(answer, status)
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    service = new_service(tmp_path, FakeExecutor(is_held=True), max_waiting=1)
    with running(service) as client:
        client.post("/v1/queue/pause")
        make(client)
        answer = client.post("/v1/videos", json=SMALL)
    refused(answer, 429)
    assert int(answer.headers["retry-after"]) > 0


def test_videos_of_other_keys_are_not_there(tmp_path: Path) -> None:
    service = new_service(tmp_path, FakeExecutor(is_held=True))
    secrets = [service.keys.create(name)[1] for name in ("one", "two")]
    mine, yours = ({"Authorization": f"Bearer {secret}"} for secret in secrets)
    with running(service) as client:
        video_id = client.post("/v1/videos", json=SMALL, headers=mine).json()["id"]
        for method, verb in (
            ("GET", ""), ("GET", "/content"), ("GET", "/events"), ("DELETE", ""),
            ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/retry"), ("POST", "/remix"),
            ("POST", "/extend"),
        ):  # fmt: skip
            path = f"/v1/videos/{video_id}{verb}"
            refused(client.request(method, path, headers=yours), 404)
        assert client.get("/v1/videos", headers=yours).json()["data"] == []
        assert client.get("/v1/queue", headers=yours).json()["waiting"] == []
        refused(client.post("/v1/queue/pause", headers=yours), 403)
        assert client.get(f"/v1/videos/{video_id}", headers=mine).status_code == 200


def test_the_catalogue_says_what_there_is(client: TestClient) -> None:
    models = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    assert models["tiny"]["weights_present"] is True
    assert models["i2v"]["weights_present"] is False
    assert client.get("/v1/models/tiny").json() == models["tiny"]
    refused(client.get("/v1/models/none"), 404)
    assert client.get("/v1/loras").json() == {"object": "list", "data": []}


def test_styles_are_listed_with_their_values(tmp_path: Path) -> None:
    from framepack.domain.settings import Settings

    (tmp_path / "styles.toml").write_text(
        '[noir]\nprompt = "{prompt}, black and white"\nsteps = 12\n'
    )
    settings = Settings.load(styles_file=tmp_path / "styles.toml")
    with running(new_service(tmp_path, settings=settings)) as client:
        (style,) = client.get("/v1/presets").json()["data"]
        video = make(client, styles=["noir"])
        plan = client.post("/v1/videos/plan", json={**SMALL, "styles": ["noir"]}).json()
    assert (style["id"], style["values"]) == ("noir", {"steps": 12})
    assert any("black and white" in note for note in video["notes"])
    assert plan["plan"]["request"]["num_inference_steps"] == 12


def test_every_route_is_described_with_errors_and_an_example_where_one_helps(
    client: TestClient,
) -> None:
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert {"404", "422"} <= set(operation["responses"]), (method, path)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert content["schema"], (method, path)
    create = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    for example in create["application/json"]["examples"].values():
        assert client.post("/v1/videos/plan", json=example["value"]).status_code == 200


def test_an_error_is_never_its_own_cause(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows causes to their end would never come there."""
    seen: list[BaseException] = []
    monkeypatch.setattr(errors, "is_disk_full", lambda error: bool(seen.append(error)))
    for body in ({**SMALL, "seconds": "soon"}, {**SMALL, "seed": -1}):
        refused(client.post("/v1/videos", json=body), 422)
    assert len(seen) == 2
    assert all(error.__cause__ is not error for error in seen)


def test_a_list_is_searched_by_words_state_and_group(client: TestClient) -> None:
    first = running_one(client)
    red = make(client, prompt="a red bird", group="grid 1", label="red", seed=4)
    make(client, prompt="a blue bird", group="grid 1", label="blue")
    assert (red["group"], red["label"], red["options"]["container"]) == ("grid 1", "red", "mp4")

    def ids(**query: str) -> list[str]:
        return [each["id"] for each in client.get("/v1/videos", params=query).json()["data"]]

    assert ids(search="red bird") == [red["id"]]
    assert ids(state="running,completed") == [first]
    assert len(ids(group="grid 1")) == 2
    assert ids(group="grid 1", search="4") == [red["id"]]
    assert "it must be some of" in refused(client.get("/v1/videos?state=runing"), 422)


def test_a_remix_is_of_no_group(client: TestClient) -> None:
    parent = make(client, group="grid 1", label="red")
    again = client.post(f"/v1/videos/{parent['id']}/remix", json={"prompt": "blue"}).json()
    assert (again["group"], again["label"]) == ("", "")


def test_a_plan_says_that_nothing_was_measured_yet(client: TestClient) -> None:
    plan = client.post("/v1/videos/plan", json=SMALL).json()
    assert plan["estimate"] == {
        "seconds": None,
        "device_memory_gb": None,
        "host_memory_gb": None,
        "basis": "not measured yet on this machine",
    }
