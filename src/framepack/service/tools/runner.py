"""Does the tasks that wait: one thread, and one short-lived process at a time."""

import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from framepack.domain.errors import FramePackError
from framepack.domain.settings import Settings
from framepack.service.files import TaskFolder
from framepack.service.lines import line_of, read_lines
from framepack.service.options import ServiceConfig
from framepack.service.processes import environment, how_it_ended
from framepack.service.records import JobError, NoSuchJob
from framepack.service.tasks import settings_values
from framepack.service.tools.records import ToolTask
from framepack.service.tools.store import TaskStore

__all__ = ["TaskRunner"]

logger = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-m", "framepack.service.tools.worker")
_TROUBLE_S = 0.5
"""Between two tries when the database cannot be used."""
_IDLE_S = 60.0
_LINGERS_S = 10.0
"""A process that was told to end has so long."""


class TaskRunner:
    """Does the tasks of some tools, the oldest first. Start it once.

    Args:
        store: what is to be done.
        folder_of: the folder of a task, by its id.
        tools: ids of the tools whose tasks it does.
        settings: of this machine, asked for each task.
        config: limits.
        in_words: an error's text for whoever sent the task.
        on_idle: called when nothing is to be done, every minute.
        command: what starts the process.
    """

    def __init__(
        self,
        store: TaskStore,
        folder_of: Callable[[str], TaskFolder],
        tools: Sequence[str],
        *,
        settings: Callable[[], Settings],
        config: ServiceConfig,
        in_words: Callable[[ToolTask, str], str],
        on_idle: Callable[[], object],
        command: Sequence[str] = _COMMAND,
    ) -> None:
        self._store = store
        self._folder_of = folder_of
        self._tools = tuple(tools)
        self._settings = settings
        self._config = config
        self._in_words = in_words
        self._on_idle = on_idle
        self._command = list(command)
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._current: tuple[str, subprocess.Popen[bytes]] | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"tasks of {tools[0]}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there may be a task."""
        self._news.set()

    def drop(self, task_id: str) -> None:
        """End the process that does a task, which is cancelled in the store already."""
        with self._lock:
            if self._current is not None and self._current[0] == task_id:
                self._current[1].terminate()

    def stop(self, timeout_s: float) -> None:
        """End the process at work, whose task waits again, and the thread."""
        with self._lock:
            self._is_stopping = True
            if self._current is not None:
                self._current[1].terminate()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                task = self._store.claim(self._tools)
                if task is None:
                    self._on_idle()
                    self._news.wait(_IDLE_S)
                    self._news.clear()
                else:
                    self._do(task)
            except FramePackError as error:  # of the database
                logger.error("%s; trying again", error)
                self._news.wait(_TROUBLE_S)

    def _do(self, task: ToolTask) -> None:
        folder = self._folder_of(task.id)
        shutil.rmtree(folder.output, ignore_errors=True)  # of a try before
        try:
            process = self._started(task, folder)
        except OSError as error:
            why = f"no process for it: {error.strerror}; try again"
            self._store.end(task.id, "failed", error=JobError("worker_died", why))
            return
        ended: Mapping[str, Any] | None = None
        assert process.stdout is not None
        with process.stdout as source:
            for said in read_lines(source):
                if said["say"] == "ended":
                    ended = said
                    break
                with suppress(FramePackError):  # the next word comes soon
                    self._store.record(task.id, said["share"], said["message"])
        how = _buried(process)
        with self._lock:
            self._current = None
        self._surely(lambda: self._finish(task, folder, ended, how))

    def _surely(self, work: Callable[[], object]) -> None:
        """Do something although the database refuses at times."""
        while True:
            try:
                work()
                return
            except FramePackError as error:
                if self._is_stopping:  # the next start puts the task back
                    return
                logger.error("%s; trying again", error)
                time.sleep(_TROUBLE_S)

    def _started(self, task: ToolTask, folder: TaskFolder) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            start_new_session=sys.platform != "win32",  # Ctrl-C is meant for the server alone
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        with self._lock:
            self._current = task.id, process
        # Who cancelled it before that found no process; a database that refuses says nothing.
        with suppress(FramePackError):
            if self._is_stopping or self._is_cancelled(task):
                process.terminate()
        assert process.stdin is not None
        with suppress(OSError):  # it is dead, and its end is on its way
            process.stdin.write(line_of(self._assignment(task, folder)))
            process.stdin.flush()
        return process

    def _assignment(self, task: ToolTask, folder: TaskFolder) -> dict[str, Any]:
        files = {
            name: [str(folder.inputs / stored) for stored, _ in given]
            for name, given in task.files.items()
        }
        return {
            "id": task.id,
            "tool": task.tool,
            "values": dict(task.values),
            "files": files,
            "output": str(folder.output),
            "settings": settings_values(self._settings()),
            "max_duration_s": self._config.max_duration_s,
            "max_pixels": self._config.max_pixels,
            "log_level": logging.getLogger().getEffectiveLevel(),
        }

    def _finish(
        self, task: ToolTask, folder: TaskFolder, ended: Mapping[str, Any] | None, how: str
    ) -> None:
        """Write down how a task ended, and remove what nobody needs any more."""
        if ended is None and self._is_stopping and not self._is_cancelled(task):
            self._store.put_back(task.id)
            return
        if ended is None:
            error = JobError("worker_died", f"its process ended {how}; try again")
            self._store.end(task.id, "failed", error=error)
        elif ended["error"] is not None:
            said = ended["error"]
            text = self._in_words(task, said["message"])
            self._store.end(task.id, "failed", error=JobError(said["code"], text))
        elif self._store.end(task.id, "completed", output=ended["output"]):
            folder.remove_inputs()
            return
        folder.remove()

    def _is_cancelled(self, task: ToolTask) -> bool:
        try:
            return self._store.get(task.id).has_ended
        except NoSuchJob:
            return True


def _buried(process: subprocess.Popen[bytes]) -> str:
    """Wait for a process's end, force it if it takes long, and say how it ended."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_LINGERS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return how_it_ended(process.returncode)
