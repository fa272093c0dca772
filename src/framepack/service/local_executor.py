"""The executor of one machine: a worker process that is started when it is needed."""

import logging
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil

from framepack.domain.settings import Settings
from framepack.service.executor import Message, Task, TaskEnded, TaskEvent, TaskStarted
from framepack.service.lines import line_of, read_lines
from framepack.service.processes import environment, how_it_ended
from framepack.service.records import JobError
from framepack.service.tasks import settings_values

__all__ = ["LocalExecutor"]

logger = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-m", "framepack.service.worker")
_LINGERS_S = 20.0
"""A worker that was told to end has so long."""


class LocalExecutor:
    """See :class:`framepack.service.executor.Executor`. One task at a time.

    Its methods are for one thread, but for ``facts`` and ``use``, which any may call.

    Args:
        settings: of this machine, for the worker.
        idle_s: the worker ends after so many seconds without a task, which frees its memory.
        monotonic: a clock that never jumps, seconds.
        command: what starts the worker.
        on_change: called when ``facts`` are others, but for those that change by themselves.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        idle_s: float = 600.0,
        monotonic: Callable[[], float] = time.monotonic,
        command: Sequence[str] = _COMMAND,
        on_change: Callable[[], object] | None = None,
    ) -> None:
        self._settings = settings
        self._on_change = on_change or (lambda: None)
        self._idle_s = idle_s
        self._monotonic = monotonic
        self._command = list(command)
        self._said: queue.Queue[tuple[_Process, Mapping[str, Any] | None]] = queue.Queue()
        self._process: _Process | None = None
        self._task: Task | None = None
        self._since_s = monotonic()
        self._facts: dict[str, Any] = dict.fromkeys(("device", "device_memory_gb", "model"))
        self._to_load: str | None = None
        self._loading: str | None = None
        self._load_error: str | None = None

    @property
    def capacity(self) -> int:
        """1 if a task could be taken now; a process that is about to end is waited for."""
        process = self._process
        is_ready = process is None or not (process.is_leaving or self._is_outdated(process))
        return int(self._task is None and is_ready)

    def submit(self, task: Task) -> None:
        """Take a task; starts a process if none runs."""
        assert self._task is None, "one task at a time"
        self._task = task
        try:
            process = self._started()
        except OSError as error:
            logger.error("the worker does not start: %s", error)
            self._said.put((_NOBODY, {"say": "unborn", "why": str(error)}))
            return
        self._on_change()
        values = {name: getattr(task, name) for name in Task.__slots__}
        process.send({"do": "run", **values, "folder": str(task.folder)})

    def stop(self, lease: str) -> None:
        """Stop a task within a step."""
        if self._task is not None and self._task.lease == lease and self._process is not None:
            self._process.send({"do": "stop", "lease": lease})

    def use(self, settings: Settings) -> None:
        """Work by other settings from the next task on; an idle process ends at once."""
        self._settings = settings

    def load(self, model: str) -> None:
        """See :class:`framepack.service.executor.Executor`; begun by the next ``messages``."""
        self._load_error = None
        self._to_load = model

    def unload(self) -> None:
        """See :class:`framepack.service.executor.Executor`."""
        self._to_load = None
        self.use(self._settings.model_copy())  # a process by others, however alike, is outdated

    def messages(self, timeout_s: float) -> list[Message]:
        """What was said since the last call; waits for the first word no longer than asked."""
        messages: list[Message] = []
        try:
            said = self._said.get(timeout=timeout_s) if timeout_s > 0 else self._said.get_nowait()
            while True:
                messages += self._understand(*said)
                said = self._said.get_nowait()
        except queue.Empty:
            pass
        self._end_idle()
        self._begin_load()
        return messages

    def facts(self) -> Mapping[str, Any]:
        """See :class:`framepack.service.executor.Executor`."""
        process = self._process
        return {
            **self._facts,
            "alive": process is not None,
            "busy": self._task is not None,
            "pid": process.pid if process is not None else None,
            "host_memory_gb": _memory_gb(process.pid) if process is not None else None,
            "loading": self._to_load or self._loading,
            "load_error": self._load_error,
        }

    def close(self, timeout_s: float) -> None:
        """Have the task stop and the process end; kill it if it does not in time."""
        if self._process is not None:
            self._process.leave()
            self._process.wait(timeout_s)

    def _understand(self, process: "_Process", said: Mapping[str, Any] | None) -> list[Message]:
        if process is not self._process and process is not _NOBODY:
            return []  # the last words of one that was given up
        if said is None:
            return self._buried(process)
        kind, lease = said["say"], said.get("lease", "")
        if kind == "facts":
            self._facts = {name: said.get(name) for name in self._facts}
            self._on_change()
        elif kind == "loaded":
            self._loading, self._load_error = None, said["error"]
            self._since_s = self._monotonic()
            self._on_change()
        elif kind == "unborn":
            return self._ended("died", JobError("worker_died", f"no worker: {said['why']}"))
        elif self._task is not None and lease == self._task.lease:
            if kind == "started":
                return [TaskStarted(lease)]
            if kind == "event":
                return [TaskEvent(lease, said["event"])]
            if kind == "ended":
                if said["leaves"]:
                    process.is_leaving = True
                error = JobError(**said["error"]) if said["error"] else None
                return self._ended(said["outcome"], error, said["output"])
        return []

    def _ended(
        self, outcome: Any, error: JobError | None, output: Mapping[str, Any] | None = None
    ) -> list[Message]:
        task, self._task = self._task, None
        self._since_s = self._monotonic()
        self._on_change()
        return [TaskEnded(task.lease, outcome, output or {}, error)] if task is not None else []

    def _buried(self, process: "_Process") -> list[Message]:
        """The process is gone; what it worked on died with it."""
        was_told = process.is_leaving
        how = process.wait(_LINGERS_S)
        self._process = None
        self._facts = dict.fromkeys(self._facts)
        if self._loading is not None and not was_told:
            self._load_error = f"the worker ended {how}"
        self._loading = None
        self._on_change()
        if self._task is None:
            return []
        logger.warning("the worker ended %s while it worked", how)
        return self._ended("died", JobError("worker_died", f"the worker ended {how}"))

    def _end_idle(self) -> None:
        process = self._process
        if process is None or self._task is not None:
            return
        idle_s = self._monotonic() - self._since_s
        if not process.is_leaving and self._is_outdated(process):
            logger.info("the worker ends, since settings have changed")
            process.leave()
            self._since_s = self._monotonic()
        elif not process.is_leaving and self._loading is None and idle_s >= self._idle_s:
            logger.info("the worker ends after %.0f s without a task", idle_s)
            process.leave()
            self._since_s = self._monotonic()
        elif process.is_leaving and idle_s >= _LINGERS_S:
            process.kill()

    def _begin_load(self) -> None:
        """Have the process read networks, if that was asked for and nothing is in the way."""
        model = self._to_load
        if model is None or not self.capacity:
            return
        self._to_load = None
        try:
            self._started().send({"do": "load", "model": model})
            self._loading = model
        except OSError as error:
            self._load_error = f"the worker does not start: {error}"
        self._on_change()

    def _started(self) -> "_Process":
        """The process; a new one is told what holds on this machine first."""
        if self._process is None:
            self._process = _Process(self._command, self._said, self._settings)
            level = logging.getLogger().getEffectiveLevel()
            told = {"settings": settings_values(self._process.settings), "log_level": level}
            self._process.send({"do": "settings", **told})
        return self._process

    def _is_outdated(self, process: "_Process") -> bool:
        return process.settings is not self._settings


class _Process:
    """One worker process, and the thread that reads what it says."""

    def __init__(
        self,
        command: list[str],
        said: "queue.Queue[tuple[_Process, Mapping[str, Any] | None]]",
        settings: Settings,
    ) -> None:
        self.settings = settings
        is_windows = sys.platform == "win32"
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            start_new_session=not is_windows,  # Ctrl-C is meant for the server alone
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.pid = self._popen.pid
        self.is_leaving = False
        threading.Thread(target=self._read, args=(said,), name="worker", daemon=True).start()

    def send(self, said: Mapping[str, Any]) -> None:
        """Say something; if the process is dead, its end is on its way."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(line_of(said))
            self._popen.stdin.flush()
        except (OSError, ValueError) as error:
            logger.debug("worker %d does not listen: %s", self.pid, error)

    def leave(self) -> None:
        """Have it end, within a step."""
        self.is_leaving = True
        assert self._popen.stdin is not None
        with suppress(OSError):  # what was not read yet goes nowhere any more
            self._popen.stdin.close()

    def kill(self) -> None:
        """End it now."""
        self._popen.kill()

    def wait(self, timeout_s: float) -> str:
        """Wait for its end, force it if it takes longer, and say how it ended."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("worker %d does not end by itself and is killed", self.pid)
            self._popen.kill()
            self._popen.wait()
        self.leave()
        return how_it_ended(self._popen.returncode)

    def _read(self, said: "queue.Queue[tuple[_Process, Mapping[str, Any] | None]]") -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as source:
            for each in read_lines(source):
                said.put((self, each))
        said.put((self, None))


_NOBODY: Any = object()


def _memory_gb(pid: int) -> float | None:
    """What a process holds of the machine's memory, GB of 10**9 bytes, in tenths."""
    try:
        return round(psutil.Process(pid).memory_info().rss / 1e9, 1)
    except psutil.Error:  # it has just ended
        return None
