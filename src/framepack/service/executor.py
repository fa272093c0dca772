"""Who makes the videos, as the dispatcher sees it: a local process, or machines of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from framepack.domain.settings import Settings
from framepack.service.records import JobError

__all__ = ["Executor", "Message", "Task", "TaskEnded", "TaskEvent", "TaskStarted"]


@dataclass(frozen=True, slots=True)
class Task:
    """One try at a job.

    Attributes:
        lease: names the try.
        job_id: the job.
        folder: the job's folder, with its pictures; the run directory and the output go there.
        request: ``GenerationRequest.to_dict()``.
        options: ``JobOptions`` as values.
        fallback: 0 for the first try; each time memory ran out it is one more, and the worker
            takes a more modest way.
    """

    lease: str
    job_id: str
    folder: Path
    request: Mapping[str, Any]
    options: Mapping[str, Any]
    fallback: int = 0


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The task is worked on now."""

    lease: str


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """The pipeline said something: ``event`` is ``Event.to_dict()``."""

    lease: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """Nothing more will come of the task.

    Attributes:
        lease: names the task.
        outcome: "finished"; "stopped" because it was asked to; "failed" by itself; "busy" because
            somebody else still works in the run directory; "died" with its process.
        output: see ``Job.output``; when finished.
        error: when failed or died.
    """

    lease: str
    outcome: Literal["finished", "stopped", "failed", "busy", "died"]
    output: Mapping[str, Any]
    error: JobError | None = None


Message = TaskStarted | TaskEvent | TaskEnded


class Executor(Protocol):
    """Works on tasks. Every task that was taken ends with one ``TaskEnded``."""

    @property
    def capacity(self) -> int:
        """Tasks that could be taken now."""

    def submit(self, task: Task) -> None:
        """Take a task; returns at once."""

    def stop(self, lease: str) -> None:
        """Stop a task within a step; its run directory stays resumable. Returns at once."""

    def use(self, settings: Settings) -> None:
        """Work by other settings from the next task on; from any thread."""

    def messages(self, timeout_s: float) -> list[Message]:
        """What was said since the last call; waits for the first word no longer than asked."""

    def load(self, model: str) -> None:
        """Read a model's networks before there is a task for them. Returns at once; any thread.

        Args:
            model: as ``GenerationRequest.model`` names it.
        """

    def unload(self) -> None:
        """Free all memory once no task is at work. Returns at once; any thread."""

    def facts(self) -> Mapping[str, Any]:
        """For metrics and pages: "alive", "busy", "device", "device_memory_gb", "model", "pid".

        And "host_memory_gb", "loading", the model that is being read, and "load_error", why the
        last one could not be. What is not known is None or not there.
        """

    def close(self, timeout_s: float) -> None:
        """Stop all tasks within a step, then the processes; those that linger are killed."""
