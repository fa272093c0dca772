"""What goes wrong around a server: kills, a full disk, a locked database, memory that runs out.

The hundred rounds of kills are ``benchmarks/service_faults.py``; docs/reliability.md has the
result, and for each fault what becomes of the job.
"""

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from benchmarks.service_faults import KINDS, SMALL, Rounds, Server, digest_of, settings
from tests.helpers.jobs import House

import framepack
from framepack.domain.fallbacks import FALLBACKS
from framepack.pipeline.components import Components
from framepack.service.dispatcher import Dispatcher
from framepack.service.local_executor import LocalExecutor
from framepack.service.options import ServiceConfig
from framepack.service.records import Job

ENOUGH_S = 90.0

needs_limits = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux can limit another process"
)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, components: Components) -> list[str]:
    """Digests of the undisturbed videos."""
    folder = tmp_path_factory.mktemp("undisturbed")
    digests = []
    for index, kind in enumerate(KINDS):
        output = folder / f"{index}.mp4"
        framepack.generate(
            output=output, components=components, settings=settings(), **{**SMALL, **kind}
        )
        digests.append(digest_of(output))
    return digests


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    """One worker for all tests that do not kill it; torch takes seconds to load."""
    made = LocalExecutor(settings())
    yield made
    made.close(5)


class Running:
    """A data folder and its dispatcher."""

    def __init__(self, path: Path, executor: LocalExecutor) -> None:
        self.house = House(path)
        self.house.clocks.wall = time.time()
        self.executor = executor
        self.start()

    def start(self) -> None:
        house = self.house
        self.dispatcher = Dispatcher(
            house.store, house.leases, self.executor, house.data, ServiceConfig()
        )
        # The executor outlives the dispatcher here, as it does not in a server.
        self.dispatcher.prepare()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._turns)
        self.thread.start()

    def _turns(self) -> None:
        while not self.stopping.is_set():
            self.house.clocks.wall = time.time()
            self.dispatcher.turn(0.05)

    def end(self) -> None:
        self.stopping.set()
        self.thread.join()
        self.dispatcher._lock.release()

    def add(self, kind: int = 0, **fields: Any) -> Job:
        return self.house.add(**{**SMALL, **KINDS[kind], **fields})

    def wait(self, job: Job, is_met: Callable[[Job], object]) -> Job:
        deadline = time.monotonic() + ENOUGH_S
        while not is_met(now := self.house.store.get(job.id)):
            assert self.thread.is_alive()
            assert time.monotonic() < deadline, (now, self.house.kinds(job.id))
            time.sleep(0.02)
        return now

    def digest(self, job: Job) -> str:
        return digest_of(self.house.data.job(job.id).file("video.mp4"))


@pytest.fixture
def running(tmp_path: Path, executor: LocalExecutor) -> Iterator[Running]:
    made = Running(tmp_path / "data", executor)
    yield made
    made.end()


def test_kills_at_random_moments_lose_nothing_and_change_no_frame(
    tmp_path: Path, wanted: list[str]
) -> None:
    rounds = Rounds(tmp_path / "data", seed=3, jobs=3, wanted=wanted)
    try:
        tally = rounds.run(2, targets=("both", "worker"))
    finally:
        rounds.close()
    assert tally.is_clean, tally.faults
    assert tally.jobs == 6


@pytest.mark.full
def test_many_kills_lose_nothing_and_change_no_frame(tmp_path: Path, wanted: list[str]) -> None:
    rounds = Rounds(tmp_path / "data", seed=4, jobs=5, wanted=wanted)
    try:
        tally = rounds.run(12)
    finally:
        rounds.close()
    assert tally.is_clean, tally.faults


@pytest.mark.full
def test_a_worker_whose_server_is_killed_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = Server(tmp_path / "data")
    try:
        house = House(tmp_path / "data")
        house.clocks.wall = time.time()
        job = house.add(**{**SMALL, **KINDS[0], "duration_s": 20.0})
        deadline = time.monotonic() + ENOUGH_S
        while "StepDone" not in house.kinds(job.id):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (worker,) = server.workers()
        server.kill("server")
        worker.wait(10)
    finally:
        server.stop()
    assert house.store.get(job.id).state == "queued"
    assert house.store.get(job.id).attempts == 0


LARGE_FILE = {"filters": ("scale=256:256", "noise=alls=60:allf=t"), "crf": 0}
"""A video of megabytes, next to which checkpoints are small."""


@needs_limits
@pytest.mark.parametrize(
    ("limit", "stage"),
    [
        pytest.param(800_000, "write", id="video"),
        pytest.param(80_000, "write", id="checkpoint", marks=pytest.mark.full),
    ],
)
def test_a_full_disk_is_said_and_the_job_goes_on_when_there_is_room(
    running: Running, components: Components, tmp_path: Path, limit: int, stage: str
) -> None:
    running.wait(running.add(1), lambda job: job.has_ended)  # the worker is there
    worker = psutil.Process(running.executor.facts()["pid"])
    _, hard = worker.rlimit(psutil.RLIMIT_FSIZE)
    worker.rlimit(psutil.RLIMIT_FSIZE, (limit, hard))
    try:
        job = running.add(0, **LARGE_FILE)
        failed = running.wait(
            job, lambda job: job.has_ended or "Retried" in running.house.kinds(job.id)
        )
        told = next(
            event.data for event in running.house.store.events(job.id) if event.kind == "Retried"
        )
    finally:
        worker.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
    assert (failed.state, failed.progress.stage) == ("queued", stage)
    assert told["code"] == "disk_full"
    assert "free some space" in told["message"]
    running.wait(job, lambda job: job.state == "completed")
    output = running.house.data.job(job.id).output
    assert {path.name for path in output.iterdir()} == {"video.mp4", "video.thumb.jpg"}
    undisturbed = tmp_path / "out.mp4"
    framepack.generate(
        output=undisturbed,
        components=components,
        settings=settings(),
        **{**SMALL, **KINDS[0], **LARGE_FILE},
    )
    assert running.digest(job) == digest_of(undisturbed)


SHORT_OF_MEMORY = """
import sys
import torch
from framepack.pipeline.components import Components
from framepack.service.worker import main

whole = Components.decode

def decode(self, latents):
    if self._memory_share > float(sys.argv[1]):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return whole(self, latents)

Components.decode = decode
main()
"""
"""A worker whose device is too small for all but modest ways to work."""


@pytest.mark.full
@pytest.mark.parametrize(("share", "outcome"), [(0.5, "completed"), (0.01, "failed")])
def test_a_worker_out_of_memory_works_more_modestly_or_fails_clearly(
    tmp_path: Path, wanted: list[str], share: float, outcome: str
) -> None:
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(share)]
    executor = LocalExecutor(settings(), command=command)
    running = Running(tmp_path / "data", executor)
    try:
        job = running.add(0)
        ended = running.wait(job, lambda job: job.has_ended)
    finally:
        running.end()
        executor.close(5)
    assert ended.state == outcome, ended.error
    retries = [
        event.data for event in running.house.store.events(job.id) if event.kind == "Retried"
    ]
    assert {retry["code"] for retry in retries} == {"out_of_memory"}
    if outcome == "completed":
        assert len(retries) == 1
        assert running.digest(job) == wanted[0]
    else:
        assert len(retries) == len(FALLBACKS) - 1
        assert ended.error is not None
        assert ended.error.code == "out_of_memory"
        assert "memory does not suffice" in ended.error.message


def test_a_locked_database_delays_and_loses_nothing(running: Running, wanted: list[str]) -> None:
    job = running.add(0)
    running.wait(job, lambda job: "SectionDone" in running.house.kinds(job.id))
    other = sqlite3.connect(running.house.data.database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    time.sleep(2)
    other.execute("ROLLBACK")
    other.close()
    running.wait(job, lambda job: job.state == "completed")
    kinds = running.house.kinds(job.id)
    assert kinds.count("SectionDone") == 3
    assert kinds.count("StepDone") == 6
    assert running.digest(job) == wanted[0]


@pytest.mark.full
def test_a_stopped_server_puts_its_job_back_and_the_next_one_finishes_all_five(
    tmp_path: Path, wanted: list[str]
) -> None:
    (tmp_path / "data").mkdir()
    server = Server(tmp_path / "data")
    house = House(tmp_path / "data")
    house.clocks.wall = time.time()
    jobs = [house.add(**{**SMALL, **KINDS[0]}) for _ in range(5)]
    deadline = time.monotonic() + ENOUGH_S
    while "SectionDone" not in house.kinds(jobs[1].id):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.stop()
    states = [house.store.get(job.id).state for job in jobs]
    assert states[0] == "completed"
    assert set(states[1:]) <= {"queued", "completed"}
    assert "queued" in states
    server.start()
    while any(not house.store.get(job.id).has_ended for job in jobs):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.stop()
    for job in jobs:
        ended = house.store.get(job.id)
        assert (ended.state, ended.attempts) == ("completed", 0)
        assert house.kinds(job.id).count("SectionDone") == 3
        assert digest_of(house.data.job(job.id).file("video.mp4")) == wanted[0]
