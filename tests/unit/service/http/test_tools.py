"""Tools over HTTP: what they take, what they leave, and what becomes of their tasks."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from safetensors.torch import save_file
from tests.helpers.answers import accepted, ended, refused
from tests.helpers.live_server import a_video
from tests.helpers.service import FakeExecutor, new_service, running, until
from tests.helpers.upscalers import nearest_rrdb, second_layout

from framepack.media.exports import write_raw_frames
from framepack.media.video import probe, read_frames
from framepack.service.service import Service

SMALL = {"prompt": "a red ball", "model": "tiny", "seconds": "1"}


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "dog.mp4"
    a_video(path)
    return path


@pytest.fixture
def service(tmp_path: Path, video: Path) -> Service:
    return new_service(tmp_path, FakeExecutor(video=video.read_bytes()), requests_per_minute=1e6)


def uploaded(client: TestClient, path: Path) -> str:
    answer = client.post("/v1/uploads", files={"file": (path.name, path.read_bytes())})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def use(client: TestClient, tool: str, **fields: Any) -> dict[str, Any]:
    return accepted(client.post(f"/v1/tools/{tool}", json=fields))


def completed(client: TestClient, task: dict[str, Any]) -> dict[str, Any]:
    found = ended(client, task)
    assert found["state"] == "completed", found["error"]
    return found


def test_every_tool_says_what_it_takes(client: TestClient) -> None:
    tools = {tool["id"]: tool for tool in client.get("/v1/tools").json()["data"]}
    assert list(tools) == ["clip", "interpolate", "upscale", "encode", "drift"]
    fields = {field["name"]: field for field in tools["clip"]["fields"]}
    assert (fields["videos"]["kind"], fields["videos"]["many"]) == ("file", True)
    assert (fields["speed"]["kind"], fields["speed"]["min"], fields["speed"]["max"]) == (
        "number",
        0.05,
        100,
    )
    assert fields["interpolation"]["choices"] == ["rife", "minterpolate", "blend"]


def test_two_videos_become_one_twice_as_fast(client: TestClient, video: Path) -> None:
    one, two = uploaded(client, video), uploaded(client, video)
    task = completed(client, use(client, "clip", videos=[one, two], speed=2, crop="32x32+0+0"))
    assert task["fields"] == {
        "videos": ["dog.mp4", "dog.mp4"],
        "speed": 2.0,
        "crop": [32, 32, 0, 0],
    }
    assert (task["progress"], task["output"]["report"]["num_frames"]) == (1.0, 24)
    assert (task["output"]["report"]["width"], task["output"]["report"]["height"]) == (32, 32)


def test_what_is_left_can_be_downloaded_in_parts(
    client: TestClient, service: Service, video: Path, tmp_path: Path
) -> None:
    sent = {"videos": ("a.mp4", video.read_bytes(), "video/mp4")}
    answer = client.post("/v1/tools/clip", files=sent, data={"reverse": "true", "fps": ""})
    task = completed(client, answer.json())
    address = f"/v1/tasks/{task['id']}/files/{task['output']['video']}"
    whole = client.get(address)
    assert whole.headers["content-type"] == "video/mp4"
    (tmp_path / "got.mp4").write_bytes(whole.content)
    assert probe(tmp_path / "got.mp4").num_frames == 24
    first = client.get(address, headers={"Range": "bytes=0-99"})
    assert (first.status_code, first.content) == (206, whole.content[:100])
    assert client.get(f"/v1/tasks/{task['id']}/files/..%2Finputs").status_code == 404
    assert not service.data.task(task["id"]).inputs.exists()


def test_a_video_of_the_server_is_interpolated_to_twice_its_rate(
    client: TestClient, tmp_path: Path
) -> None:
    job = client.post("/v1/videos", json=SMALL).json()
    until(lambda: client.get(f"/v1/videos/{job['id']}").json()["state"] == "completed")
    task = completed(client, use(client, "interpolate", video=job["id"], interpolation="blend"))
    assert task["fields"]["video"] == f"video of {job['id']}"
    assert task["output"]["report"]["fps"] == 48
    again = completed(client, use(client, "drift", video=task["id"], num_sections=2))
    assert len(again["output"]["report"]["sections"]) == 2
    plot = client.get(f"/v1/tasks/{again['id']}/files/{again['output']['plot']}")
    assert plot.content.startswith(b"\x89PNG")


def test_raw_frames_are_encoded(client: TestClient, video: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.safetensors"
    write_raw_frames(read_frames(video), raw, shape=(24, 64, 64), metadata={"fps": 12})
    task = completed(client, use(client, "encode", frames=uploaded(client, raw), container="mkv"))
    assert (task["output"]["video"], task["output"]["report"]["fps"]) == ("encoded.mkv", 12)


def test_a_video_is_enlarged_by_sent_weights(
    client: TestClient, video: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "x4.safetensors"
    save_file(second_layout(nearest_rrdb()), weights)
    fields = {"video": uploaded(client, video), "weights": uploaded(client, weights), "tile": 0}
    task = completed(client, use(client, "upscale", **fields))
    assert task["output"]["report"]["width"] == 256


def test_without_weights_nothing_is_enlarged(client: TestClient, video: Path) -> None:
    task = ended(client, use(client, "upscale", video=uploaded(client, video)))
    assert task["state"] == "failed"
    assert task["error"]["code"] == "invalid_request"
    assert "upscaler_weights" in task["error"]["message"]


@pytest.mark.parametrize(
    ("tool", "fields", "words"),
    [
        ("clip", {}, "videos is missing"),
        ("clip", {"videos": ["upload_0"]}, "there is no upload"),
        ("drift", {"video": "video_0"}, "there is no video"),
        ("drift", {"video": "task_0"}, "there is no task"),
        ("clip", {"video": "x"}, "unknown field 'video'"),
    ],
)
def test_bad_input_is_refused_at_once(
    client: TestClient, tool: str, fields: dict[str, Any], words: str
) -> None:
    assert words in refused(client.post(f"/v1/tools/{tool}", json=fields), 422)
    assert client.get("/v1/tasks").json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"speed": 0}, "speed is 0; it must be a number from 0.05 to 100"),
        ({"filters": ["movie=/etc/passwd"]}, "filter 'movie' is not run"),
        ({"codec": "rawvideo"}, "codec 'rawvideo' is not used"),
        ({"container": "avi"}, "container is 'avi'"),
    ],
)
def test_fields_are_checked_and_named(
    client: TestClient, service: Service, video: Path, fields: dict[str, Any], words: str
) -> None:
    asked = {"videos": [uploaded(client, video)], **fields}
    message = refused(client.post("/v1/tools/clip", json=asked), 422)
    assert words in message
    assert "--" not in message
    assert list((service.data.path / "tasks").iterdir()) == []


def test_what_the_engine_refuses_names_no_folder_of_the_server(
    client: TestClient, service: Service, video: Path
) -> None:
    asked = {"videos": [uploaded(client, video)], "start_s": 50}
    task = ended(client, use(client, "clip", **asked))
    assert (task["state"], task["error"]["code"]) == ("failed", "invalid_request")
    assert str(service.data.path) not in task["error"]["message"]
    assert task["error"]["message"].startswith("50 s to the end was asked of 1.00 s of video")


def test_a_file_of_another_kind_is_named_as_its_sender_calls_it(
    client: TestClient, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x10" + b"\0" * 7 + b'{"a":1}         ')
    upload = uploaded(client, tmp_path / "x.safetensors")
    message = refused(client.post("/v1/tools/drift", json={"video": upload}), 422)
    assert message.startswith("video: video x.safetensors is no video")


def test_there_is_no_other_tool(client: TestClient) -> None:
    assert "there are clip" in refused(client.post("/v1/tools/download", json={"model": "f1"}), 404)


def test_tasks_are_listed_deleted_and_forgotten(
    client: TestClient, service: Service, video: Path
) -> None:
    upload = uploaded(client, video)
    tasks = [completed(client, use(client, "drift", video=upload)) for _ in range(2)]
    page = client.get("/v1/tasks", params={"limit": 1, "state": "completed"}).json()
    assert ([task["id"] for task in page["data"]], page["has_more"]) == ([tasks[1]["id"]], True)
    rest = client.get("/v1/tasks", params={"after": page["last_id"]}).json()
    assert [task["id"] for task in rest["data"]] == [tasks[0]["id"]]
    gone = client.delete(f"/v1/tasks/{tasks[0]['id']}").json()
    assert gone == {"id": tasks[0]["id"], "object": "task.deleted", "deleted": True}
    assert "there is no task" in refused(client.get(f"/v1/tasks/{tasks[0]['id']}"), 404)
    assert not service.data.task(tasks[0]["id"]).path.exists()


def test_files_are_checked_in_the_threads_of_checks(
    client: TestClient, service: Service, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, seen = service.tools.submit, list[int]()

    def watched(*given: Any, **options: Any) -> Any:
        seen.append(client.app.state.checking.borrowed_tokens)  # type: ignore[attr-defined]
        return submit(*given, **options)

    monkeypatch.setattr(service.tools, "submit", watched)
    use(client, "drift", video=uploaded(client, video))
    assert seen == [1]


def test_nobody_else_sees_a_task(tmp_path: Path, video: Path) -> None:
    service = new_service(tmp_path)
    mine, theirs = (
        {"Authorization": f"Bearer {service.keys.create(name)[1]}"} for name in ("a", "b")
    )
    with running(service) as client:
        sent = {"video": ("a.mp4", video.read_bytes())}
        task = client.post("/v1/tools/drift", files=sent, headers=mine).json()
        address = f"/v1/tasks/{task['id']}"
        assert client.get(address, headers=theirs).status_code == 404
        assert client.get("/v1/tasks", headers=theirs).json()["data"] == []
        assert client.post(f"{address}/cancel", headers=theirs).status_code == 404
        assert client.get(address, headers=mine).status_code == 200
