"""What the clients send, and what they make of answers."""

import asyncio
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.helpers.stub_server import Stub, refusal, video

from framepack.client import (
    AccessDenied,
    AsyncClient,
    BadAnswer,
    Client,
    Health,
    NotFound,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    ServerUnreachable,
    StillWorking,
    Video,
    VideoNotMade,
    WrongMoment,
)
from framepack.client.records import Page
from framepack.domain.errors import FramePackError, InvalidRequest

UPLOAD = f"upload_{'9' * 24}"
REFUSED = httpx2.ConnectError("Connection refused")


def _client(*answers: Any, **options: Any) -> tuple[Client, Stub]:
    stub = Stub(list(answers))
    return Client("http://stub:1", transport=stub.transport(), **options), stub


def _ok(values: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, json=values)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been slept."""
    taken: list[float] = []
    monkeypatch.setattr("framepack.client.sync.time.sleep", taken.append)
    return taken


def test_importing_the_client_imports_neither_torch_nor_a_server() -> None:
    code = (
        "import sys, framepack.client; "
        "print([m for m in ('torch', 'numpy', 'fastapi', 'starlette') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type[Any]) -> dict[str, list[str]]:
        public = {name: value for name, value in vars(client).items() if name[0] != "_"}
        return {name: list(inspect.signature(value).parameters) for name, value in public.items()}

    assert methods(AsyncClient) == methods(Client)


def test_create_sends_json_with_a_key_of_its_own() -> None:
    client, stub = _client(_ok(video()))
    made = client.create("pan left", duration_s=2, section_prompts="0: left\n1: right", priority=3)
    assert made.id == "video_1"
    (request,) = stub.requests
    assert (request.method, request.url.path) == ("POST", "/v1/videos")
    assert len(request.headers["idempotency-key"]) == 32
    body = json.loads(request.content)
    assert body["prompt"] == "pan left"
    assert body["priority"] == 3
    assert body["section_prompts"] == [
        {"section": 0, "prompt": "left"},
        {"section": 1, "prompt": "right"},
    ]
    assert "image" not in body


def test_pictures_are_sent_ahead_once_each(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"pixels")
    client, stub = _client(
        _ok({"id": "upload_1", "bytes": 6}), _ok({"id": "upload_2", "bytes": 4}), _ok(video())
    )
    client.create(
        image=picture,
        end_image=picture,
        section_images={1: str(picture)},
        audio=b"beep",
        video=UPLOAD,
    )
    assert [request.url.path for request in stub.requests] == [
        "/v1/uploads",
        "/v1/uploads",
        "/v1/videos",
    ]
    assert b"pixels" in stub.requests[0].content
    assert b'filename="a.png"' in stub.requests[0].content
    body = json.loads(stub.requests[2].content)
    sent = {name: body[name] for name in ("image", "end_image", "audio", "video")}
    assert sent == {
        "image": "upload_1",
        "end_image": "upload_1",
        "audio": "upload_2",
        "video": UPLOAD,
    }
    assert body["section_images"] == [{"section": 1, "image": "upload_1"}]


def test_a_missing_picture_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    client, stub = _client(_ok(video()))
    with pytest.raises(InvalidRequest, match=r"there is no file .*gone\.png"):
        client.create(image=tmp_path / "gone.png")
    assert not stub.requests


def test_the_key_opens_and_is_in_no_message() -> None:
    client, stub = _client(refusal(401, "this needs a key"), api_key="fp_secret")
    with pytest.raises(AccessDenied, match="FRAMEPACK_API_KEY") as caught:
        client.get("video_1")
    assert stub.requests[0].headers["authorization"] == "Bearer fp_secret"
    assert "fp_secret" not in str(caught.value)


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEPACK_URL", "https://studio.example/base/")
    monkeypatch.setenv("FRAMEPACK_API_KEY", "fp_env")
    stub = Stub([_ok(video())])
    Client(transport=stub.transport()).get("video_1")
    assert str(stub.requests[0].url) == "https://studio.example/base/v1/videos/video_1"
    assert stub.requests[0].headers["authorization"] == "Bearer fp_env"


@pytest.mark.parametrize("url", ["", "studio:7860", "ftp://x", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="needed is one such as http"):
        Client(url)


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, RequestRefused, 2),
        (401, AccessDenied, 1),
        (403, AccessDenied, 1),
        (404, NotFound, 1),
        (409, WrongMoment, 1),
        (413, RequestRefused, 2),
        (422, RequestRefused, 2),
        (429, ServerBusy, 1),
        (500, ServerFailed, 1),
    ],
)
def test_each_refusal_has_its_error(
    status: int, kind: type[FramePackError], exit_code: int
) -> None:
    client, stub = _client(refusal(status, "seconds is -1; at least 1", param="seconds"))
    with pytest.raises(kind, match="seconds is -1") as caught:
        client.create("x")
    assert caught.value.exit_code == exit_code
    assert getattr(caught.value, "param", "") == "seconds"
    assert len(stub.requests) == 1


def test_another_program_at_the_address_is_no_server_of_ours() -> None:
    for answer in (httpx2.Response(404, text="<html>"), httpx2.Response(200, text="hello")):
        client, _ = _client(answer)
        with pytest.raises((BadAnswer, NotFound), match="stub"):
            client.get("video_1")
    client, _ = _client(_ok({"id": "video_1"}))
    with pytest.raises(BadAnswer, match="KeyError"):
        client.get("video_1")


def test_a_server_that_is_not_there_is_said_at_once(naps: list[float]) -> None:
    client, stub = _client(REFUSED)
    with pytest.raises(ServerUnreachable, match="framepack serve"):
        client.get("video_1")
    assert len(stub.requests) == 1
    assert not naps


def test_a_server_that_restarts_is_waited_for(naps: list[float]) -> None:
    client, stub = _client(_ok(video()), REFUSED, httpx2.ReadError("reset"), _ok(video()))
    client.get("video_1")
    assert client.create("x").id == "video_1"
    assert len(stub.requests) == 4
    assert len(naps) == 2
    keys = {request.headers["idempotency-key"] for request in stub.requests[1:]}
    assert len(keys) == 1, "one request, however often it is sent"


def test_what_must_not_be_sent_twice_is_not() -> None:
    client, stub = _client(_ok(video()), httpx2.ReadError("reset"), _ok(video()))
    client.get("video_1")
    with pytest.raises(ServerUnreachable):
        client.retry("video_1")
    assert len(stub.requests) == 2


def test_a_busy_server_is_asked_again_when_it_says_so(naps: list[float]) -> None:
    busy = refusal(429, "too many requests", headers={"retry-after": "3"})
    client, _ = _client(busy, _ok(video()))
    assert client.get("video_1").id == "video_1"
    assert naps == [3.0]
    full = refusal(429, "1000 jobs wait", code="queue_full", headers={"retry-after": "5"})
    client, stub = _client(full)
    with pytest.raises(ServerBusy, match="1000 jobs wait"):
        client.create("x")
    assert len(stub.requests) == 1


def test_states_are_read_from_the_shape_that_openai_has() -> None:
    def state(**values: Any) -> str:
        return Video.read(video(**values)).state

    cancelled = {"code": "cancelled", "message": "the job was cancelled"}
    assert state(status="queued") == "queued"
    assert state(status="in_progress") == "running"
    assert state(status="queued", state="paused") == "paused"
    assert state(status="failed", error={"code": "internal", "message": "x"}) == "failed"
    assert state(status="failed", error=cancelled) == "cancelled"


def test_list_goes_from_page_to_page() -> None:
    pages = [
        {"data": [video(id="video_3"), video(id="video_2")], "has_more": True},
        {"data": [video(id="video_1")], "has_more": False},
    ]
    client, stub = _client(*map(_ok, pages))
    assert [found.id for found in client.list(page_size=2)] == ["video_3", "video_2", "video_1"]
    assert [dict(request.url.params) for request in stub.requests] == [
        {"limit": "2", "order": "desc"},
        {"after": "video_2", "limit": "2", "order": "desc"},
    ]
    assert Page.read(pages[1]).last_id == "video_1"


def test_list_asks_for_what_is_wanted() -> None:
    client, stub = _client(_ok({"data": [video(id="video_1")], "has_more": False}))
    found = list(client.list(search="red ball", states=["queued", "running"], group="grid"))
    assert [each.id for each in found] == ["video_1"]
    sent = dict(stub.requests[0].url.params)
    assert (sent["search"], sent["state"], sent["group"]) == ("red ball", "queued,running", "grid")


def test_wait_calls_for_each_change_and_returns_the_end() -> None:
    half = _ok(video(status="in_progress", progress=50))
    client, _ = _client(_ok(video()), half, half, _ok(video(status="completed", progress=100)))
    seen: list[float] = []
    done = client.wait("video_1", on_change=lambda found: seen.append(found.progress.fraction))
    assert done.state == "completed"
    assert seen == [0.0, 0.5, 1.0]


def test_wait_says_why_there_is_no_video() -> None:
    error = {"code": "out_of_memory", "message": "12 GB are not enough; ask for a smaller size"}
    client, _ = _client(_ok(video(status="failed", error=error)))
    with pytest.raises(VideoNotMade, match="12 GB are not enough") as caught:
        client.wait("video_1")
    assert caught.value.code == "out_of_memory"
    client, _ = _client(_ok(video()))
    with pytest.raises(StillWorking, match="queued after 0 s"):
        client.wait("video_1", timeout_s=0)


def test_every_verb_has_its_route() -> None:
    client, stub = _client(_ok(video()))
    client.cancel("video_1")
    client.pause("video_1")
    client.unpause("video_1")
    client.retry("video_1")
    client.remix("video_1", "pan right")
    client.extend("video_1", "pan right", seconds=2)
    client.delete("video_1")
    client.plan("x")
    client.redo("video_1", -1, prompt="it stops", image="upload_0123456789abcdef01234567")
    client.cancel("video_1", keep=True)
    assert [f"{request.method} {request.url.path}" for request in stub.requests] == [
        "POST /v1/videos/video_1/cancel",
        "POST /v1/videos/video_1/pause",
        "POST /v1/videos/video_1/resume",
        "POST /v1/videos/video_1/retry",
        "POST /v1/videos/video_1/remix",
        "POST /v1/videos/video_1/extend",
        "DELETE /v1/videos/video_1",
        "POST /v1/videos/plan",
        "POST /v1/videos/video_1/redo",
        "POST /v1/videos/video_1/cancel",
    ]
    assert stub.requests[0].content == b""
    assert json.loads(stub.requests[5].content) == {"prompt": "pan right", "seconds": 2}
    again = {"section": -1, "prompt": "it stops", "image": "upload_0123456789abcdef01234567"}
    assert json.loads(stub.requests[8].content) == again
    assert json.loads(stub.requests[9].content) == {"keep": True}


@pytest.mark.parametrize("video_id", ["", "../keys", ".", "a/b"])
def test_an_id_cannot_lead_elsewhere(video_id: str) -> None:
    client, stub = _client(_ok(video()))
    with pytest.raises(InvalidRequest, match="is no id"):
        client.delete(video_id)
    assert not stub.requests


def test_health_is_an_answer_even_when_it_is_bad() -> None:
    checks = {"store": "ok", "disk": "3 MB are free"}
    client, stub = _client(
        _ok({"status": "ok", "version": "1"}), _ok({"status": "not_ready", "checks": checks}, 503)
    )
    assert client.health() == Health(False, "1", checks)
    assert [request.url.path for request in stub.requests] == ["/healthz", "/readyz"]


def test_the_async_client_does_the_same(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"pixels")
    done = video(status="completed")
    stub = Stub(
        [
            _ok({"id": "upload_1"}),
            _ok(video()),
            _ok({"data": [video()], "has_more": False}),
            _ok(done),
        ]
    )

    async def story() -> list[str]:
        async with AsyncClient("http://stub:1", transport=stub.transport()) as client:
            made = await client.create("x", image=picture)
            found = [item.id async for item in client.list()]
            return [made.id, *found, (await client.wait(made.id)).state]

    assert asyncio.run(story()) == ["video_1", "video_1", "completed"]
    assert b"pixels" in stub.requests[0].content
    assert json.loads(stub.requests[1].content)["image"] == "upload_1"
