"""What a server says, as plain values. Fields that this version does not know stay in ``raw``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from framepack.client.errors import BadAnswer

__all__ = [
    "Health",
    "Model",
    "Page",
    "State",
    "Upload",
    "Variant",
    "Video",
    "VideoError",
    "VideoEvent",
    "VideoProgress",
]

State = Literal["queued", "running", "paused", "completed", "failed", "cancelled"]
Variant = Literal["video", "thumbnail", "spritesheet", "partial"]
_STATES: tuple[str, ...] = get_args(State)
_ENDED = ("completed", "failed", "cancelled")
_OF_STATUS: dict[str, State] = {
    "queued": "queued",
    "in_progress": "running",
    "completed": "completed",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class VideoError:
    """Why a video was not made.

    Attributes:
        code: a word for programs, such as "cancelled" or "out_of_memory".
        message: a sentence for people.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """How far a video is.

    Attributes:
        fraction: 0 to 1.
        stage: "load", "encode", "denoise", "decode" or "write"; empty before it begins.
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
class Video:
    """A video that was asked for.

    Attributes:
        id: names it.
        state: where it is.
        created_at, completed_at, expires_at: Unix time in seconds, or None.
        model: the weights that make it.
        prompt: what it was asked to show.
        seconds: its length.
        size: "WIDTHxHEIGHT" in px.
        progress: how far it is.
        error: why it was not made, or None.
        remixed_from: the video that it was made from, or None.
        raw: the whole object as the server sent it.
    """

    id: str
    state: State
    created_at: float
    completed_at: float | None
    expires_at: float | None
    model: str
    prompt: str
    seconds: float
    size: str
    progress: VideoProgress
    error: VideoError | None
    remixed_from: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in _ENDED

    @classmethod
    def read(cls, answer: Any) -> Self:
        """Read a video object.

        Raises:
            BadAnswer: it is none.
        """
        with _Reading("a video", answer) as values:
            error = values.get("error")
            return cls(
                id=str(values["id"]),
                state=_state(values),
                created_at=float(values["created_at"]),
                completed_at=_number(values.get("completed_at")),
                expires_at=_number(values.get("expires_at")),
                model=str(values.get("model") or ""),
                prompt=str(values.get("prompt") or ""),
                seconds=float(values.get("seconds") or 0),
                size=str(values.get("size") or ""),
                progress=_progress(values),
                error=VideoError(str(error["code"]), str(error["message"])) if error else None,
                remixed_from=values.get("remixed_from_video_id"),
                raw=values,
            )


@dataclass(frozen=True, slots=True)
class VideoEvent:
    """One line of a video's log.

    Attributes:
        seq: 1 for the first.
        kind: "StepDone", "SectionDone" and the like, as ``framepack.Event`` has them, or a change
            of state: "Queued", "Started", "Resumed", "Retried", "Paused", "Cancelled", "Failed",
            "Completed".
        at: Unix time in seconds; None if the server did not say.
        data: its fields.
    """

    seq: int
    kind: str
    at: float | None
    data: Mapping[str, Any]

    @property
    def ends(self) -> bool:
        """Whether the video had ended with it."""
        return self.kind.lower() in _ENDED


@dataclass(frozen=True, slots=True)
class Page:
    """Some videos, and whether there are more after them."""

    videos: tuple[Video, ...]
    has_more: bool

    @property
    def last_id(self) -> str | None:
        """Where the next page goes on."""
        return self.videos[-1].id if self.videos else None

    @classmethod
    def read(cls, answer: Any) -> Self:
        """Read a list of videos.

        Raises:
            BadAnswer: it is none.
        """
        with _Reading("a list of videos", answer) as values:
            videos = tuple(Video.read(item) for item in values["data"])
            return cls(videos, bool(values.get("has_more")))


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the server keeps for a request to come.

    Attributes:
        id: what a request says in place of a path.
        num_bytes: its size.
    """

    id: str
    num_bytes: int

    @classmethod
    def read(cls, answer: Any) -> Self:
        """Read an upload object.

        Raises:
            BadAnswer: it is none.
        """
        with _Reading("an upload", answer) as values:
            return cls(str(values["id"]), int(values.get("bytes") or 0))


@dataclass(frozen=True, slots=True)
class Model:
    """Weights that the server can use.

    Attributes:
        id: what a request says as ``model``.
        raw: all that the server says about it.
    """

    id: str
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read_all(cls, answer: Any) -> tuple[Self, ...]:
        """Read a list of models.

        Raises:
            BadAnswer: it is none.
        """
        with _Reading("a list of models", answer) as values:
            return tuple(cls(str(item["id"]), item) for item in values["data"])


@dataclass(frozen=True, slots=True)
class Health:
    """How a server is.

    Attributes:
        is_ready: whether it takes jobs and makes videos.
        version: of the program.
        checks: what it looked at, by name, and "ok" or what is wrong.
    """

    is_ready: bool
    version: str
    checks: Mapping[str, str]

    @classmethod
    def read(cls, answer: Any, version: str) -> Self:
        """Read what a server says of itself.

        Raises:
            BadAnswer: it cannot be read.
        """
        with _Reading("its health", answer) as values:
            checks = {str(name): str(said) for name, said in dict(values["checks"]).items()}
            return cls(values["status"] == "ready", version, checks)


class _Reading:
    """Turns a missing or mistyped field into one line."""

    def __init__(self, what: str, answer: Any) -> None:
        self._what, self._answer = what, answer

    def __enter__(self) -> Mapping[str, Any]:
        if not isinstance(self._answer, Mapping):
            raise BadAnswer(f"the server sent {self._answer!r:.80} where {self._what} was needed")
        return self._answer

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError)):
            raise BadAnswer(
                f"the server sent {self._what} that cannot be read ({type(error).__name__}: "
                f"{error}); is this a FramePack server of this version?"
            ) from error


def _state(values: Mapping[str, Any]) -> State:
    """The state by its own name, or by the few that the OpenAI shape has."""
    told = values.get("state")
    if told in _STATES:
        return told  # type: ignore[no-any-return]
    error = values.get("error")
    if error and error["code"] == "cancelled":
        return "cancelled"
    return _OF_STATUS[values["status"]]


def _progress(values: Mapping[str, Any]) -> VideoProgress:
    detail = values.get("progress_detail") or {}
    known: dict[str, Callable[[Any], Any]] = {
        "fraction": float,
        "stage": str,
        "section": int,
        "num_sections": int,
        "step": int,
        "num_steps": int,
        "seconds_left": _number,
    }
    found = {name: read(detail[name]) for name, read in known.items() if name in detail}
    return VideoProgress(**{"fraction": (values.get("progress") or 0) / 100, **found})


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
