"""A server whose jobs render step by step, and players that watch them."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn
from numpy.typing import NDArray
from tests.helpers.executor import ThreadExecutor
from tests.helpers.runs import SECTION_FRAMES, SMALL, seconds, write_picture

import framepack
from framepack.domain.events import Finished, SectionDone
from framepack.media.video import read_timed_frames
from framepack.pipeline.components import Components
from framepack.service.app import create_app
from framepack.service.executor import Task, TaskEnded, TaskEvent, TaskStarted
from framepack.service.inputs import Input
from framepack.service.options import JobOptions, ServiceConfig
from framepack.service.records import Job
from framepack.service.service import Service

NUM_SECTIONS = 4
NUM_FRAMES = NUM_SECTIONS * SECTION_FRAMES + 1
Frames = NDArray[np.uint8]


class Renderer(ThreadExecutor):
    """Makes videos in this process; after each section it waits until it may go on."""

    def __init__(self, components: Components) -> None:
        super().__init__()
        self._components = components
        self.section = threading.Semaphore(0)
        """Released once for each section that may be rendered."""

    def stop(self, lease: str) -> None:
        super().stop(lease)
        self.section.release()

    def close(self, timeout_s: float) -> None:
        self._stopped.add("all")
        self.section.release(100)
        super().close(timeout_s)

    def _work(self, task: Task) -> None:
        self._say(TaskStarted(task.lease))
        options = JobOptions(**task.options)
        events = framepack.stream(
            framepack.GenerationRequest.parse(**task.request),
            output=task.folder / "output" / f"video.{options.container}",
            run_dir=task.folder / "run",
            keep_run=True,
            components=self._components,
        )
        self.section.acquire()
        for event in events:
            self._say(TaskEvent(task.lease, event.to_dict()))
            if isinstance(event, SectionDone):
                self.section.acquire()
            if self._is_stopped(task.lease):
                self._say(TaskEnded(task.lease, "stopped", {}))
                return
            if isinstance(event, Finished):
                output = {"video": Path(event.path).name, "num_frames": event.num_frames}
                self._say(TaskEnded(task.lease, "finished", output))


@dataclass
class Server:
    """A served service whose videos are rendered section by section, as a test says."""

    service: Service
    renderer: Renderer
    address: str
    client: httpx2.Client
    jobs: list[str] = field(default_factory=list)

    def submit(
        self, *, container: str = "mp4", inputs: Any = None, owner: str = "", **fields: Any
    ) -> str:
        request = {**SMALL, "duration_s": seconds(NUM_FRAMES), **fields}
        if inputs is None:
            picture = self.service.data.path / "start.png"
            inputs = input_of("image", picture if picture.exists() else write_picture(picture))
        options = JobOptions(container=container)
        job = self.service.submit(request, options=options, inputs=inputs, owner=owner)
        self.jobs.append(job.id)
        return job.id

    def job(self, job_id: str) -> Job:
        return self.service.store.get(job_id)

    def video(self, job_id: str) -> Path:
        return self.service.file_of(self.job(job_id), "video")

    def get(self, job_id: str, name: str, **options: Any) -> httpx2.Response:
        return self.client.get(f"/v1/videos/{job_id}/{name}", **options)

    def render_section(self, job_id: str) -> None:
        """Let a section be rendered, and wait until the store knows."""
        done = self._num_done(job_id)
        self.renderer.section.release()
        wait(lambda: self._num_done(job_id) > done)

    def finish(self, job_id: str) -> None:
        """Let the rest be rendered, and wait for the end."""
        self.renderer.section.release(20)
        wait(lambda: self.job(job_id).has_ended)
        wait(lambda: self.renderer.capacity == 1)
        while self.renderer.section.acquire(blocking=False):
            pass
        assert self.job(job_id).state == "completed", self.job(job_id).error

    def _num_done(self, job_id: str) -> int:
        return sum(event.kind == "SectionDone" for event in self.service.store.events(job_id))


def wait(is_so: Any, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def served(folder: Path, components: Components, **config: Any) -> Iterator[Server]:
    """A server on a port of its own, in a thread."""
    renderer = Renderer(components)
    service = Service(
        ServiceConfig(data_dir=folder / "data", **config),
        framepack.Settings(device="cpu", dtype="float32"),
        executor=renderer,
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(service), log_level="warning", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait(lambda: server.started)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx2.Client(base_url=address, timeout=60) as client:
                yield Server(service, renderer, address, client)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@dataclass(frozen=True)
class Playlist:
    """A media playlist as a player reads it."""

    text: str

    @property
    def is_over(self) -> bool:
        return self.text.endswith("#EXT-X-ENDLIST\n")

    @property
    def init(self) -> str:
        found = re.search(r'#EXT-X-MAP:URI="(.+)"', self.text)
        assert found is not None
        return found[1]

    @property
    def parts(self) -> list[str]:
        return [line for line in self.text.splitlines() if line and line[0] != "#"]

    @property
    def durations_s(self) -> list[float]:
        return [float(value) for value in re.findall(r"#EXTINF:([\d.]+),", self.text)]

    def value(self, tag: str) -> str:
        found = re.search(rf"#EXT-X-{tag}:(.+)", self.text)
        assert found is not None
        return found[1]


def playlist_of(server: Server, job_id: str, name: str = "playlist") -> Playlist:
    response = server.get(job_id, f"stream/{name}.m3u8")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/vnd.apple.mpegurl"
    return Playlist(response.text)


def played(server: Server, job_id: str, playlist: Playlist) -> bytes:
    """What a player that follows the playlist gets, as one file."""
    names = [playlist.init, *playlist.parts]
    responses = [server.get(job_id, f"stream/{name}") for name in names]
    assert all(response.status_code == 200 for response in responses)
    return b"".join(response.content for response in responses)


def decoded(data: bytes, folder: Path) -> tuple[Frames, list[Fraction]]:
    path = folder / "received.mp4"
    path.write_bytes(data)
    times, frames = zip(*read_timed_frames(path), strict=True)
    return np.stack(frames), list(times)


def at_24(num_frames: int) -> list[Fraction]:
    return [Fraction(index, 24) for index in range(num_frames)]


def input_of(name: str, path: Path) -> dict[str, Any]:
    return {name: Input(path, name=path.name)}
