"""A job's log as a stream: from the start or from any event on, to its end."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.helpers.live_server import serving
from tests.helpers.service import FakeExecutor, new_service, running, until

SMALL = {"prompt": "x", "model": "tiny", "duration_s": 1}


def events_of(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_a_finished_log_is_told_in_order_and_ends(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    with running(service) as client:
        job = service.submit(SMALL)
        until(lambda: service.store.get(job.id).has_ended)
        answer = client.get(f"/v1/videos/{job.id}/events")
        found = events_of(answer.text)
        later = events_of(client.get(f"/v1/videos/{job.id}/events?after=3").text)
        again = events_of(
            client.get(f"/v1/videos/{job.id}/events", headers={"Last-Event-ID": "3"}).text
        )
        seen = {"Last-Event-ID": str(found[-1][0])}
        assert client.get(f"/v1/videos/{job.id}/events", headers=seen).status_code == 204
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [seq for seq, _, _ in found] == list(range(1, len(found) + 1))
    assert [kind for _, kind, _ in found][:2] == ["Queued", "Started"]
    assert found[-1][1] == "Completed"
    assert found[2][2]["step"] == 1
    assert later == again == found[3:]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 30, ""])
def test_a_number_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    service = new_service(tmp_path, FakeExecutor(is_held=True))
    with running(service) as client:
        job = service.submit(SMALL)
        answer = client.get(f"/v1/videos/{job.id}/events", headers={"Last-Event-ID": number})
        assert answer.status_code == 422


def test_events_arrive_while_they_happen_and_the_stream_ends_with_the_job(tmp_path: Path) -> None:
    executor = FakeExecutor(num_steps=5, step_s=0.05, is_held=True)
    service = new_service(tmp_path, executor)
    with serving(service) as address:
        job = service.submit(SMALL)
        kinds: list[str] = []
        url = f"{address}/v1/videos/{job.id}/events"
        with httpx2.stream("GET", url, timeout=20) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kinds.append(line[7:])
                if kinds[-1:] == ["Started"]:
                    executor.go.set()
        assert kinds == ["Queued", "Started", *["StepDone"] * 5, "Completed"]


def test_a_stream_whose_client_is_gone_leaves_no_listener(tmp_path: Path) -> None:
    executor = FakeExecutor(is_held=True)
    service = new_service(tmp_path, executor)
    with serving(service) as address:
        job = service.submit(SMALL)
        with httpx2.stream("GET", f"{address}/v1/videos/{job.id}/events", timeout=20) as answer:
            lines = answer.iter_lines()  # which hangs up when it is forgotten
            next(lines)
            assert until(lambda: service.changes._audiences)
        until(lambda: not service.changes._audiences)
        executor.go.set()


def test_the_log_of_a_job_that_is_deleted_ends(tmp_path: Path) -> None:
    service = new_service(tmp_path, FakeExecutor(is_held=True))
    with serving(service) as address:
        service.store.pause_queue(True)
        job = service.submit(SMALL)
        threading.Timer(0.3, service.delete, [job.id]).start()
        text = httpx2.get(f"{address}/v1/videos/{job.id}/events", timeout=20).text
    assert [kind for _, kind, _ in events_of(text)] == ["Queued"]
