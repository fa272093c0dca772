"""What clients send as what the service takes: other servers' names, texts for numbers, files.

The names of OpenAI's Videos API, of vLLM-Omni, SGLang and FastVideo stand beside our own, which
are those of ``GenerationRequest`` and ``JobOptions``. A field that nobody knows is an error.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.service.http.body import Body
from framepack.service.inputs import PICTURES, SECTION_FILES, VIDEOS
from framepack.service.options import JobOptions

__all__ = ["ALIASES", "FILES", "KNOWN", "OPTIONS", "Asked", "read_asked"]

FILES = (*PICTURES, *VIDEOS, "audio")
"""Fields that are files."""
OPTIONS = ("container", "thumbnail", "frames", "raw", "group", "label")
"""Fields that say what is left besides the video, and what it belongs to."""
_GROUPS = ("framepack", "extra_params")
"""Fields that hold further fields, for clients that know only some."""
_REFERENCES = ("input_reference", "image_reference", "reference_url")
"""Other servers' names of the start picture."""

ALIASES: Mapping[str, str] = {
    "seconds": "Length of the video in seconds: our duration_s (OpenAI).",
    "size": "Width and height as WIDTHxHEIGHT in px (OpenAI).",
    "input_reference": "The start picture: our image (OpenAI).",
    "image_reference": "The start picture: our image (vLLM-Omni).",
    "reference_url": "The start picture as a data URL: our image (SGLang, FastVideo).",
    "num_frames": "Length of the video in frames of its rate (vLLM-Omni, SGLang, FastVideo).",
    "flow_shift": "Our shift (vLLM-Omni).",
    "lora": "One LoRA as name and scale: our loras (vLLM-Omni).",
    "enable_frame_interpolation": "Make frames between frames (vLLM-Omni).",
    "frame_interpolation_exp": "2 to the power of this is our interpolate (vLLM-Omni).",
    "enable_teacache": "True is our step_cache teacache (SGLang, FastVideo).",
    "extra_params": "Further fields (vLLM-Omni).",
    "framepack": "Further fields, as form clients group them: framepack[seed]=7.",
}
"""Other servers' names, and what they mean here."""

KNOWN = (*GenerationRequest.model_fields, *ALIASES, *OPTIONS, "audio", "priority")
"""Every field of a request for a video."""

_STRUCTURED = {*SECTION_FILES, *FILES, *_REFERENCES, *_GROUPS, "section_seeds", "section_loras"} | {
    *("loras", "lora", "styles", "filters", "enhanced_prompts")
}
_M = TypeVar("_M", bound=BaseModel)
_TEXTS = {"prompt", "negative_prompt", "codec_options"}
_SIZE = re.compile(r"\s*(\d{1,5})\s*[xX×*]\s*(\d{1,5})\s*")


class _Extras(BaseModel):
    """Fields that are of the server, not of the request."""

    model_config = ConfigDict(extra="forbid")

    priority: int = Field(0, ge=-1000, le=1000)
    num_frames: int | None = Field(None, ge=1, le=1_000_000)
    fps: float | None = Field(None, gt=0, le=120)
    enable_frame_interpolation: bool = False
    frame_interpolation_exp: int = Field(1, ge=1, le=3)
    enable_teacache: bool = False


@dataclass
class Asked:
    """A request for a video, as the service takes it, but for its files.

    Attributes:
        fields: of ``GenerationRequest``; those that are files have the words of ``files``.
        files: what was said of files, by word: an upload, a data URL, an id, or an object with
            one of these.
        options: what is to be left.
        priority: the higher go first.
        said_as: what the sender calls fields of ours.
    """

    fields: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    options: JobOptions = field(default_factory=JobOptions)
    priority: int = 0
    said_as: dict[str, str] = field(default_factory=dict)

    def in_their_words(self, error: InvalidRequest) -> InvalidRequest:
        """An error about our field, about the one that was sent."""
        name = str(error).partition(" ")[0]
        if name not in self.said_as:
            return error
        return InvalidRequest(f"{self.said_as[name]}{str(error)[len(name) :]}")


def read_asked(body: Body, *, also: Iterable[str] = ()) -> Asked:
    """Read a request.

    Args:
        body: as it came.
        also: names of further fields, which the caller has taken out already.

    Raises:
        InvalidRequest: names the field at fault.
    """
    values = _ungrouped(body.values, parse_texts=body.is_form)
    unknown = [name for name in values if name not in KNOWN]
    if unknown:
        raise InvalidRequest("; ".join(_unknown(name, also) for name in unknown))
    if body.is_form:
        values = {name: value for name, value in values.items() if value != "" or name in _TEXTS}
    extras = _extras(values)
    asked = Asked({}, options=_options(values), priority=extras.priority)
    _take_files(values, asked)
    _translate(values, extras, asked.said_as)
    for name in ("priority", "audio", *OPTIONS):
        values.pop(name, None)
    asked.fields.update(values)
    return asked


def _ungrouped(sent: Mapping[str, Any], *, parse_texts: bool) -> dict[str, Any]:
    """All fields at one level, without those that are null."""
    found: dict[str, Any] = {}
    waiting = [dict(sent)]
    while waiting:
        for name, value in waiting.pop().items():
            if parse_texts and isinstance(value, str) and name in _STRUCTURED:
                value = _parsed(value)
            if name in _GROUPS and isinstance(value, dict):
                waiting.append(value)
            elif name in _GROUPS and value not in (None, ""):
                raise InvalidRequest(f"{name} is {_short(value)}; it must be an object of fields")
            elif name in _GROUPS or value is None:
                continue
            elif name in found:
                raise InvalidRequest(f"{name} is given twice; give it once")
            else:
                found[name] = value
    return found


def _parsed(text: str) -> Any:
    """JSON in a form's text; other texts, such as ``[2s: it jumps]``, as they are."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _unknown(name: str, also: Iterable[str]) -> str:
    near = get_close_matches(name, (*KNOWN, *also), 1)
    hint = f"; did you mean {near[0]!r}?" if near else "; GET /docs lists the fields"
    return f"unknown field {name[:80]!r}{hint}"


def _extras(values: Mapping[str, Any]) -> _Extras:
    return _validated(
        _Extras, {name: values[name] for name in _Extras.model_fields if name in values}
    )


def _options(values: Mapping[str, Any]) -> JobOptions:
    return _validated(JobOptions, {name: values[name] for name in OPTIONS if name in values})


def _validated(model: type[_M], values: dict[str, Any]) -> _M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        texts = [
            f"{item['loc'][0]} is {_short(item['input'])}: {item['msg']}"
            for item in error.errors(include_url=False)
        ]
        raise InvalidRequest("; ".join(texts)) from error


def _take_files(values: dict[str, Any], asked: Asked) -> None:
    """Move what is said of files from the values to where they are looked up."""
    given = [name for name in (*_REFERENCES, "image") if name in values]
    if len(given) > 1:
        raise InvalidRequest(f"{' and '.join(given)} are the same picture; give one of them")
    for name in given[:1]:
        values["image"] = values.pop(name)
        asked.said_as["image"] = name
    for name in FILES:
        if name in values:
            asked.files[name] = values.pop(name)
            if name != "audio":
                asked.fields[name] = name
    for name in SECTION_FILES:
        if name in values:
            values[name] = _cues(name, values[name], asked.files)


def _cues(name: str, value: Any, files: dict[str, Any]) -> Any:
    """Entries for sections, with words in the place of their files."""

    def entry(said: Any) -> Any:
        is_file = name == "section_images" and not _is_cue(said)
        if not is_file and not (isinstance(said, dict) and said.get("image") is not None):
            return said
        word = f"{name}_{len(files)}"
        files[word] = said if is_file else said["image"]
        return word if is_file else {**said, "image": word}

    if isinstance(value, dict) and not (name == "section_images" and _is_reference(value)):
        return {key: entry(said) for key, said in value.items()}
    if isinstance(value, list):
        return [entry(said) for said in value]
    return [entry(value)] if name == "section_images" else value


def _is_cue(value: Any) -> bool:
    return isinstance(value, dict) and not _is_reference(value)


def _is_reference(value: Mapping[str, Any]) -> bool:
    return bool({"image_url", "video_url", "url", "file_id", "id"} & set(value))


def _translate(values: dict[str, Any], extras: _Extras, said_as: dict[str, str]) -> None:
    """Put our names in the place of others."""
    values.pop("enable_frame_interpolation", None)
    values.pop("frame_interpolation_exp", None)
    if values.get("enable_teacache") is not None:
        _rename(
            values,
            "enable_teacache",
            "step_cache",
            lambda _: "teacache" if extras.enable_teacache else "off",
        )
    values.pop("enable_teacache", None)
    if "seconds" in values:
        _rename(values, "seconds", "duration_s", lambda value: value)
        said_as["duration_s"] = "seconds"
    if extras.num_frames is not None:
        rate = extras.fps or GenerationRequest.model_fields["fps"].default
        _rename(values, "num_frames", "duration_s", lambda _: extras.num_frames / rate)  # type: ignore[operator]
    if "flow_shift" in values:
        _rename(values, "flow_shift", "shift", lambda value: value)
        said_as["shift"] = "flow_shift"
    if "size" in values:
        width, height = _size(values.pop("size"))
        for name, side in (("width", width), ("height", height)):
            if name in values:
                raise InvalidRequest(f"size and {name} are both given; give one of them")
            values[name] = side
    if extras.enable_frame_interpolation:
        if "interpolate" in values:
            raise InvalidRequest(
                "interpolate and enable_frame_interpolation are both given; give one of them"
            )
        values["interpolate"] = 2**extras.frame_interpolation_exp
    if "lora" in values:
        _rename(
            values, "lora", "loras", lambda value: value if isinstance(value, list) else [value]
        )
    if isinstance(values.get("loras"), list):
        values["loras"] = [_lora(value) for value in values["loras"]]


def _rename(values: dict[str, Any], other: str, ours: str, change: Callable[[Any], Any]) -> None:
    if ours in values:
        raise InvalidRequest(f"{other} and {ours} are the same; give one of them")
    values[ours] = change(values.pop(other))


def _size(value: Any) -> tuple[int, int]:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidRequest(
            f"size is {_short(value)}; it must be WIDTHxHEIGHT in pixels, such as 640x384"
        )
    return int(match[1]), int(match[2])


def _lora(value: Any) -> Any:
    """A LoRA by vLLM-Omni's names."""
    if not isinstance(value, dict) or not {"name", "scale"} & set(value):
        return value
    unknown = set(value) - {"name", "scale", "path", "weight"}
    if unknown:
        raise InvalidRequest(f"lora has the unknown field {min(unknown)!r}; give name and scale")
    path = value.get("name", value.get("path"))
    return {"path": path, "weight": value.get("scale", value.get("weight", 1.0))}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
