"""Kill the worker, the server or both at random moments, and count what is lost.

    python benchmarks/service_faults.py rounds FOLDER --rounds 100 [--seed 1] [--report FILE.json]
    python benchmarks/service_faults.py host FOLDER        # what is killed: a server without HTTP

Each round queues jobs of the embedded model, waits for a random moment, and kills with SIGKILL;
sometimes what was started anew is killed again before it is done. The next server puts the jobs
back. At the end of a round every job must be completed once, with the frames of an undisturbed
run. The same data folder serves all rounds.
"""

import argparse
import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

import framepack
from framepack.domain.settings import Settings
from framepack.service.database import Database
from framepack.service.dispatcher import Dispatcher
from framepack.service.files import DataFolder
from framepack.service.leases import Leases
from framepack.service.local_executor import LocalExecutor
from framepack.service.options import JobOptions, ServiceConfig
from framepack.service.store import JobStore, new_job_id

SMALL: dict[str, Any] = {
    "prompt": "the camera pans left",
    "model": "tiny",
    "width": 64,
    "height": 64,
    "latent_window_size": 3,
    "num_inference_steps": 2,
    "fps": 24,
}
KINDS: tuple[dict[str, Any], ...] = (
    {"variant": "bi-directional", "duration_s": 1.2, "seed": 7},
    {"variant": "forward-only", "duration_s": 1.0, "seed": 8},
    {"variant": "bi-directional", "duration_s": 0.8, "seed": 9, "interpolate": 2},
)
"""Videos of two or three sections; the last one is made of lossless segments."""
TARGETS = ("worker", "server", "both")
TOO_LONG_S = 180.0


def settings() -> Settings:
    """Of every process here, so that all compute alike."""
    return Settings.load(device="cpu", dtype="float32")


def host(folder: Path) -> None:
    """Be a server until killed, or until the input ends."""
    logging.basicConfig(level="INFO", format="%(relativeCreated)d %(name)s: %(message)s")
    data = DataFolder(folder)
    data.make()
    database = Database(data.database)
    dispatcher = Dispatcher(
        JobStore(database),
        Leases(database),
        LocalExecutor(settings()),
        data,
        ServiceConfig(data_dir=folder),
    )
    dispatcher.start()
    sys.stdin.read()
    dispatcher.stop(20)


class Server:
    """A server process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, as a supervisor would after a crash."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "host", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(framepack.__file__).parents[1])},
            )

    @property
    def is_gone(self) -> bool:
        """Whether it ended although nobody ended it."""
        return self._process is None or self._process.poll() is not None

    def workers(self) -> list[psutil.Process]:
        """Its worker, if one runs."""
        assert self._process is not None
        try:
            return psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self, target: str) -> bool:
        """Kill the worker, the server or both; False if there was no worker to kill."""
        assert self._process is not None
        workers = self.workers()
        if target in ("server", "both"):
            self._process.kill()
        if target in ("worker", "both"):
            for worker in workers:
                try:
                    worker.kill()
                except psutil.NoSuchProcess:
                    continue
        if target in ("server", "both"):
            self._process.wait()
            self.start()
        return bool(workers)

    def stop(self) -> None:
        """End it as a supervisor would."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@dataclass
class Tally:
    """What came of the rounds; all but the first lines ought to be 0."""

    rounds: int = 0
    jobs: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    killed_while: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    lost: int = 0
    duplicated: int = 0
    different: int = 0
    failed: int = 0
    leftovers: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.lost or self.duplicated or self.different or self.failed or self.leftovers)


class Rounds:
    """Rounds of kills on one data folder.

    Args:
        folder: made if missing; ought to be empty.
        seed: of the moments and targets.
        jobs: queued in each round.
        wanted: digests of the videos of ``KINDS``; made by ``undisturbed`` otherwise.
    """

    def __init__(
        self, folder: Path, *, seed: int = 1, jobs: int = 3, wanted: Sequence[str] = ()
    ) -> None:
        self._data = DataFolder(folder)
        self._data.make()
        self._store = JobStore(Database(self._data.database))
        self._random = random.Random(seed)
        self._num_jobs = jobs
        self._wanted = dict(enumerate(wanted))
        self._usual_s = float(jobs)
        self.tally = Tally()
        self._server = Server(folder)

    def undisturbed(self) -> None:
        """Let every kind of video be made without a kill; the rounds are compared with them."""
        self._wait(self._queue(len(KINDS)))  # the first also loads the networks
        started = time.monotonic()
        ids = self._queue(len(KINDS))
        self._wait(ids)
        self._usual_s = (time.monotonic() - started) * self._num_jobs / len(KINDS)
        for kind, job_id in enumerate(ids):
            self._wanted[kind] = self._digest(job_id)

    def run(self, number: int, targets: tuple[str, ...] = TARGETS) -> Tally:
        """Do so many rounds."""
        started = time.monotonic()
        for index in range(number):
            self._round(targets[index % len(targets)])
            logging.info("round %d: %s", index + 1, asdict(self.tally))
        self.tally.seconds = round(time.monotonic() - started, 1)
        return self.tally

    def close(self) -> None:
        """End the server."""
        self._server.stop()

    def _round(self, target: str) -> None:
        tally = self.tally
        ids = self._queue(self._num_jobs)
        time.sleep(self._random.uniform(0, self._usual_s))
        self._kill(target, ids)
        while self._random.random() < 0.3:
            # While it starts, while torch is loaded, or at work again.
            time.sleep(self._random.uniform(0, 3 * self._usual_s))
            self._kill(self._random.choice(TARGETS), ids)
        self._wait(ids)
        tally.rounds += 1
        tally.jobs += len(ids)
        for index, job_id in enumerate(ids):
            self._check(index % len(KINDS), job_id)

    def _kill(self, target: str, ids: list[str]) -> None:
        states = [self._store.get(job_id) for job_id in ids]
        running = [job.progress.stage or "start" for job in states if job.state == "running"]
        _count(self.tally.killed_while, running[0] if running else "idle")
        _count(self.tally.kills, target)
        self._server.kill(target)

    def _queue(self, number: int) -> list[str]:
        ids = []
        for index in range(number):
            fields = {**SMALL, **KINDS[index % len(KINDS)]}
            job, _ = self._store.create(
                new_job_id(),
                fields,
                framepack.plan(settings=settings(), **fields).to_dict(),
                options=JobOptions().model_dump(mode="json"),
                max_attempts=8,
            )
            ids.append(job.id)
        return ids

    def _wait(self, ids: list[str]) -> None:
        deadline = time.monotonic() + TOO_LONG_S
        while any(not self._store.get(job_id).has_ended for job_id in ids):
            if time.monotonic() > deadline or self._server.is_gone:
                return
            time.sleep(0.05)

    def _check(self, kind: int, job_id: str) -> None:
        tally = self.tally
        job = self._store.get(job_id)
        events = [event.kind for event in self._store.events(job_id, limit=100_000)]
        tally.resumed += "Resumed" in events
        if job.state == "failed":
            tally.failed += 1
            tally.faults.append(f"{job_id}: {job.error}")
            return
        if job.state != "completed":
            tally.lost += 1
            tally.faults.append(f"{job_id} is {job.state} after {events}")
            return
        sections = [
            event.data["render_index"]
            for event in self._store.events(job_id, limit=100_000)
            if event.kind == "SectionDone"
        ]
        if events.count("Completed") != 1 or sections != list(range(len(job.plan["sections"]))):
            tally.duplicated += 1
            tally.faults.append(f"{job_id} has sections {sections}, {events}")
        if self._digest(job_id) != self._wanted[kind]:
            tally.different += 1
            tally.faults.append(f"{job_id} has other frames than an undisturbed run")
        found = {path.name for path in self._data.job(job_id).output.iterdir()}
        if found != {"video.mp4", "video.thumb.jpg"}:
            tally.leftovers += 1
            tally.faults.append(f"{job_id} left {sorted(found)}")

    def _digest(self, job_id: str) -> str:
        return digest_of(self._data.job(job_id).file("video.mp4"))


def digest_of(video: Path) -> str:
    """SHA-256 of the decoded frames."""
    from framepack.media.video import read_frames

    digest = hashlib.sha256()
    for frame in read_frames(video):
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def main() -> None:
    """Run a sub-command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=("rounds", "host"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if given.do == "host":
        host(given.folder)
        return
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s")
    rounds = Rounds(given.folder, seed=given.seed, jobs=given.jobs)
    try:
        rounds.undisturbed()
        tally = rounds.run(given.rounds)
    finally:
        rounds.close()
    text = json.dumps(asdict(tally), indent=2)
    print(text)
    if given.report is not None:
        given.report.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if tally.is_clean else 1)


if __name__ == "__main__":
    main()
