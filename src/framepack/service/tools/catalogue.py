"""Which tools there are, and what each takes: fields of the models that the engine itself reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from framepack.domain.clips import ClipEdit, frame_rate
from framepack.domain.errors import InvalidRequest
from framepack.domain.fields import described, explain_fields
from framepack.domain.forms import form_field
from framepack.domain.request import GenerationRequest
from framepack.service.allowed import check_ffmpeg
from framepack.service.intake import Kind
from framepack.service.records import NoSuchJob

__all__ = ["DOWNLOAD", "TOOLS", "FileField", "Source", "Tool", "tool_of"]

DOWNLOAD = "download"
"""Id of the tool that gets a model's weights; it has a route of its own."""

Container = Literal["mp4", "mkv", "mov", "webm", "gif", "webp"]


class _Options(BaseModel):
    """Options of a tool that no other part of the engine has as fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Build them from untyped values.

        Raises:
            InvalidRequest: one line that names every field at fault.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidRequest(explain_fields(error, cls.model_fields)) from error


class ToolOptions(_Options):
    """Fields that several tools share."""

    container: Container = described(
        "mp4",
        "Kind of file.",
        title="Container",
        option="--output",
        rule="mp4, mkv, mov, webm, gif or webp",
    )
    sound: bool = described(
        True,
        "Whether the videos' own sound goes along.",
        title="Sound",
        option="--no-audio",
        rule="true or false",
    )


class EncodeOptions(_Options):
    """Fields of encoding alone."""

    fps: float | None = frame_rate(
        "Frame rate of the video.", unset="what the raw frames say, else 30"
    )


class InterpolateOptions(_Options):
    """Fields of interpolation alone."""

    fps: float | None = frame_rate(
        "Frame rate of the result.",
        unset="twice that of the video, or its own where it slows down",
    )


class UpscaleOptions(_Options):
    """Fields of enlarging alone."""

    tile: int = described(
        256,
        "Side of the tiles that are computed at a time; smaller ones take less memory.",
        title="Tile",
        option="--tile",
        unit="px",
        rule="a whole number of pixels from 16, or 0 for whole frames",
        ge=0,
        le=8192,
    )


class DriftOptions(_Options):
    """Fields of the drift report alone."""

    num_sections: int | None = described(
        None,
        "Equal parts that are measured.",
        title="Sections",
        option="--sections",
        rule="a whole number from 1 to 1000",
        unset="the sections that the file names, or parts of 1.2 s",
        ge=1,
        le=1000,
    )


@dataclass(frozen=True, slots=True)
class FileField:
    """A field that names a file: an upload, a video of the server, or what another task left.

    Attributes:
        name, title, help: for forms.
        kind: what the file must be.
        many: several may be given.
        needed: one must be given.
        unset: what happens without it.
        video_output: which of a video's files its id stands for.
    """

    name: str
    title: str
    help: str
    kind: Kind
    many: bool = False
    needed: bool = True
    unset: str = ""
    video_output: str = "video"

    def form(self) -> dict[str, Any]:
        """What a form has to know of it; see ``form_field``."""
        return {
            "name": self.name,
            "title": self.title,
            "help": self.help,
            "unit": "",
            "rule": "",
            "option": "",
            "group": "",
            "common": self.needed,
            "kind": "file",
            "choices": None,
            "min": None,
            "max": None,
            "exclusive_min": False,
            "step": None,
            "default": None,
            "unset": self.unset,
            "many": self.many,
            "needed": self.needed,
            "accepts": self.kind,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """Fields that a tool takes of a model of the engine.

    Attributes:
        model: has ``parse``, which converts and checks.
        names: of its fields, in the order of the form.
    """

    model: Any
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that can be done to finished videos.

    Attributes:
        id: a word for programs.
        title, help: for people.
        files: what it is done to.
        sources: what else can be said.
    """

    id: str
    title: str
    help: str
    files: tuple[FileField, ...]
    sources: tuple[Source, ...]

    def form(self) -> dict[str, Any]:
        """What a form has to know."""
        fields = [field.form() for field in self.files]
        for source in self.sources:
            for name in source.names:
                values = form_field(name, source.model.model_fields[name])
                fields.append({**values, "many": False, "needed": False})
        return {"id": self.id, "title": self.title, "help": self.help, "fields": fields}

    @property
    def options(self) -> Mapping[str, str]:
        """Its fields by the options of the command line, which the engine's messages name."""
        return {field["option"]: field["name"] for field in self.form()["fields"]}

    def parse(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Check what was said besides files; returns it as JSON-able values.

        Raises:
            InvalidRequest: names every field at fault.
        """
        known = {name for source in self.sources for name in source.names}
        if unknown := [name for name in values if name not in known]:
            names = [field.name for field in self.files]
            raise InvalidRequest(
                f"unknown field {unknown[0][:60]!r}; {self.id} takes "
                f"{', '.join([*names, *(n for s in self.sources for n in s.names)])}"
            )
        said = {name: value for name, value in values.items() if value is not None}
        parsed: dict[str, Any] = {}
        for source in self.sources:
            mine = {name: said[name] for name in source.names if name in said}
            checked = source.model.parse(**mine)
            parsed |= checked.model_dump(mode="json", include=set(mine))
        _check_ffmpeg(parsed)
        return parsed


def _check_ffmpeg(values: Mapping[str, Any]) -> None:
    """Refuse what could reach a file of the server; see ``allowed``."""
    names = ("filters", "codec", "codec_options", "pixel_format")
    check_ffmpeg(GenerationRequest.parse(**{n: values[n] for n in names if n in values}))


_FILE = Source(ToolOptions, ("container",))
_FILE_WITH_SOUND = Source(ToolOptions, ("container", "sound"))
_ENCODING = Source(GenerationRequest, ("codec", "codec_options", "pixel_format"))
_VIDEO = FileField("video", "Video", "A finished video.", "video")
_SOUND = FileField(
    "audio",
    "Sound",
    "A file whose sound takes the place of the video's own.",
    "sound",
    needed=False,
    unset="the video's own",
)


def _tools(*tools: Tool) -> Mapping[str, Tool]:
    return {tool.id: tool for tool in tools}


TOOLS = _tools(
    Tool(
        "clip",
        "Cut and join",
        "Join, trim, crop, filter, speed up, reverse or repeat finished videos. Those of another "
        "size or rate than the first are fitted to it.",
        (FileField("videos", "Videos", "One or several, in order.", "video", many=True), _SOUND),
        (Source(ClipEdit, tuple(ClipEdit.model_fields)), _FILE_WITH_SOUND, _ENCODING),
    ),
    Tool(
        "interpolate",
        "Interpolate",
        "Make frames between frames: motion gets smoother, or slower without jumps.",
        (_VIDEO,),
        (
            Source(InterpolateOptions, ("fps",)),
            Source(ClipEdit, ("speed", "interpolation")),
            _FILE_WITH_SOUND,
            _ENCODING,
        ),
    ),
    Tool(
        "upscale",
        "Upscale",
        "Enlarge a finished video by a network of the ESRGAN family.",
        (
            _VIDEO,
            FileField(
                "weights",
                "Weights",
                "Weights of ESRGAN, Real-ESRGAN or what was trained from them, as safetensors.",
                "tensors",
                needed=False,
                unset="the settings' upscaler_weights",
            ),
        ),
        (
            Source(ClipEdit, ("size",)),
            Source(UpscaleOptions, ("tile",)),
            _FILE_WITH_SOUND,
            _ENCODING,
        ),
    ),
    Tool(
        "encode",
        "Encode raw frames",
        "Make a video of raw frames, by any encoder. A video has them that was made with raw.",
        (
            FileField(
                "frames",
                "Raw frames",
                "A video that left its raw frames, or their safetensors file.",
                "tensors",
                video_output="raw",
            ),
            FileField(
                "audio",
                "Sound",
                "A file whose sound the video gets.",
                "sound",
                needed=False,
                unset="none",
            ),
        ),
        (Source(EncodeOptions, ("fps",)), _FILE, _ENCODING),
    ),
    Tool(
        "drift",
        "Drift report",
        "Measure what sharpness, contrast, colour and motion do along a video, with a plot.",
        (_VIDEO,),
        (Source(DriftOptions, ("num_sections",)),),
    ),
)
"""Every tool by its id, in the order in which people see them."""


def tool_of(tool_id: str) -> Tool:
    """A tool by its id.

    Raises:
        NoSuchJob: there is none; the text says which there are.
    """
    if tool_id not in TOOLS:
        raise NoSuchJob(f"there is no tool {tool_id[:60]!r}; there are {', '.join(TOOLS)}")
    return TOOLS[tool_id]
