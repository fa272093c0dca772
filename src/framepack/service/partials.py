"""What a stopped job has so far, as a video: made when somebody wants it, by a process of its own.

A file in the job's folder says that it is wanted, so it is made even if the server ends before the
job has stopped, or while it is made. Neither the worker nor its queue is waited for.
"""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from framepack.service.database import Database
from framepack.service.files import DataFolder, JobFolder
from framepack.service.leases import Leases
from framepack.service.processes import environment, how_it_ended
from framepack.service.records import Job, NoSuchJob, State, StoreFull, WrongState
from framepack.service.run_reading import read_run
from framepack.service.store import JobStore

__all__ = ["Partials"]

logger = logging.getLogger(__name__)

_STOPPED: tuple[State, ...] = ("paused", "cancelled", "failed")
_BUSY_S = 0.5
_TRIES = 60
"""A worker that was told to stop may still be at its last step."""


class Partials:
    """Makes the videos of jobs that stopped, one after the other.

    Args:
        data: the jobs' files.
        database: the jobs.
        on_change: called with a job's id when its partial video is there.
    """

    def __init__(
        self, data: DataFolder, database: Database, *, on_change: Callable[[str], object]
    ) -> None:
        self._data = data
        self._store = JobStore(database)
        self._leases = Leases(database, on_change=on_change)
        self._wanted: set[str] = set()
        self._under_way: dict[str, Future[Job]] = {}
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partial")
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Go on with what was wanted when the last server ended."""
        for path in (self._data.path / "jobs").glob("*/partial-wanted"):
            self._wanted.add(path.parent.name)
            self.notice(path.parent.name)

    def close(self) -> None:
        """Stop; what is not made yet is made by the next server."""
        self._closing.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def want(self, job_id: str) -> None:
        """Have the video made as soon as the job has stopped.

        Raises:
            StoreFull: the disk refused.
        """
        try:
            self._data.job(job_id).partial_wanted.touch()
        except OSError as error:
            raise StoreFull(
                f"{job_id} cannot be kept: {error.strerror}; free some space"
            ) from error
        self._wanted.add(job_id)

    def notice(self, job_id: str) -> None:
        """Hear that something happened to a job; from any thread, and cheap."""
        if job_id in self._wanted:
            with suppress(NoSuchJob, WrongState):
                if self._store.get(job_id).state not in ("queued", "running"):
                    self._begin(job_id)

    async def make(self, job_id: str) -> Job:
        """Make the video of a job that has stopped; those who wait for it hold no thread.

        Raises:
            NoSuchJob: there is no such job.
            WrongState: it has not stopped, is completed, or has no frames yet.
            StoreFull: the disk refused.
        """
        under_way = asyncio.wrap_future(await run_in_threadpool(self._asked, job_id))
        await asyncio.wait({under_way})  # unlike await, leaves it alone if nobody listens any more
        if under_way.cancelled():
            raise _stopping()
        job = under_way.result()
        if not job.output.get("partial"):
            reason = job.output.get("partial_error") or "no frame of it is final yet"
            raise WrongState(f"{job_id} has nothing to keep: {reason}")
        return job

    def _asked(self, job_id: str) -> "Future[Job]":
        job = self._store.get(job_id)
        if job.state not in _STOPPED:
            hint = "its whole video is there" if job.state == "completed" else "cancel or pause it"
            raise WrongState(f"{job_id} is {job.state}; {hint}")
        self.want(job_id)
        return self._begin(job_id)

    def _begin(self, job_id: str) -> "Future[Job]":
        with self._lock:
            if self._closing.is_set():
                raise _stopping()
            if job_id not in self._under_way:
                self._under_way[job_id] = self._thread.submit(self._work, job_id)
            return self._under_way[job_id]

    def _work(self, job_id: str) -> Job:
        folder = self._data.job(job_id)
        try:
            job = self._store.get(job_id)
            if job.state in _STOPPED:
                self._leases.note_partial(job_id, self._made(job, folder))
            folder.partial_wanted.unlink(missing_ok=True)
            self._wanted.discard(job_id)
            return self._store.get(job_id)
        except NoSuchJob:  # somebody deleted it meanwhile
            self._wanted.discard(job_id)
            raise
        except Exception as error:
            # Nobody may be waiting for it. It stays wanted, and the next server tries again.
            if not self._closing.is_set():
                logger.error("%s: what it has was not kept", job_id, exc_info=error)
            raise
        finally:
            with self._lock:
                del self._under_way[job_id]

    def _made(self, job: Job, folder: JobFolder) -> dict[str, Any]:
        """What is there now; see ``Job.output``."""
        run = read_run(folder.run)
        options = job.options
        has_video = options.get("video", True) and job.plan["request"]["codec"] != "none"
        if run is None or run.num_done == 0 or not has_video:
            return {"partial_frames": 0}
        name = f"partial.{'png' if run.one_frame else options.get('container', 'mp4')}"
        with suppress(FileNotFoundError):  # of a job that was deleted a moment ago
            folder.output.mkdir(exist_ok=True)
        for _ in range(_TRIES):
            said = self._ask(folder.run, folder.output / name)
            if not said.get("busy"):
                break
            self._closing.wait(_BUSY_S)
        if "num_frames" not in said:
            logger.error("%s: nothing could be kept: %s", job.id, said)
            error = str(said.get("error") or "another process still works on it; try again")
            return {"partial_frames": 0, "partial_error": error}
        frames = int(said["num_frames"])
        return {"partial_frames": frames, **({"partial": name} if frames else {})}

    def _ask(self, run: Path, output: Path) -> dict[str, Any]:
        """Have a process write the video.

        Raises:
            WrongState: the server is stopping.
        """
        command = [sys.executable, "-P", "-m", "framepack.service.partial", str(run), str(output)]
        with self._lock:
            if self._closing.is_set():
                raise _stopping()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environment(),
                start_new_session=sys.platform != "win32",  # Ctrl-C is meant for the server alone
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        said, _ = self._process.communicate()
        with self._lock:
            code, self._process = self._process.returncode, None
        if self._closing.is_set():
            raise _stopping()
        try:
            found: dict[str, Any] = json.loads(said)
        except ValueError:
            return {"error": f"its process ended {how_it_ended(code)}"}
        return found


def _stopping() -> WrongState:
    return WrongState("the server is stopping; ask again when it is back")
