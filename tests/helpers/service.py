"""A whole service without a model: its videos are made by nobody, at once."""

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image
from tests.helpers.executor import ThreadExecutor

from framepack.domain.settings import Settings
from framepack.service.app import create_app
from framepack.service.executor import Task, TaskEnded, TaskEvent, TaskStarted
from framepack.service.options import ServiceConfig
from framepack.service.records import JobError
from framepack.service.service import Service

__all__ = ["FakeExecutor", "a_picture", "data_url", "new_service", "running", "until"]

BASE = "http://127.0.0.1:7860"
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(256)) * 20
"""Stands for a video where nobody looks into it."""


class FakeExecutor(ThreadExecutor):
    """Works on one task at a time, on a thread of its own.

    Args:
        num_steps: steps that a task takes.
        step_s: how long each takes.
        fails: ends each task with this error.
        is_held: tasks wait until ``go`` is set.
        video: what is written in the place of a video.
    """

    def __init__(
        self,
        *,
        num_steps: int = 4,
        step_s: float = 0.0,
        fails: JobError | None = None,
        is_held: bool = False,
        video: bytes = VIDEO,
    ) -> None:
        super().__init__()
        self.go = threading.Event()
        if not is_held:
            self.go.set()
        self.tasks: list[Task] = []
        self.loaded: str | None = None
        self._num_steps, self._step_s, self._fails, self._video = num_steps, step_s, fails, video

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        super().submit(task)

    def facts(self) -> Mapping[str, Any]:
        memory = {"device_memory_gb": 1.5, "host_memory_gb": 0.5}
        return {**super().facts(), "device": "fake", "pid": 1, "model": self.loaded, **memory}

    def load(self, model: str) -> None:
        self.loaded = model

    def unload(self) -> None:
        self.loaded = None

    def close(self, timeout_s: float) -> None:
        self._stopped.add("all")
        self.go.set()
        super().close(timeout_s)

    def _work(self, task: Task) -> None:
        lease = task.lease
        self._say(TaskStarted(lease))
        while not self.go.wait(0.01):
            if self._is_stopped(lease):
                break
        for step in range(1, self._num_steps + 1):
            if self._is_stopped(lease):
                self._say(TaskEnded(lease, "stopped", {}))
                return
            time.sleep(self._step_s)
            self._say(TaskEvent(lease, _step(step, self._num_steps)))
        if self._fails is not None:
            self._say(TaskEnded(lease, "failed", {}, self._fails))
            return
        self._say(TaskEnded(lease, "finished", self._outputs(task)))

    def _outputs(self, task: Task) -> dict[str, Any]:
        folder = task.folder / "output"
        name = f"video.{task.options.get('container', 'mp4')}"
        (folder / name).write_bytes(self._video)
        Image.new("RGB", (32, 32), "red").save(folder / "video.thumb.jpg")
        stats = {"total_s": 2.0, "num_frames": 25, "frame_s": {"denoise": 0.05}}
        return {
            "video": name,
            "thumbnail": "video.thumb.jpg",
            "num_frames": 25,
            "duration_s": 1.0,
            "stats": stats,
        }


def _step(step: int, num_steps: int) -> dict[str, Any]:
    return {
        "event": "StepDone",
        "elapsed_s": 0.1 * step,
        "section": 0,
        "render_index": 0,
        "num_sections": 1,
        "step": step,
        "num_steps": num_steps,
        "seconds": 0.1,
        "preview": None,
    }


def new_service(
    folder: Path,
    executor: FakeExecutor | None = None,
    *,
    settings: Settings | None = None,
    **config: Any,
) -> Service:
    """A service in a folder, not started."""
    return Service(
        ServiceConfig(data_dir=folder / "service", **config),
        settings or Settings.load(),
        executor=executor or FakeExecutor(),
    )


@contextmanager
def running(service: Service, *, base_url: str = BASE) -> Iterator[TestClient]:
    """A client of a service that runs while the block does."""
    with TestClient(create_app(service), base_url=base_url) as client:
        yield client


def until(is_so: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Wait for something, and return it."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        if found := is_so():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it did not happen within {timeout_s:g} s")


def a_picture(path: Path, size: tuple[int, int] = (64, 64), color: str = "teal") -> Path:
    """Write a picture of one colour."""
    Image.new("RGB", size, color).save(path)
    return path


def data_url(path: Path) -> str:
    """A picture as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
