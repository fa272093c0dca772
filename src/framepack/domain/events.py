"""What a run says while it works: one stream for command line, studio, API and cluster.

Events carry numbers, paths and small values, never tensors, and survive JSON. The JSON form has
the class name under ``event``: ``{"event": "SectionDone", "elapsed_s": 3.1, ...}``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, Literal, NotRequired, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from framepack.domain.errors import FramePackError

__all__ = [
    "EVENTS",
    "STAGES",
    "Event",
    "Finished",
    "MemoryRanOut",
    "Planned",
    "SectionDone",
    "Stage",
    "StageStarted",
    "Statistics",
    "StepDone",
]

Stage = Literal["load", "encode", "denoise", "decode", "write"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Statistics(TypedDict):
    """Where the time and the memory of a run went."""

    total_s: float
    """Wall time of the run, seconds."""
    stage_s: dict[str, float]
    """Seconds by stage. What is written while the next section is denoised counts for as long as
    the run waited for it."""
    step_s: float
    """Mean seconds of one denoising step."""
    section_s: dict[str, float]
    """Mean seconds per section, by stage."""
    frame_s: dict[str, float]
    """Mean seconds per written frame, by stage."""
    num_steps: int
    """Denoising steps taken, all sections together."""
    num_skipped_steps: NotRequired[int]
    """Those of them that a step cache spared the network."""
    num_decoded_tiles: NotRequired[int]
    """Temporal tiles that the model's own VAE decoded; 0 if another decoder did it."""
    num_reused_tiles: NotRequired[int]
    """Those that were taken over from the window before, bit for bit, and not decoded again."""
    num_sections: int
    """Sections rendered."""
    num_frames: int
    """Frames written."""
    peak_host_gb: float
    """Largest resident memory of the process, GB of 10**9 bytes."""
    peak_device_gb: float | None
    """Largest memory allocated on the accelerator, GB of 10**9 bytes; None on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events.

    Attributes:
        elapsed_s: seconds since the run began.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values, with the class name under ``event``."""
        return {"event": type(self).__name__, **asdict(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Event":
        """Read an event back.

        Raises:
            FramePackError: unknown event, or fields that do not belong to it.
        """
        fields = dict(values)
        name = fields.pop("event", None)
        if name not in _KINDS:
            raise FramePackError(f"unknown event {name!r}; known are {', '.join(_KINDS)}")
        try:
            return _reader(name).validate_python(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise FramePackError(f"event {name} cannot be read: {where}: {first['msg']}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Event):
    """The run begins.

    Attributes:
        plan: ``Plan.to_dict()``.
    """

    plan: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted(Event):
    """A stage begins.

    Attributes:
        stage: what is done now.
        section: index of the section it is done for, from the start of the video, or None.
    """

    stage: Stage
    section: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(Event):
    """One denoising step is done.

    Attributes:
        section: index of the section, from the start of the video.
        render_index: sections rendered before this one.
        num_sections: sections of the run.
        step: steps done in this section, 1 first.
        num_steps: steps of this section.
        seconds: wall time of this step.
        preview: path of a small picture of the section so far, or None.
        skipped: a step cache spared the network this step.
    """

    section: int
    render_index: int
    num_sections: int
    step: int
    num_steps: int
    seconds: float
    preview: str | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionDone(Event):
    """A section is rendered, decoded and on disk; a killed run resumes after it.

    Where sections are written while the next one is denoised, that one has begun by now.

    Attributes:
        section: index of the section, from the start of the video.
        render_index: sections rendered before this one.
        num_sections: sections of the run.
        seconds: wall time of this section, less what was written beside the next one.
        segment: path of the frames that became final with it, or None if none did yet.
        drift: how far it has drifted from the first-rendered section; None if not watched.
        num_rerolls: how often it was made again because it drifted.
    """

    section: int
    render_index: int
    num_sections: int
    seconds: float
    segment: str | None = None
    drift: float | None = None
    num_rerolls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRanOut(Event):
    """Memory did not suffice; what was begun is made again in a way that takes less.

    Attributes:
        way: how it goes on.
        reason: what was found, in one line.
        section: index of the section that is made again, or None before the first one.
    """

    way: str
    reason: str
    section: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The video is written.

    Attributes:
        path: the video.
        num_frames: frames in it.
        duration_s: its length, seconds.
        stats: where time and memory went.
        thumbnail: path of a small picture of it, or None.
    """

    path: str
    num_frames: int
    duration_s: float
    stats: Statistics
    thumbnail: str | None = None


EVENTS: tuple[type[Event], ...] = (
    Planned,
    StageStarted,
    StepDone,
    MemoryRanOut,
    SectionDone,
    Finished,
)
"""Every kind, in the order in which a run has them."""

_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in EVENTS}


@cache
def _reader(name: str) -> TypeAdapter[Event]:
    return TypeAdapter(_KINDS[name])
