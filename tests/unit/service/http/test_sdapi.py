"""SD.Next's face: its field names and defaults, and what its own client does."""

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message
from tests.helpers.service import VIDEO, FakeExecutor, a_picture, new_service, running, until

from framepack.service.http.sdnext import FramepackRequest
from framepack.service.records import JobError
from framepack.service.service import Service

DEFAULTS: dict[str, Any] = {
    "variant": None,
    "prompt": "",
    "init_image": None,
    "end_image": None,
    "start_weight": 1,
    "end_weight": 1,
    "vision_weight": 1,
    "system_prompt": None,
    "optimized_prompt": True,
    "section_prompt": None,
    "negative_prompt": "",
    "styles": [],
    "seed": None,
    "resolution": 640,
    "duration": 4,
    "latent_ws": 9,
    "steps": 25,
    "cfg_scale": 1,
    "cfg_distilled": 10,
    "cfg_rescale": 0,
    "shift": 0,
    "use_teacache": True,
    "use_cfgzero": False,
    "mp4_fps": 30,
    "mp4_codec": "libx264",
    "mp4_sf": False,
    "mp4_video": True,
    "mp4_frames": False,
    "mp4_thumb": True,
    "mp4_opt": "crf:16",
    "mp4_ext": "mp4",
    "mp4_interpolate": 0,
    "attention": "Default",
    "vae_type": "Local",
    "vlm_enhance": False,
    "vlm_model": None,
    "vlm_system_prompt": None,
}
"""As the table of the API has them."""


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def service(tmp_path: Path, executor: FakeExecutor) -> Service:
    return new_service(tmp_path, executor)


def picture(tmp_path: Path, **kind: Any) -> str:
    return base64.b64encode(a_picture(tmp_path / "picture.jpg", **kind).read_bytes()).decode()


def test_fields_and_defaults_are_those_of_the_api() -> None:
    assert FramepackRequest().model_dump() == DEFAULTS


def test_null_is_the_default() -> None:
    assert FramepackRequest.model_validate(dict.fromkeys(DEFAULTS)) == FramepackRequest()


def test_the_client_of_sdnext_works_field_by_field(client: TestClient, tmp_path: Path) -> None:
    sent = {
        "prompt": "the camera pans left",
        "init_image": picture(tmp_path),
        "end_image": None,
        "resolution": 640,
        "duration": 1.0,
        "mp4_fps": 30,
        "seed": -1,
        "steps": 25,
        "cfg_scale": 1.0,
        "cfg_rescale": 0.0,
        "cfg_distilled": 10.0,
        "shift": 3.0,
        "use_teacache": False,
        "vlm_enhance": False,
    }
    reply = client.post("/sdapi/v1/framepack", json=sent)
    assert reply.status_code == 200, reply.text
    made = reply.json()
    assert set(made) == {"id", "filename", "message"}
    assert all(isinstance(value, str) for value in made.values())

    progress = client.get("/sdapi/v1/progress?skip_current_image=true").json()
    assert set(progress) == {
        *("id", "progress", "eta_relative", "state", "current_image", "textinfo"),
    }
    assert progress["id"] == made["id"]
    assert progress["progress"] == 1.0
    assert progress["current_image"] is None
    assert set(progress["state"]) == {
        *("skipped", "interrupted", "job", "job_count", "job_timestamp", "job_no"),
        *("sampling_step", "sampling_steps"),
    }

    history = client.get(f"/sdapi/v1/history?id={progress['id']}").json()
    assert [event["op"] for event in history] == ["begin", "output", "end"]
    assert all(
        set(event) == {"id", "job", "op", "timestamp", "duration", "outputs"} for event in history
    )
    assert {event["id"] for event in history} == {made["id"]}
    outputs = history[-1]["outputs"]
    assert outputs[0] == made["filename"]

    video = client.get(f"/file={outputs[0]}")
    assert video.status_code == 200
    assert video.content == VIDEO
    assert video.headers["content-type"] == "video/mp4"
    part = client.get(f"/file={outputs[0]}", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert client.get(f"/file={outputs[1]}").headers["content-type"] == "image/jpeg"


def test_what_was_asked_reaches_the_engine(
    client: TestClient, executor: FakeExecutor, tmp_path: Path
) -> None:
    sent = {
        "variant": "bi-directional",
        "prompt": "a",
        "init_image": f"data:image/jpeg;base64,{picture(tmp_path)}",
        "end_image": picture(tmp_path),
        "start_weight": 0.9,
        "end_weight": 0.8,
        "vision_weight": 0.7,
        "optimized_prompt": False,
        "negative_prompt": "b",
        "seed": 7,
        "resolution": 96,
        "duration": 0.5,
        "latent_ws": 3,
        "steps": 4,
        "cfg_scale": 2,
        "cfg_distilled": 6,
        "cfg_rescale": 0.5,
        "shift": 3,
        "use_cfgzero": True,
        "mp4_fps": 24,
        "mp4_codec": "libx264",
        "mp4_sf": True,
        "mp4_frames": True,
        "mp4_thumb": False,
        "mp4_opt": "crf:20,word",
        "mp4_ext": "mkv",
        "mp4_interpolate": 1,
    }
    reply = client.post("/sdapi/v1/framepack", json=sent)
    assert reply.status_code == 200, reply.text

    task = executor.tasks[-1]
    request = dict(task.request)
    assert {name: request[name] for name in request if name not in ("image", "end_image")} == {
        "variant": "bi-directional",
        "prompt": "a",
        "start_strength": 0.9,
        "end_strength": 0.8,
        "vision_strength": 0.7,
        "system_prompt": "official",
        "negative_prompt": "b",
        "styles": [],
        "seed": 7,
        "resolution": 96,
        "duration_s": 0.5,
        "latent_window_size": 3,
        "num_inference_steps": 4,
        "true_cfg_scale": 2.0,
        "guidance_scale": 6.0,
        "guidance_rescale": 0.5,
        "shift": 3.0,
        "cfg_zero_star": True,
        "zero_init_steps": 1,
        "step_cache": "teacache",
        "fps": 24.0,
        "codec": "libx264",
        "codec_options": "crf:20",
        "interpolate": 2,
        "vae": "full",
    }
    for name in ("image", "end_image"):
        assert Path(request[name]).parent == task.folder / "inputs"
    assert dict(task.options) == {
        "container": "mkv",
        "video": True,
        "thumbnail": False,
        "frames": "jpg",
        "raw": True,
        "audio": "",
        "group": "",
        "label": "",
    }
    assert "mp4_opt: words without a value were left out" in reply.json()["message"]


def test_a_video_needs_no_picture(client: TestClient) -> None:
    assert client.post("/sdapi/v1/framepack", json={"prompt": "a"}).status_code == 200


def test_surplus_section_lines_are_dropped_with_a_note(
    client: TestClient, executor: FakeExecutor
) -> None:
    lines = "\n".join(["one, with a comma", "", "two", "three", "four", "five"])
    sent = {"prompt": "a", "section_prompt": lines, "duration": 1, "latent_ws": 3, "mp4_fps": 24}
    reply = client.post("/sdapi/v1/framepack", json=sent)

    assert reply.status_code == 200, reply.text
    assert "2 of 5 lines were left out, the video has 3 sections" in reply.json()["message"]
    cues = executor.tasks[-1].request["section_prompts"]
    assert [cue["prompt"] for cue in cues] == ["one, with a comma", "two", "three"]


def test_a_size_that_the_model_cannot_make_becomes_its_largest(
    client: TestClient, executor: FakeExecutor
) -> None:
    message = client.post("/sdapi/v1/framepack", json={"prompt": "a"}).json()["message"]

    made = executor.tasks[-1].request["resolution"]
    assert 16 <= made < 640
    assert f"resolution: {made} instead of 640" in message


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"unknown": 1}, "unknown"),
        ({"prompt": "a", "steps": 0}, "steps"),
        ({"prompt": "a", "steps": "many"}, "steps"),
        ({"prompt": "a", "variant": "sideways"}, "variant"),
        ({"prompt": "a", "vae_type": "other"}, "vae_type"),
        ({"prompt": "a", "mp4_ext": "exe"}, "mp4_ext"),
        ({"prompt": "a", "mp4_opt": "stats:/tmp/x"}, "codec option 'stats'"),
        ({"prompt": "a", "init_image": "http://127.0.0.1/x.png"}, "fetches nothing"),
        ({"prompt": "a", "init_image": "file:///etc/passwd"}, "no file"),
        ({"prompt": "a", "init_image": "/etc/passwd"}, "base64"),
        ({"prompt": "a", "init_image": base64.b64encode(b"no picture").decode()}, "no picture"),
        ({"prompt": "a", "styles": ["none"]}, "style"),
        ({"prompt": "\ud800"}, "prompt"),
        ({}, "empty"),
    ],
)
def test_bad_input_is_an_error_of_the_sender(
    client: TestClient, executor: FakeExecutor, sent: dict[str, Any], says: str
) -> None:
    reply = client.post(
        "/sdapi/v1/framepack",
        content=json.dumps(sent),
        headers={"Content-Type": "application/json"},
    )

    assert 400 <= reply.status_code < 500, reply.text
    assert says in reply.json()["error"]["message"]
    assert executor.tasks == []


def test_a_job_that_fails_is_no_success(tmp_path: Path) -> None:
    broken = FakeExecutor(fails=JobError("invalid_request", "the picture is no picture"))
    with running(new_service(tmp_path, broken)) as client:
        reply = client.post("/sdapi/v1/framepack", json={"prompt": "a"})
        job_id = client.get("/sdapi/v1/progress").json()["id"]
        history = client.get(f"/sdapi/v1/history?id={job_id}").json()

    assert reply.status_code == 422
    assert reply.json()["error"]["message"] == "the picture is no picture"
    assert [(event["op"], event["outputs"]) for event in history] == [("begin", []), ("end", [])]


def test_idle_and_new_it_has_nothing_to_say(client: TestClient) -> None:
    progress = client.get("/sdapi/v1/progress").json()

    assert (progress["id"], progress["progress"], progress["textinfo"]) == ("", 0.0, None)
    assert client.get("/sdapi/v1/history").json() == []
    assert client.get("/sdapi/v1/history?id=video_0").json() == []
    assert client.get("/sdapi/v1/status").json()["status"] == "idle"
    assert client.get("/sdapi/v1/log").json() == []
    assert client.post("/sdapi/v1/interrupt").status_code == 204


@pytest.mark.parametrize("route", ["interrupt", "skip"])
def test_a_blocked_client_is_told_when_its_job_is_interrupted(tmp_path: Path, route: str) -> None:
    held = FakeExecutor(is_held=True)
    replies = []
    with running(new_service(tmp_path, held)) as client:
        thread = threading.Thread(
            target=lambda: replies.append(client.post("/sdapi/v1/framepack", json={"prompt": "a"}))
        )
        thread.start()
        until(lambda: client.get("/sdapi/v1/status").json()["status"] == "running")
        # Others are answered while one waits.
        assert client.get("/sdapi/v1/progress").json()["state"]["job"] == "FramePack"
        ended = client.post(f"/sdapi/v1/{route}")
        thread.join(20)
        progress = client.get("/sdapi/v1/progress").json()

    assert (ended.status_code, ended.content) == (204, b"")
    assert replies[0].status_code == 200
    assert replies[0].json()["message"].startswith("interrupted")
    assert replies[0].json()["filename"] == ""
    assert progress["state"]["interrupted"]
    assert progress["id"] == replies[0].json()["id"]


def test_progress_shows_the_video_so_far(client: TestClient) -> None:
    client.post("/sdapi/v1/framepack", json={"prompt": "a"})
    image = client.get("/sdapi/v1/progress").json()["current_image"]

    assert base64.b64decode(image).startswith(b"\xff\xd8\xff")


def test_everything_that_happened_is_told_oldest_first(client: TestClient) -> None:
    ids = [client.post("/sdapi/v1/framepack", json={"prompt": "a"}).json()["id"] for _ in range(2)]
    events = client.get("/sdapi/v1/history").json()

    assert [event["id"] for event in events] == [ids[0]] * 3 + [ids[1]] * 3


def test_a_prompt_is_expanded_without_a_model(client: TestClient) -> None:
    reply = client.post("/sdapi/v1/prompt-enhance", json={"prompt": "a cat.", "type": "video"})

    assert reply.json() == {"prompt": "a cat, with clear and natural movements", "seed": -1}


def test_basic_authentication_is_that_of_sdnexts_client(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    _, secret = service.keys.create("sdnext")
    with running(service) as client:
        refused = client.post("/sdapi/v1/framepack", json={"prompt": "a"})
        reply = client.post("/sdapi/v1/framepack", json={"prompt": "a"}, auth=("me", secret))
        progress = client.get("/sdapi/v1/progress", auth=("me", secret)).json()

    assert refused.status_code == 401
    assert reply.status_code == 200
    assert progress["id"] == reply.json()["id"]


def test_nobody_sees_the_jobs_of_others(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    mine, theirs = ({"auth": ("", service.keys.create(name)[1])} for name in ("me", "them"))
    with running(service) as client:
        made = client.post("/sdapi/v1/framepack", json={"prompt": "a"}, **mine).json()
        assert client.get("/sdapi/v1/progress", **theirs).json()["id"] == ""
        assert client.get(f"/sdapi/v1/history?id={made['id']}", **theirs).json() == []
        assert client.get("/sdapi/v1/history", **theirs).json() == []
        assert client.get(f"/file={made['filename']}", **theirs).status_code == 404
        assert client.get(f"/file={made['filename']}", **mine).status_code == 200


def test_a_client_that_goes_does_not_stop_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framepack.service.http.sdapi._LOOK_S", 0.05)
    held = FakeExecutor(is_held=True)
    service = new_service(tmp_path, held)
    body = b'{"prompt": "a"}'
    said = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:  # a server that knows of the disconnect says so at once
        return said.pop() if said else {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        await asyncio.sleep(0)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/sdapi/v1/framepack"}
    scope |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "state": {}}
    scope |= {"raw_path": b"/sdapi/v1/framepack", "query_string": b"", "root_path": ""}
    scope |= {"headers": [(b"host", b"localhost"), (b"content-type", b"application/json")]}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7860)}
    with running(service) as client:
        asyncio.run(asyncio.wait_for(client.app(scope, receive, send), 20))  # type: ignore[arg-type]
        (job,) = service.store.page().jobs
        assert not job.has_ended
        held.go.set()
        until(lambda: service.store.get(job.id).state == "completed")


def test_a_server_that_stops_lets_waiting_clients_go(tmp_path: Path) -> None:
    held = FakeExecutor(is_held=True)
    service = new_service(tmp_path, held)
    replies = []
    with running(service) as client:
        thread = threading.Thread(
            target=lambda: replies.append(client.post("/sdapi/v1/framepack", json={"prompt": "a"}))
        )
        thread.start()
        until(lambda: service.store.counts().get("running"))
        service.changes.end()
        thread.join(10)

    assert replies[0].status_code == 503
    assert "goes on when it starts again" in replies[0].json()["error"]["message"]
