"""What is to be done to finished videos, and how many frames that gives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from framepack.domain.choices import Interpolation
from framepack.domain.errors import InvalidRequest
from framepack.domain.fields import described, explain_fields

__all__ = ["ClipEdit", "ClipLength", "CropBox", "FrameSize", "clip_length", "frame_rate"]


def frame_rate(text: str, *, unset: str) -> Any:
    """The field for the frame rate of what is made of finished videos.

    Args:
        text: one sentence on what has that rate.
        unset: which rate it is when none is given.
    """
    return described(
        None,
        text,
        title="Frame rate",
        option="--fps",
        unit="frames/s",
        rule="a number of frames per second from 1 to 120",
        unset=unset,
        ge=1,
        le=120,
    )


class FrameSize(NamedTuple):
    """Pixels across and down."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class CropBox(NamedTuple):
    """A part of a picture: its size, and where its top left corner is."""

    width: int
    height: int
    left: int
    top: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}"


class ClipEdit(BaseModel):
    """One way of cutting videos, as asked; build it with ``ClipEdit.parse(...)``.

    Steps follow each other in the order of the fields: videos are joined, what is outside of
    start and end goes, what is left is cropped, filtered, scaled, sped up, and played backward,
    to and fro, or several times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fps: float | None = frame_rate("Frame rate of the result.", unset="that of the first video")
    crossfade_s: float = described(
        0.0,
        "How long each video fades into the next; the whole gets shorter by as much.",
        title="Cross-fade",
        option="--crossfade",
        unit="s",
        rule="a number of seconds from 0, a cut, to 60",
        ge=0,
        le=60,
    )
    start_s: float = described(
        0.0,
        "Where the result starts, on the clock of the joined videos.",
        title="Start",
        option="--start",
        unit="s",
        rule="a number of seconds from 0",
        ge=0,
    )
    end_s: float | None = described(
        None,
        "Where it ends.",
        title="End",
        option="--end",
        unit="s",
        rule="a number of seconds above 0, after the start",
        unset="the end",
        gt=0,
    )
    crop: CropBox | None = described(
        None,
        "Part of the picture that is kept.",
        title="Crop",
        option="--crop",
        rule="WIDTHxHEIGHT+LEFT+TOP in pixels, such as 640x360+0+60",
        unset="all of it",
    )
    filters: tuple[str, ...] = described(
        (),
        "ffmpeg's video filters, one after the other.",
        title="Filters",
        option="--filter",
        rule="a chain such as `hue=s=0.8,unsharp`; may be given several times",
        unset="none",
    )
    size: FrameSize | None = described(
        None,
        "Size of the result: scaled until it is covered, the middle is kept.",
        title="Size",
        option="--size",
        rule="WIDTHxHEIGHT in pixels, even numbers from 16 to 8192",
        unset="as it comes",
    )
    speed: float = described(
        1.0,
        "How many times as fast it plays.",
        title="Speed",
        option="--speed",
        rule="a number from 0.05 to 100",
        ge=0.05,
        le=100,
    )
    interpolate: bool = described(
        False,
        "Make frames between frames where it slows down or the rate rises, instead of repeating "
        "them.",
        title="Interpolate",
        option="--interpolate",
        rule="true or false",
    )
    interpolation: Interpolation = described(
        "rife",
        "How those frames are made.",
        title="Interpolation method",
        option="--interpolation",
        rule="rife or minterpolate, which follow the motion, or blend, which cross-fades",
    )
    reverse: bool = described(
        False,
        "Play backward.",
        title="Backward",
        option="--reverse",
        rule="true or false",
    )
    ping_pong: bool = described(
        False,
        "Play to the end and back again, so that it repeats without a jump.",
        title="To and fro",
        option="--ping-pong",
        rule="true or false",
    )
    loop: int = described(
        1,
        "How many times it plays.",
        title="Repeats",
        option="--loop",
        rule="a whole number from 1 to 1000",
        ge=1,
        le=1000,
    )

    @field_validator("filters", mode="before")
    @classmethod
    def _one_filter_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("crop", mode="before")
    @classmethod
    def _crop_as_people_write_it(cls, value: object) -> object:
        return _numbers(value, r"(\d+)x(\d+)\+(\d+)\+(\d+)")

    @field_validator("size", mode="before")
    @classmethod
    def _size_as_people_write_it(cls, value: object) -> object:
        return _numbers(value, r"(\d+)x(\d+)")

    @field_validator("crop")
    @classmethod
    def _crop_holds_something(cls, value: CropBox | None) -> CropBox | None:
        if value is not None and (min(value) < 0 or 0 in value[:2]):
            raise ValueError("a part without pixels")
        return value

    @field_validator("size")
    @classmethod
    def _size_can_be_encoded(cls, value: FrameSize | None) -> FrameSize | None:
        if value is not None and any(side % 2 or not 16 <= side <= 8192 for side in value):
            raise ValueError("a size that encoders refuse")
        return value

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Build an edit from untyped values (strings are converted).

        Raises:
            InvalidRequest: one line that names every field at fault, its value and its limits.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidRequest(explain_fields(error, cls.model_fields)) from error


@dataclass(frozen=True, slots=True)
class ClipLength:
    """The frames of a clip, step by step.

    Attributes:
        num_faded: frames that two neighbours share.
        first, end: the frames of the joined videos that stay: ``first`` to ``end - 1``.
        step: how many of these frames pass from one frame of the result to the next.
        num_once: frames after the change of speed.
        num_round: frames of one round, to and fro where it does so.
        num_frames: frames of the result.
    """

    num_faded: int
    first: int
    end: int
    step: Fraction
    num_once: int
    num_round: int
    num_frames: int


def clip_length(
    edit: ClipEdit, lengths: Sequence[int], *, rate: Fraction, fps: Fraction
) -> ClipLength:
    """Count the frames that an edit gives.

    Args:
        edit: what is asked.
        lengths: frames of each video at ``rate``.
        rate: frames per second of the joined videos.
        fps: frames per second of the result.

    Raises:
        InvalidRequest: a cross-fade longer than a video, or no frame between start and end.
    """
    num_faded = _num_faded(edit, lengths, rate)
    joined = sum(lengths) - num_faded * (len(lengths) - 1)
    first = round(Fraction(edit.start_s) * rate)
    end = joined if edit.end_s is None else round(Fraction(edit.end_s) * rate)
    if not first < end <= joined:
        asked = f"{edit.start_s:g} s to {'the end' if edit.end_s is None else f'{edit.end_s:g} s'}"
        raise InvalidRequest(
            f"{asked} (--start, --end) was asked of {float(joined / rate):.2f} s of video; give "
            "a start before the end, and an end inside"
        )
    step = Fraction(edit.speed).limit_denominator(10_000) * rate / fps
    once = max(1, round((end - first) / step))
    turned = max(2 * once - 2, 1) if edit.ping_pong else once
    return ClipLength(num_faded, first, end, step, once, turned, turned * edit.loop)


def _num_faded(edit: ClipEdit, lengths: Sequence[int], rate: Fraction) -> int:
    if len(lengths) < 2:
        return 0
    num_faded = round(Fraction(edit.crossfade_s) * rate)
    for index, length in enumerate(lengths):
        sides = 1 if index in (0, len(lengths) - 1) else 2
        if sides * num_faded > length:
            raise InvalidRequest(
                f"video {index + 1} lasts {float(length / rate):.2f} s, too short for "
                f"{sides} x --crossfade {edit.crossfade_s:g}; give a shorter one"
            )
    return num_faded


def _numbers(value: object, pattern: str) -> object:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(pattern, value.strip().lower())
    if found is None:
        raise ValueError("another form")
    return tuple(map(int, found.groups()))
