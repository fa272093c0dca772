"""Our clients and the commands, against the real application on a socket."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.live_server import serving
from tests.helpers.service import VIDEO, FakeExecutor, a_picture, new_service, until

from framepack.cli.main import main
from framepack.client import (
    AccessDenied,
    AsyncClient,
    Client,
    NotFound,
    RequestRefused,
    VideoNotMade,
    WrongMoment,
)
from framepack.service.records import JobError

SMALL: dict[str, Any] = {"model": "tiny", "resolution": 64, "duration_s": 1, "seed": 3}


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def url(tmp_path: Path, executor: FakeExecutor, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(new_service(tmp_path, executor)) as address:
        monkeypatch.setenv("FRAMEPACK_URL", address)
        yield address


def test_the_whole_story_of_a_video(url: str, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "start.png")
    other = a_picture(tmp_path / "other.png", color="red")
    with Client() as client:
        planned = client.plan("pan left", image=picture, **SMALL)
        assert (planned["size"], planned["num_frames"]) == ("64x64", 30)
        made = client.create(
            "pan left", image=picture, section_images={0: other}, **SMALL, priority=2
        )
        assert made.raw["priority"] == 2
        assert made.raw["request"]["section_images"][0]["section"] == 0
        seen: list[float] = []
        done = client.wait(
            made.id, on_change=lambda video: seen.append(video.progress.fraction), poll_s=0.05
        )
        assert (done.state, done.seconds, done.size, done.model) == (
            "completed",
            1,
            "64x64",
            "tiny",
        )
        assert seen == sorted(seen)
        assert seen[-1] == 1
        kinds = [event.kind for event in client.events(made.id)]
        assert (kinds[0], kinds[-1]) == ("Queued", "Completed")
        assert kinds.count("StepDone") == 4
        assert [event.kind for event in client.events(made.id, after=len(kinds) - 1)] == [
            "Completed"
        ]
        assert list(client.events(made.id, after=len(kinds))) == []
        assert client.download(made.id, tmp_path / "out.mp4").read_bytes() == VIDEO
        thumbnail = client.download(made.id, tmp_path / "out.jpg", variant="thumbnail")
        assert thumbnail.read_bytes()[:2] == b"\xff\xd8"
        remix = client.remix(made.id, "pan right")
        assert (remix.remixed_from, remix.prompt) == (made.id, "pan right")
        client.wait(remix.id, poll_s=0.05)
        assert [video.id for video in client.list(page_size=1)] == [remix.id, made.id]
        assert [video.id for video in client.list(newest_first=False)] == [made.id, remix.id]
        client.delete(made.id)
        with pytest.raises(NotFound, match=made.id):
            client.get(made.id)
        assert "tiny" in {model.id for model in client.models()}


def test_states_are_changed_from_afar(tmp_path: Path) -> None:
    executor = FakeExecutor(is_held=True)
    with serving(new_service(tmp_path, executor)) as url, Client(url) as client:
        running = client.create("x", **SMALL)
        until(lambda: client.get(running.id).state == "running")
        waiting = client.create("y", **SMALL)
        assert client.pause(waiting.id).state == "paused"
        assert client.unpause(waiting.id).state == "queued"
        assert client.cancel(waiting.id).state == "cancelled"
        with pytest.raises(VideoNotMade, match="cancelled"):
            client.wait(waiting.id)
        assert client.retry(waiting.id).state == "queued"
        with pytest.raises(WrongMoment, match="running"):
            client.delete(running.id)
        with pytest.raises(WrongMoment):
            client.download(running.id, tmp_path / "out.mp4")
        executor.go.set()
        assert client.wait(waiting.id, poll_s=0.05).state == "completed"


def test_the_same_idempotency_key_is_the_same_video(url: str, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "start.png")
    with Client() as client:
        first = client.create("x", image=picture, idempotency_key="once", **SMALL)
        again = client.create("x", image=picture, idempotency_key="once", **SMALL)
        other = client.create("x", image=picture, **SMALL)
    assert first.id == again.id != other.id


def test_a_bad_request_is_one_line_that_names_the_field(url: str) -> None:
    with Client() as client:
        with pytest.raises(RequestRefused, match="duration_s") as caught:
            client.create("x", duration_s=-1)
        assert caught.value.param == "duration_s"
        with pytest.raises(RequestRefused, match="num_inference_steps"):
            client.create("x", num_inference_step=3)
        assert list(client.list()) == []


def test_a_follower_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    held = FakeExecutor(is_held=True)
    kinds: list[str] = []
    with serving(new_service(tmp_path, held)) as url:
        port = int(url.rpartition(":")[2])
        with Client(url) as client:
            video = client.create("x", **SMALL)
        until(lambda: held.tasks)
        client = Client(url)
        client.get(video.id)
        watcher = threading.Thread(
            target=lambda: kinds.extend(event.kind for event in client.events(video.id)),
            daemon=True,
        )
        watcher.start()
    with serving(new_service(tmp_path), port=port):
        watcher.join(30)
        client.close()
    assert not watcher.is_alive()
    assert kinds[0] == "Queued"
    assert kinds[-1] == "Completed"
    assert kinds.count("Queued") == 2, "once when it was asked for, once when the server stopped"
    assert kinds.count("Completed") == 1


def test_a_key_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = new_service(tmp_path)
    _, secret = service.keys.create("anna")
    with serving(service) as url:
        with Client(url) as client, pytest.raises(AccessDenied, match="FRAMEPACK_API_KEY"):
            client.page()
        monkeypatch.setenv("FRAMEPACK_API_KEY", secret)
        with Client(url) as client:
            assert client.page().videos == ()


def test_the_async_client_makes_several_at_once(url: str, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "start.png")

    async def story() -> list[bytes]:
        async with AsyncClient() as client:

            async def one(number: int) -> bytes:
                video = await client.create("x", image=picture, **{**SMALL, "seed": number})
                kinds = [event.kind async for event in client.events(video.id)]
                assert kinds[-1] == "Completed"
                await client.wait(video.id)
                path = await client.download(video.id, tmp_path / f"{number}.mp4")
                return path.read_bytes()

            return list(await asyncio.gather(*(one(number) for number in range(3))))

    assert asyncio.run(story()) == [VIDEO] * 3


def test_commands_submit_list_follow_and_cancel(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = a_picture(tmp_path / "start.png")
    small = ["--model", "tiny", "--resolution", "64", "--duration", "1"]
    target = tmp_path / "out.mp4"
    arguments = ["submit", "--prompt", "pan left", "--image", str(picture), *small]
    assert main([*arguments, "-o", str(target)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{target}\n"
    assert target.read_bytes() == VIDEO
    assert "The server begins." in told.err

    assert main([*arguments, "-q"]) == 0
    video_id = capsys.readouterr().out.strip()
    assert main(["follow", video_id, "--json", "-o", str(target)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["Queued", "Completed"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))

    assert main(["follow", video_id, "-q", "-o", str(tmp_path / "out.webm")]) == 1
    assert f"{tmp_path / 'out.mp4'}" in capsys.readouterr().err
    assert not (tmp_path / "out.webm").exists()

    assert main(["jobs"]) == 0
    heading, newest, _ = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["id", "state", "done"]
    assert newest.split()[:3] == [video_id, "completed", "100%"]
    assert main(["jobs", "--limit", "1", "--json"]) == 0
    assert [video["id"] for video in json.loads(capsys.readouterr().out)] == [video_id]

    assert main(["cancel", video_id, "video_0"]) == 1
    told = capsys.readouterr()
    assert told.out == f"{video_id} completed\n"
    assert "there is no video video_0" in told.err


def test_a_video_that_fails_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = FakeExecutor(
        fails=JobError("invalid_request", "the picture is broken; send another")
    )
    with serving(new_service(tmp_path, executor)) as url:
        monkeypatch.setenv("FRAMEPACK_URL", url)
        code = main(["submit", "--prompt", "x", "-q", "-o", str(tmp_path / "out.mp4")])
    told = capsys.readouterr()
    assert code == 1
    assert told.err.startswith("Error: video_")
    assert "the picture is broken; send another" in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


def test_commands_without_a_server_say_how_to_start_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMEPACK_URL", "http://127.0.0.1:9")
    for arguments in (["jobs"], ["follow", "video_1"], ["submit", "--prompt", "x"]):
        assert main(arguments) == 1
        told = capsys.readouterr()
        assert told.err.count("\n") == 1
        assert "framepack serve" in told.err
    assert main(["submit", "--prompt", "x", "--steps", "0"]) == 2
    assert "num_inference_steps" in capsys.readouterr().err, "bad input is found without a server"
