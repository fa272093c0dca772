"""What the service knows of a task: work that is no video's rendering."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from framepack.service.records import JobError

__all__ = ["DONE", "TaskPage", "TaskState", "ToolTask"]

TaskState = Literal["queued", "running", "completed", "failed", "cancelled"]

DONE: tuple[TaskState, ...] = ("completed", "failed", "cancelled")
"""States that nothing follows by itself."""


@dataclass(frozen=True, slots=True)
class ToolTask:
    """One task as the store has it.

    Attributes:
        id: "task_" and 24 hexadecimal digits.
        tool: what is done; see ``catalogue``.
        title: of the tool, for people.
        state: where it is.
        owner: id of the key that it was sent with; "" without keys.
        values: fields of the tool that were given.
        files: by field, names in the task's inputs with what the sender calls them.
        progress: 0 to 1.
        message: what is done now, for people.
        created_at, started_at, finished_at: Unix time in seconds, or None.
        output: names in its outputs by kind ("video", "plot"), and "report"; empty until
            completed.
        error: why it failed.
    """

    id: str
    tool: str
    title: str
    state: TaskState
    owner: str
    values: Mapping[str, Any]
    files: Mapping[str, list[tuple[str, str]]]
    created_at: float
    progress: float = 0.0
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    output: Mapping[str, Any] = field(default_factory=dict)
    error: JobError | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in DONE


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks, and whether there are more after them."""

    tasks: tuple[ToolTask, ...]
    has_more: bool
