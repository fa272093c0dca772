"""One stream for everything: what a caller sees, no more often than is of use."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.helpers.live_server import serving
from tests.helpers.service import FakeExecutor, new_service, until

from framepack.service.http import events
from framepack.service.service import Service

SMALL = {"prompt": "x", "model": "tiny", "duration_s": 1}
Heard = list[tuple[str, dict[str, Any]]]


class Ear:
    """Listens on a thread until it is told to stop, or the stream ends."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        self.heard: Heard = []
        self.comments = 0
        self.ended = threading.Event()
        self._is_stopped = False
        self._client = httpx2.Client(timeout=30, headers=headers)
        self._thread = threading.Thread(target=self._listen, args=(address,), daemon=True)
        self._thread.start()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for each, data in list(self.heard) if each == kind]

    def stop(self) -> None:
        self._is_stopped = True  # it hears of that with the next sign of life
        self._thread.join(10)
        self._client.close()

    def _listen(self, address: str) -> None:
        kind = ""
        try:
            with self._client.stream("GET", f"{address}/v1/events") as answer:
                for line in answer.iter_lines():
                    if self._is_stopped:
                        break
                    if line.startswith(":"):
                        self.comments += 1
                    elif line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.heard.append((kind, json.loads(line.removeprefix("data: "))))
        except (httpx2.HTTPError, RuntimeError):
            pass  # it was told to stop
        self.ended.set()


@pytest.fixture(autouse=True)
def signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_KEEP_ALIVE_S", 0.2)


@contextmanager
def hearing(address: str, **headers: str) -> Iterator[Ear]:
    ear = Ear(address, headers)
    try:
        until(lambda: ear.of("worker") or ear.ended.is_set())
        yield ear
    finally:
        ear.stop()


def states(ear: Ear, job_id: str) -> list[str]:
    return [video["state"] for video in ear.of("video") if video["id"] == job_id]


def test_a_video_is_told_from_its_birth_to_its_end(tmp_path: Path) -> None:
    executor = FakeExecutor(is_held=True)
    service = new_service(tmp_path, executor)
    with serving(service) as address, hearing(address) as ear:
        assert ear.of("queue") == [httpx2.get(f"{address}/v1/queue").json()]
        job = service.submit(SMALL)
        until(lambda: states(ear, job.id))
        until(lambda: ear.of("worker")[-1]["busy"])
        executor.go.set()
        until(lambda: states(ear, job.id)[-1] == "completed")
        until(lambda: not ear.of("worker")[-1]["busy"])
        assert ear.of("video")[-1] == httpx2.get(f"{address}/v1/videos/{job.id}").json()
        until(lambda: ear.of("queue")[-1]["counts"] == {"completed": 1})
        service.delete(job.id)
        until(lambda: ear.of("deleted") == [{"id": job.id}])


def test_a_video_that_changes_often_is_told_seldom_and_to_its_last_state(tmp_path: Path) -> None:
    service = new_service(tmp_path, FakeExecutor(num_steps=100, step_s=0.015))
    with serving(service) as address, hearing(address) as ear:
        job = service.submit(SMALL)
        until(lambda: states(ear, job.id)[-1:] == ["completed"])
        # 1.5 s of steps: a state each half second, one at the beginning, one at the end
        assert 3 <= len(states(ear, job.id)) <= 8
        assert ear.of("video")[-1]["progress"] == 100


def test_a_task_is_told_and_that_it_is_gone(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    with serving(service) as address, hearing(address) as ear:
        store = service.tools.store
        task = store.create("task_1", "download", "A model", values={}, files={})
        until(lambda: ear.of("task"))
        assert ear.of("task")[0] == httpx2.get(f"{address}/v1/tasks/{task.id}").json()
        service.tools.cancel(task.id)
        until(lambda: ear.of("task")[-1]["state"] in ("cancelled", "failed"))
        service.tools.delete(task.id)
        until(lambda: ear.of("deleted") == [{"id": task.id}])


def test_the_queue_is_told_when_it_is_paused(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    with serving(service) as address, hearing(address) as ear:
        service.store.pause_queue(True)
        until(lambda: len(ear.of("queue")) > 1)
        assert [told["paused"] for told in ear.of("queue")] == [False, True]


def test_others_videos_are_not_told(tmp_path: Path) -> None:
    service = new_service(tmp_path, FakeExecutor(is_held=True))
    mine, secret = service.keys.create("mine")
    yours, _ = service.keys.create("yours")
    key = {"Authorization": f"Bearer {secret}"}
    with serving(service) as address, hearing(address, **key) as ear:
        old = service.submit(SMALL, owner=yours.id)
        service.submit(SMALL, owner=yours.id)
        own = service.submit(SMALL, owner=mine.id)
        until(lambda: states(ear, own.id))
        for job in (old, own):
            service.store.cancel(job.id)
            until(lambda job=job: service.store.get(job.id).has_ended)
            service.delete(job.id)
        until(lambda: ear.of("deleted"))
        assert {video["id"] for video in ear.of("video")} == {own.id}
        assert ear.of("deleted") == [{"id": own.id}]
        until(lambda: ear.of("queue")[-1]["waiting"] == [])


def test_a_revoked_key_hears_no_more(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    _, secret = service.keys.create("one")
    key = {"Authorization": f"Bearer {secret}"}
    with serving(service) as address, hearing(address, **key) as ear:
        until(lambda: ear.comments)
        assert not ear.ended.is_set()
        service.keys.revoke("one")
        until(ear.ended.is_set)


def test_who_is_gone_is_not_watched_for(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    with serving(service) as address:
        with hearing(address):
            assert service.changes._watchers
        service.submit(SMALL)
        until(lambda: not service.changes._watchers)


def test_a_server_that_stops_ends_the_stream(tmp_path: Path) -> None:
    service: Service = new_service(tmp_path)
    with serving(service) as address, hearing(address) as ear:
        assert not ear.ended.is_set()
        service.changes.end()
        assert ear.ended.wait(20)
