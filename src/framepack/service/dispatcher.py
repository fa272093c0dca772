"""Brings jobs to the executor and what becomes of them to the store: one thread.

The store owns the truth. Whatever this process or a worker loses by dying is in the run
directory, so a job that was running is simply put back and goes on from its last finished section.
Waiting is done by a clock that never jumps; when the clock on the wall does, times that are kept
in the store are moved along.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from framepack.domain.errors import FramePackError, RunInUse, is_disk_full
from framepack.domain.fallbacks import FALLBACKS
from framepack.pipeline.run_lock import RunLock
from framepack.service.executor import Executor, Message, Task, TaskEnded, TaskEvent
from framepack.service.files import DataFolder
from framepack.service.leases import Leases
from framepack.service.options import ServiceConfig
from framepack.service.progress import Tracker
from framepack.service.records import Job, JobError, NoSuchJob
from framepack.service.store import JobStore

__all__ = ["Dispatcher", "retry_delay_s"]

logger = logging.getLogger(__name__)

TURN_S = 0.1
HEARTBEAT_S = 5.0
RETENTION_S = 30.0
TROUBLE_S = 0.5
"""Between two tries when the database cannot be used."""
BUSY_S = 0.5
"""Until a run in which another process still works is tried again."""
JUMP_S = 2.0
"""The wall clock jumped if it moved so much more or less than the steady one in a turn."""
LONGEST_DELAY_S = 300.0
DAY_S = 86400.0

FOR_GOOD = frozenset({"invalid_request", "missing_weights", "damaged_run"})
"""Trying again would end the same way."""


def retry_delay_s(attempts: int) -> float:
    """Seconds before a job is tried again after so many failures: 1, 2, 4 and so on."""
    return float(min(2 ** max(attempts - 1, 0), LONGEST_DELAY_S))


@dataclass
class _Running:
    """A job that the executor has, and the sections that its log has."""

    job: Job
    fallback: int
    tracker: Tracker
    sections: set[int]
    seen: Message | None = None
    told_to_stop: bool = False


@dataclass
class _Times:
    """When something is due next, by the steady clock."""

    heartbeat: float = 0.0
    retention: float = 0.0
    offset: float = 0.0


class Dispatcher:
    """Runs the jobs of one data folder. Start it once.

    Args:
        store: what was asked.
        leases: where it tells what happens.
        executor: who makes the videos.
        data: where the jobs' files are.
        config: limits and times.
        clock: the wall clock, Unix time in seconds.
        monotonic: a clock that never jumps, seconds.
    """

    def __init__(
        self,
        store: JobStore,
        leases: Leases,
        executor: Executor,
        data: DataFolder,
        config: ServiceConfig,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._leases = leases
        self._executor = executor
        self._data = data
        self._config = config
        self._clock = clock
        self._monotonic = monotonic
        self._lock = RunLock(data.path / "server.lock")
        self._running: dict[str, _Running] = {}
        self._unheard: deque[Message] = deque()
        self._times = _Times()
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether jobs are being worked on, or would be."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Put back what a server that is gone worked on, and begin.

        Raises:
            FramePackError: another server uses the data folder.
        """
        self.prepare()
        self._thread.start()

    def prepare(self) -> None:
        """What :meth:`start` does before its thread runs."""
        try:
            self._lock.acquire()
        except RunInUse as error:
            raise FramePackError(
                f"another server uses the data folder {self._data.path}; stop it, or name another "
                "folder"
            ) from error
        try:
            for job_id in self._leases.release_all():
                logger.info("%s goes on after a server that ended", job_id)
        except FramePackError:
            self._lock.release()
            raise
        self._times.offset = self._clock() - self._monotonic()

    def stop(self, timeout_s: float) -> None:
        """Stop within a step what runs, and put it back; waits no longer than ``timeout_s``."""
        self._deadline = self._monotonic() + timeout_s
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self.turn(TURN_S)
                except FramePackError as error:  # of the database; nothing that was said is lost
                    logger.error("%s; trying again", error)
                    self._stopping.wait(TROUBLE_S)
        finally:
            self._wind_down()

    def turn(self, wait_s: float) -> None:
        """One round: hear, obey, keep up, and begin what is due.

        Args:
            wait_s: how long to wait for a word of the executor.

        Raises:
            FramePackError: the database cannot be used; call again.
        """
        self._hear(wait_s)
        self._follow_clock()
        self._obey()
        self._keep_up()
        while self._executor.capacity > 0 and self._begin():
            pass

    # --- What the executor says ----------------------------------------------------------------

    def _hear(self, wait_s: float) -> None:
        self._unheard += self._executor.messages(0.0 if self._unheard else wait_s)
        while self._unheard:
            self._take(self._unheard[0])
            self._unheard.popleft()  # only now: the database may have refused

    def _take(self, message: Message) -> None:
        running = self._running.get(message.lease)
        if running is None:
            return
        if isinstance(message, TaskEvent):
            if running.seen is not message:  # else the database refused it a moment ago
                running.tracker.add(message.event)
                running.seen = message
            self._record(running, message)
        elif isinstance(message, TaskEnded):
            with suppress(NoSuchJob):  # another server had it, and somebody deleted it there
                self._end(running, message)
            del self._running[message.lease]

    def _record(self, running: _Running, message: TaskEvent) -> None:
        """Log an event; a section once, however often a worker says or renders it."""
        values = dict(message.event)
        kind = str(values.pop("event"))
        if kind == "SectionDone" and values["render_index"] in running.sections:
            return
        self._leases.record(running.job.id, message.lease, kind, values, running.tracker.progress)
        if kind == "SectionDone":
            running.sections.add(values["render_index"])

    def _end(self, running: _Running, end: TaskEnded) -> None:
        job = self._store.get(running.job.id)
        lease = end.lease
        if end.outcome == "finished":
            keep_s = self._config.keep_days * DAY_S if self._config.keep_days else None
            self._leases.complete(job.id, lease, end.output, keep_s=keep_s)
        elif job.wanted == "cancel":
            self._leases.stopped(job.id, lease, "cancelled")
        elif job.wanted == "pause" and end.outcome in ("stopped", "busy"):
            self._leases.stopped(job.id, lease, "paused")
        elif end.outcome in ("stopped", "busy") or (
            end.outcome == "died" and self._stopping.is_set()
        ):
            self._leases.release(job.id, lease, wait_s=0.0 if self._stopping.is_set() else BUSY_S)
        else:
            self._fail(job, lease, running.fallback, end.error or JobError("internal", "no word"))

    def _fail(self, job: Job, lease: str, fallback: int, error: JobError) -> None:
        """Try a job again later, or no more."""
        attempts = job.attempts + 1
        if error.code == "out_of_memory":
            if fallback + 1 < len(FALLBACKS):
                logger.warning(
                    "%s: memory ran out; next: %s", job.id, FALLBACKS[fallback + 1].title
                )
                self._leases.release(job.id, lease, error, counts=False)
            else:
                self._leases.fail(job.id, lease, _given_up(error))
        elif error.code in FOR_GOOD or attempts >= job.max_attempts:
            self._leases.fail(job.id, lease, error)
        else:
            wait_s = retry_delay_s(attempts)
            logger.warning("%s: %s; again in %g s", job.id, error.message, wait_s)
            self._leases.release(job.id, lease, error, wait_s=wait_s)

    # --- What is due ---------------------------------------------------------------------------

    def _follow_clock(self) -> None:
        """Move the times in the store along when the wall clock jumped."""
        offset = self._clock() - self._monotonic()
        jump_s = offset - self._times.offset
        if abs(jump_s) > JUMP_S:
            logger.warning("the clock jumped by %+.0f s", jump_s)
            self._leases.shift(jump_s)
        self._times.offset = offset

    def _obey(self) -> None:
        """Stop those that are to be cancelled or paused."""
        for lease, running in self._running.items():
            if running.told_to_stop:
                continue
            with suppress(NoSuchJob):
                running.told_to_stop = self._store.get(running.job.id).wanted is not None
            if running.told_to_stop:
                self._executor.stop(lease)

    def _keep_up(self) -> None:
        now = self._monotonic()
        if now >= self._times.heartbeat:
            for lease, running in self._running.items():
                if not self._leases.heartbeat(running.job.id, lease):
                    self._executor.stop(lease)
            self._times.heartbeat = now + HEARTBEAT_S
        if now >= self._times.retention:
            self._remove_expired()
            self._times.retention = now + RETENTION_S

    def _remove_expired(self) -> None:
        for job in self._store.expired(self._clock()):
            logger.info("%s: its files are removed, as they were to be kept no longer", job.id)
            try:
                self._data.job(job.id).remove_outputs()
            except OSError as error:
                logger.error("%s: its files cannot be removed: %s; trying later", job.id, error)
            else:
                self._leases.expire(job.id)

    def _begin(self) -> bool:
        """Give the executor the job whose turn it is; False if there is none."""
        job = self._leases.claim()
        if job is None:
            return False
        assert job.lease is not None, "claimed jobs have one"
        fallback = self._leases.num_out_of_memory(job.id)
        sections = set(self._leases.sections_done(job.id))
        try:
            task = self._task(job, job.lease, fallback)
        except OSError as error:
            self._fail(job, job.lease, fallback, _no_folder(error))
            return True
        self._running[job.lease] = _Running(job, fallback, Tracker(job.progress), sections)
        self._executor.submit(task)
        return True

    def _task(self, job: Job, lease: str, fallback: int) -> Task:
        """What the executor is given; makes the job's folder."""
        folder = self._data.job(job.id)
        folder.make()
        request = dict(job.request)
        if request.get("seed") is None and "seed" in job.plan:
            request["seed"] = job.plan["seed"]  # the same video however often it is begun anew
        return Task(
            lease=lease,
            job_id=job.id,
            folder=folder.path,
            request=request,
            options=job.options,
            fallback=min(fallback, len(FALLBACKS) - 1),
        )

    # --- The end -------------------------------------------------------------------------------

    def _wind_down(self) -> None:
        """Have everything stop, tell the store, and let go of the data folder."""
        for lease in self._running:
            self._executor.stop(lease)
        while self._running and self._monotonic() < self._deadline:
            self._try(partial(self._hear, TURN_S))
        self._executor.close(max(0.0, self._deadline - self._monotonic()))
        self._try(partial(self._hear, TURN_S))
        for lease, running in self._running.items():
            job_id = running.job.id
            # If the database refuses even now, the next server puts them back.
            self._try(partial(self._leases.release, job_id, lease))
        self._lock.release()

    def _try(self, action: Callable[[], object]) -> None:
        with suppress(FramePackError):
            action()


def _no_folder(error: OSError) -> JobError:
    code = "disk_full" if is_disk_full(error) else "internal"
    return JobError(code, f"the job's folder cannot be made: {error.strerror}; free some space")


def _given_up(error: JobError) -> JobError:
    return JobError(
        "out_of_memory",
        f"this machine's memory does not suffice ({error.message}), not even with the smallest VAE "
        "tiles, one network on the device at a time and half precision; ask for a smaller "
        "resolution or latent window size, close other programs, or choose a smaller model",
    )
