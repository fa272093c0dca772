"""What the service knows about a job. Plain values; the store keeps them."""
# ruff: noqa: N818 - the names say what is wrong, as those of `domain.errors` do

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from framepack.domain.errors import FramePackError

__all__ = [
    "ENDED",
    "STATES",
    "IdempotencyConflict",
    "Job",
    "JobError",
    "JobEvent",
    "NoSuchJob",
    "Page",
    "Progress",
    "QueueFull",
    "QuotaExceeded",
    "State",
    "StoreBusy",
    "StoreFull",
    "WrongState",
]

State = Literal["queued", "running", "paused", "completed", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "paused", "completed", "failed", "cancelled")
ENDED: tuple[State, ...] = ("completed", "failed", "cancelled")

Wanted = Literal["cancel", "pause"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        fraction: 0 to 1.
        stage: what is done now, as in ``StageStarted``; empty before it begins.
        section: sections rendered.
        num_sections: sections of the video; 0 before it is known.
        step: denoising steps done in the section at work.
        num_steps: steps of that section.
        seconds_left: estimate, or None.
    """

    fraction: float = 0.0
    stage: str = ""
    section: int = 0
    num_sections: int = 0
    step: int = 0
    num_steps: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed.

    Attributes:
        code: a word for programs: "invalid_request", "out_of_memory", "disk_full",
            "missing_weights", "damaged_run", "worker_died", "cancelled" or "internal".
        message: a sentence for people: what was found, what was needed, what to do.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the store has it.

    Attributes:
        id: "video_" and 24 hexadecimal digits.
        state: where it is.
        request: ``GenerationRequest.to_dict()``; its pictures lie in the job's folder.
        plan: ``Plan.to_dict()``, made when the job was accepted.
        options: what is to be left besides the video; see ``JobOptions``.
        owner: id of the key that it was sent with; "" without keys.
        priority: the higher go first.
        position: within a priority the lower go first.
        created_at, started_at, finished_at, expires_at: Unix time in seconds, or None.
        available_at: not before this time, after a failure.
        attempts: how often it died or failed since it last finished a section.
        max_attempts: then it fails for good.
        progress: how far it is.
        output: what it left: names in the job's folder by kind ("video", "thumbnail", "raw",
            "frames"), and "num_frames", "duration_s", "stats"; empty until completed. Of one that
            stopped, where it was wanted: "partial", the name of a video of what there is, and
            "partial_frames", its frames; 0, without a name, where there are none, and then
            "partial_error" if that could not be found out.
        error: why it failed, or that it was cancelled; None otherwise.
        parent: the job that it is a remix or an extension of, or None.
        wanted: what was asked of it while it runs, or None.
        lease: of the run that works on it, or None.
    """

    id: str
    state: State
    request: Mapping[str, Any]
    plan: Mapping[str, Any]
    options: Mapping[str, Any]
    owner: str
    priority: int
    position: float
    created_at: float
    available_at: float
    max_attempts: int
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    attempts: int = 0
    progress: Progress = field(default_factory=Progress)
    output: Mapping[str, Any] = field(default_factory=dict)
    error: JobError | None = None
    parent: str | None = None
    wanted: Wanted | None = None
    lease: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One line of a job's log, which is only ever appended to.

    Attributes:
        seq: 1 for the job's first.
        at: Unix time in seconds.
        kind: name of a pipeline event ("StepDone", ...) or of a change of state ("Queued",
            "Started", "Resumed", "Retried", "Paused", "Cancelled", "Failed", "Completed",
            "Partial" when what a stopped one has was made a video of, "Expired" when its files
            were removed).
        data: its fields.
    """

    seq: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, and whether there are more after them."""

    jobs: tuple[Job, ...]
    has_more: bool


class NoSuchJob(FramePackError):
    """There is no such job, or it is somebody else's."""


class WrongState(FramePackError):
    """The job's state does not allow what was asked."""


class QueueFull(FramePackError):
    """As many jobs wait as may."""


class QuotaExceeded(FramePackError):
    """The key has as many jobs waiting or running as it may."""


class IdempotencyConflict(FramePackError):
    """The same idempotency key came with another request."""


class StoreBusy(FramePackError):
    """Another program holds the database; trying again helps."""


class StoreFull(FramePackError):
    """The disk of the database is full."""
