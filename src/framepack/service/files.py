"""Where the service's files are: one folder for each job, nothing outside the data folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from platformdirs import user_data_path

from framepack.domain.errors import InvalidRequest

__all__ = ["DataFolder", "JobFolder", "TaskFolder"]


@dataclass(frozen=True)
class _OwnFolder:
    """Files of one thing that was asked for.

    Attributes:
        path: the folder.
    """

    path: Path
    _owner: ClassVar[str]

    @property
    def inputs(self) -> Path:
        """What it works on."""
        return self.path / "inputs"

    @property
    def output(self) -> Path:
        """What it leaves."""
        return self.path / "output"

    def file(self, name: str) -> Path:
        """An output by its name.

        Raises:
            InvalidRequest: the name leads elsewhere, or there is no such file.
        """
        path = self.output / name
        if not path.is_file() or not path.resolve().is_relative_to(self.output.resolve()):
            raise InvalidRequest(f"there is no file {name!r} among what the {self._owner} left")
        return path

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)


class JobFolder(_OwnFolder):
    """A job's own files: its pictures, videos and sound, its run, and what is made of them."""

    _owner = "job"

    @property
    def run(self) -> Path:
        """The run directory; kept, since remixes and extensions go on from it."""
        return self.path / "run"

    @property
    def live(self) -> Path:
        """What is streamed while it renders."""
        return self.path / "live"

    @property
    def result(self) -> Path:
        """What the finished try said; for one that nobody heard."""
        return self.path / "result.json"

    @property
    def take(self) -> Path:
        """Whose run has the job's first sections; where it was made from a video."""
        return self.path / "take.json"

    @property
    def partial_wanted(self) -> Path:
        """Is there while somebody wants what the job has so far as a video."""
        return self.path / "partial-wanted"

    def beside(self, job_id: str) -> "JobFolder":
        """The folder of another job."""
        return JobFolder(self.path.parent / job_id)

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.inputs, self.output, self.live):
            folder.mkdir(parents=True, exist_ok=True)

    def remove_outputs(self) -> None:
        """Remove what was made, and what it was made of."""
        self.result.unlink(missing_ok=True)
        for folder in (self.output, self.run, self.live, self.inputs):
            shutil.rmtree(folder, ignore_errors=True)


class TaskFolder(_OwnFolder):
    """A task's own files; see ``framepack.service.tools``."""

    _owner = "task"

    def remove_inputs(self) -> None:
        """Remove what it worked on."""
        shutil.rmtree(self.inputs, ignore_errors=True)


@dataclass(frozen=True)
class DataFolder:
    """The service's data.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def of(cls, path: Path | None) -> "DataFolder":
        """The folder that was named, or else one in the user's data folder."""
        return cls((path or user_data_path("framepack", appauthor=False)).expanduser().absolute())

    @property
    def database(self) -> Path:
        """Jobs and keys."""
        return self.path / "framepack.db"

    @property
    def uploads(self) -> Path:
        """Files that were sent ahead of a request."""
        return self.path / "uploads"

    @property
    def audit_log(self) -> Path:
        """A line for each request that was answered."""
        return self.path / "audit.jsonl"

    @property
    def secret(self) -> Path:
        """Signs links; readable by its owner alone."""
        return self.path / "secret"

    def job(self, job_id: str) -> JobFolder:
        """The folder of a job, which need not be there."""
        if not job_id.replace("_", "").isalnum():
            raise InvalidRequest(f"{job_id!r} is no id of a job")
        return JobFolder(self.path / "jobs" / job_id)

    @property
    def recipes(self) -> Path:
        """Recipes that operators keep."""
        return self.path / "recipes"

    def task(self, task_id: str) -> TaskFolder:
        """The folder of a task, which need not be there."""
        if not task_id.replace("_", "").isalnum():
            raise InvalidRequest(f"{task_id!r} is no id of a task")
        return TaskFolder(self.path / "tasks" / task_id)

    def make(self) -> None:
        """Make the folders."""
        own = ("jobs", "tasks", "recipes")
        for folder in (self.path, self.uploads, *(self.path / name for name in own)):
            folder.mkdir(parents=True, exist_ok=True)
