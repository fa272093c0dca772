"""A service with the worker's own work, done by a thread of the test instead of a process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from tests.helpers.executor import ThreadExecutor
from tests.helpers.runs import SMALL
from tests.helpers.service import running, until

import framepack
from framepack.service.executor import Task, TaskEnded, TaskEvent, TaskStarted
from framepack.service.options import ServiceConfig
from framepack.service.records import Job
from framepack.service.service import Service
from framepack.service.tasks import TaskRunner

__all__ = ["SETTINGS", "Bench", "Workshop", "working"]

SETTINGS = framepack.Settings(device="cpu", dtype="float32")


class Workshop(ThreadExecutor):
    """Does tasks as the worker does them.

    Attributes:
        events: what was said of each job, by its id.
        wait_after: called with each event; it may wait.
    """

    def __init__(self, runner: TaskRunner) -> None:
        super().__init__()
        self.events: dict[str, list[Mapping[str, Any]]] = {}
        self.wait_after: Callable[[Mapping[str, Any]], object] = lambda _: None
        self._runner = runner

    @property
    def is_told_to_stop(self) -> bool:
        """Whether any task was to stop so far."""
        return bool(self._stopped)

    def _work(self, task: Task) -> None:
        self._say(TaskStarted(task.lease))
        told = self.events.setdefault(task.job_id, [])

        def on_event(event: Mapping[str, Any]) -> None:
            told.append(event)
            self._say(TaskEvent(task.lease, event))
            self.wait_after(event)

        end = self._runner.run(
            {**asdict(task), "folder": str(task.folder)},
            on_event=on_event,
            is_stopped=lambda: self._is_stopped(task.lease),
        )
        self._say(TaskEnded(task.lease, end.outcome, end.output, end.error))


class Bench:
    """A client of such a service."""

    def __init__(self, client: TestClient, service: Service, workshop: Workshop) -> None:
        self.client, self.service, self.workshop = client, service, workshop

    def post(self, path: str, body: Mapping[str, Any] | None = None, status: int = 200) -> Any:
        """Send JSON, and read JSON."""
        answer = self.client.post(f"/v1/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, video_id: str) -> Any:
        return self.client.get(f"/v1/videos/{video_id}").json()

    def job(self, video_id: str) -> Job:
        return self.service.store.get(video_id)

    def make(self, **fields: Any) -> str:
        """Ask for a small video, and wait for it."""
        return self.finished(self.post("videos", {**SMALL, **fields})["id"])

    def finished(self, video_id: str) -> str:
        """Wait for a video."""
        until(lambda: self.service.store.get(video_id).has_ended, timeout_s=120)
        found = self.get(video_id)
        assert found["state"] == "completed", found["error"]
        return video_id

    def video(self, video_id: str) -> Path:
        """The file of a finished video."""
        return self.service.file_of(self.service.store.get(video_id), "video")

    def denoised(self, video_id: str) -> set[int]:
        """Sections whose steps were computed."""
        events = self.workshop.events[video_id]
        return {event["section"] for event in events if event["event"] == "StepDone"}


@contextmanager
def working(folder: Path, runner: TaskRunner, **config: Any) -> Iterator[Bench]:
    """A service that makes its videos, while the block runs."""
    workshop = Workshop(runner)
    config = {"data_dir": folder / "data", **config}
    service = Service(ServiceConfig(**config), SETTINGS, executor=workshop)
    with running(service) as client:
        yield Bench(client, service, workshop)
