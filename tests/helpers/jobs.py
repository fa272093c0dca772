"""A data folder with its jobs, an executor that does what a test says, and clocks that jump."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.runs import SMALL

from framepack.domain.events import SectionDone, StepDone
from framepack.domain.settings import Settings
from framepack.service.database import Database
from framepack.service.executor import Message, Task, TaskEnded, TaskEvent, TaskStarted
from framepack.service.files import DataFolder
from framepack.service.leases import Leases
from framepack.service.options import JobOptions
from framepack.service.records import Job, JobError
from framepack.service.store import JobStore, new_job_id

__all__ = ["Clocks", "House", "ScriptedExecutor", "section_done", "step_done"]


@dataclass
class Clocks:
    """The clock on the wall and the steady one, moved by hand, in seconds."""

    wall: float = 1_800_000_000.0
    steady: float = 50.0

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.steady += seconds

    def jump(self, seconds: float) -> None:
        """Have somebody set the clock on the wall."""
        self.wall += seconds


@dataclass
class House:
    """A data folder and what stands around it."""

    path: Path
    clocks: Clocks = field(default_factory=Clocks)

    def __post_init__(self) -> None:
        self.data = DataFolder(self.path)
        self.data.make()
        self.open()

    def open(self) -> None:
        """Open the database, as a server does when it starts."""
        self.database = Database(self.data.database)
        clock = lambda: self.clocks.wall  # noqa: E731
        self.store = JobStore(self.database, clock=clock)
        self.leases = Leases(self.database, clock=clock)

    def add(self, *, max_attempts: int = 3, parent: str | None = None, **fields: Any) -> Job:
        """Queue a job; without fields one that only a fake executor takes."""
        request = {**SMALL, **fields}
        job, _ = self.store.create(
            new_job_id(),
            request,
            {"seed": request["seed"]},
            options=JobOptions().model_dump(mode="json"),
            max_attempts=max_attempts,
            parent=parent,
        )
        return job

    def kinds(self, job_id: str) -> list[str]:
        """What happened to a job."""
        return [event.kind for event in self.store.events(job_id)]


class ScriptedExecutor:
    """Takes one task at a time and says what it is told to say."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.stopped: list[str] = []
        self.said: deque[Message] = deque()
        self.closed = False
        self._at_work: Task | None = None

    @property
    def capacity(self) -> int:
        return int(self._at_work is None)

    def submit(self, task: Task) -> None:
        assert self._at_work is None
        self._at_work = task
        self.tasks.append(task)
        self.said.append(TaskStarted(task.lease))

    def stop(self, lease: str) -> None:
        self.stopped.append(lease)

    def use(self, settings: Settings) -> None:
        self.settings = settings

    def messages(self, timeout_s: float) -> list[Message]:
        said = list(self.said)
        self.said.clear()
        return said

    def load(self, model: str) -> None:
        raise AssertionError("nobody asks for it")

    def unload(self) -> None:
        raise AssertionError("nobody asks for it")

    def facts(self) -> Mapping[str, Any]:
        return {"alive": True}

    def close(self, timeout_s: float) -> None:
        self.closed = True

    def tell(self, event: Mapping[str, Any]) -> None:
        """Let the task at work say something."""
        assert self._at_work is not None
        self.said.append(TaskEvent(self._at_work.lease, event))

    def end(self, outcome: Any, code: str = "", output: Mapping[str, Any] | None = None) -> None:
        """Let the task at work end."""
        assert self._at_work is not None
        error = JobError(code, "so it went") if code else None
        self.said.append(TaskEnded(self._at_work.lease, outcome, output or {}, error))
        self._at_work = None


def step_done(step: int = 1, render_index: int = 0, num_sections: int = 2) -> dict[str, Any]:
    """What is said after a step; two make a section."""
    return StepDone(
        elapsed_s=1.0,
        section=num_sections - 1 - render_index,
        render_index=render_index,
        num_sections=num_sections,
        step=step,
        num_steps=2,
        seconds=0.5,
    ).to_dict()


def section_done(render_index: int = 0, num_sections: int = 2) -> dict[str, Any]:
    """What is said after a section."""
    return SectionDone(
        elapsed_s=2.0,
        section=num_sections - 1 - render_index,
        render_index=render_index,
        num_sections=num_sections,
        seconds=1.5,
    ).to_dict()
