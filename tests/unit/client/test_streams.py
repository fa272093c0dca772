"""Events and downloads over connections that break."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.helpers.stub_server import Stub, file_of, refusal, stream_of, video

from framepack.client import (
    AsyncClient,
    BadAnswer,
    Client,
    NotFound,
    ServerUnreachable,
    VideoEvent,
    WrongMoment,
)
from framepack.domain.errors import FramePackError

CONTENT = bytes(range(256)) * 40
QUEUED, DONE = (1, "Queued", {}), (4, "Completed", {})
STEPS = [(number, "StepDone", {"step": number}) for number in (2, 3)]


def _client(*answers: Any, **options: Any) -> tuple[Client, Stub]:
    stub = Stub(list(answers))
    return Client("http://stub:1", transport=stub.transport(), **options), stub


@pytest.fixture(autouse=True)
def _no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framepack.client.sync.time.sleep", lambda _: None)


def test_events_come_once_and_in_order_over_a_broken_connection() -> None:
    client, stub = _client(
        stream_of(QUEUED, STEPS[0], breaks=True),
        httpx2.ConnectError("refused"),
        stream_of(STEPS[0], STEPS[1]),  # says again what is known, and ends before the video
        stream_of(DONE),
    )
    events = list(client.events("video_1"))
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert events[1] == VideoEvent(2, "StepDone", None, {"step": 2})
    asked = [request.headers.get("last-event-id") for request in stub.requests]
    assert asked == [None, "2", "2", "3"]


def test_events_go_on_after_the_one_that_is_known() -> None:
    client, stub = _client(stream_of(DONE))
    assert [event.kind for event in client.events("video_1", after=3)] == ["Completed"]
    assert stub.requests[0].headers["last-event-id"] == "3"


def test_an_envelope_is_opened() -> None:
    wrapped = {"seq": 4, "at": 12.5, "kind": "Failed", "data": {"code": "internal"}}
    client, _ = _client(stream_of((4, "message", wrapped)))
    (event,) = client.events("video_1")
    assert event == VideoEvent(4, "Failed", 12.5, {"code": "internal"})


def test_a_retried_video_is_followed_to_its_second_end() -> None:
    again = [(1, "Failed", {}), (2, "Queued", {}), (3, "Completed", {})]
    client, _ = _client(stream_of(*again))
    assert [event.kind for event in client.events("video_1")] == ["Failed", "Queued", "Completed"]


def test_events_of_nothing_are_refused() -> None:
    client, stub = _client(refusal(404, "there is no video video_1"))
    with pytest.raises(NotFound, match="there is no video video_1"):
        list(client.events("video_1"))
    client, stub = _client(httpx2.Response(200, json=video()))
    with pytest.raises(BadAnswer, match="no stream"):
        list(client.events("video_1"))
    assert len(stub.requests) == 1


def test_a_stream_that_never_goes_on_is_given_up() -> None:
    client, stub = _client(stream_of(QUEUED), stream_of(), patience_s=0.0)
    with pytest.raises(ServerUnreachable, match="before the video had ended"):
        list(client.events("video_1"))
    assert len(stub.requests) == 1


def test_a_download_that_breaks_goes_on_where_it_stopped(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    seen: list[tuple[int, int | None]] = []
    client, stub = _client(
        lambda request: file_of(CONTENT, request, cut=1000),
        lambda request: file_of(CONTENT, request, cut=2000),
        lambda request: file_of(CONTENT, request),
    )
    client.download("video_1", target, on_progress=lambda *told: seen.append(told))
    assert target.read_bytes() == CONTENT
    asked = [request.headers.get("range") for request in stub.requests]
    assert asked == [None, "bytes=1000-", "bytes=3000-"]
    assert seen == [(1000, 10240), (3000, 10240), (10240, 10240)]
    assert not list(tmp_path.glob(".*"))


def test_another_process_goes_on_too_and_the_old_file_stays_till_then(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    client, _ = _client(lambda request: file_of(CONTENT, request, cut=1000), patience_s=0.0)
    with pytest.raises(ServerUnreachable, match="broke"):
        client.download("video_1", target)
    assert target.read_bytes() == b"older"

    client, stub = _client(lambda request: file_of(CONTENT, request))
    client.download("video_1", target)
    assert target.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in stub.requests] == [None, "bytes=1000-"]
    assert not list(tmp_path.glob(".*"))


def test_parts_of_two_files_are_never_joined(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    other = b"z" * 5000
    client, _ = _client(
        lambda request: file_of(CONTENT, request, cut=1000),
        lambda request: file_of(other, request, etag='"two"'),
    )
    client.download("video_1", target)
    assert target.read_bytes() == other
    assert not list(tmp_path.glob(".*"))


def test_a_part_that_is_too_long_is_thrown_away(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    client, _ = _client(lambda request: file_of(CONTENT, request, cut=1000), patience_s=0.0)
    with pytest.raises(ServerUnreachable):
        client.download("video_1", target)
    (part,) = tmp_path.glob(".out.mp4.*.part")
    part.write_bytes(b"?" * len(CONTENT))
    client, stub = _client(lambda request: file_of(CONTENT, request))
    client.download("video_1", target)
    assert target.read_bytes() == CONTENT
    assert len(stub.requests) == 3


def test_an_unfinished_video_leaves_no_file(tmp_path: Path) -> None:
    client, stub = _client(refusal(409, "video_1 is running; wait for it"))
    with pytest.raises(WrongMoment, match="wait for it"):
        client.download("video_1", tmp_path / "out.mp4", variant="thumbnail")
    assert stub.requests[0].url.params["variant"] == "thumbnail"
    assert not list(tmp_path.glob("*.mp4*"))
    with pytest.raises(FramePackError, match="there is no folder"):
        client.download("video_1", tmp_path / "none" / "out.mp4")


def test_the_async_client_streams_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_nap(_: float) -> None:
        return

    monkeypatch.setattr("framepack.client.aio.asyncio.sleep", no_nap)
    stub = Stub(
        [
            stream_of(QUEUED, breaks=True),
            stream_of(*STEPS, DONE),
            lambda request: file_of(CONTENT, request, cut=1000),
            lambda request: file_of(CONTENT, request),
        ]
    )

    async def story() -> list[int]:
        async with AsyncClient("http://stub:1", transport=stub.transport()) as client:
            numbers = [event.seq async for event in client.events("video_1")]
            await client.download("video_1", tmp_path / "out.mp4")
            return numbers

    assert asyncio.run(story()) == [1, 2, 3, 4]
    assert (tmp_path / "out.mp4").read_bytes() == CONTENT
    assert stub.requests[3].headers["range"] == "bytes=1000-"
