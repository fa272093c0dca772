"""What changes along a video: prompts, pictures, seeds and weights of LoRAs, as people say it.

People write it in several ways, all of which become ``SectionCue``s:

    pan left                     one line each: lines share the sections among them
    pan right
    2: the dog jumps             from section 2 on; -1 is the last section
    [2s: the dog jumps]          from the section that begins nearest to 2 s
    [0s-2.5s: the dog sleeps]    as long as that
    0:a cat;;;2-3:it runs        these sections only; others keep what 0 says
    even: it jumps               in every second section, from 0 on; odd: from 1 on

Sections are counted from the start of the video, 0 first, in both variants.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from framepack.domain.loras import LoraWeights, read_weights

__all__ = [
    "SECTION_MODES",
    "CueKind",
    "SectionCue",
    "SectionMode",
    "read_cues",
]

SectionMode = Literal["append", "replace"]
"""Whether the text of a section follows the prompt or stands in its place."""
SECTION_MODES: tuple[SectionMode, ...] = get_args(SectionMode)

CueKind = Literal["prompt", "image", "seed", "loras"]
"""What the text of a cue is."""

_NUMBER = r"-?\d+"
_KEY = re.compile(
    rf"\s*(?:(?P<every>even|odd)|(?P<first>{_NUMBER})(?:\s*-\s*(?P<last>{_NUMBER}))?)\s*"
)
_KEYED = re.compile(rf"{_KEY.pattern}:(?P<value>.*)", re.DOTALL)
_TIME = r"(\d+(?:\.\d+)?)\s*s"
_SPAN = re.compile(rf"\s*{_TIME}(?:\s*-\s*{_TIME})?\s*")
_TIMED = re.compile(rf"\[{_SPAN.pattern}:([^\[\]]*)\]")
_NEARLY_TIMED = re.compile(rf"\[\s*{_TIME}[^\[\]]*\]?")
_SEPARATOR = ";;;"


class SectionCue(BaseModel):
    """What holds from a place in the video on: any of prompt, picture, seed and LoRA weights.

    It begins at ``section``, at ``time_s``, or as line ``line`` of ``num_lines`` that share the
    sections; without any of them, at the start. It holds until the next cue with the same kind
    of content, or up to ``until_section`` or ``until_s``. With ``every`` it begins anew in every
    second section and holds in that one only.

    Attributes:
        section: 0 is the first, -1 the last.
        every: "even" for the sections 0, 2, 4 and so on, "odd" for 1, 3, 5.
        until_section: first section in which it no longer holds; negative ones count from the
            end, and 0 is the end.
        time_s: seconds from the start; the nearest start of a section is taken.
        until_s: likewise.
        line: number of the line, 0 first.
        num_lines: lines in all.
        prompt: what happens.
        image: picture that stands for the start picture in these sections.
        seed: of the noise of its first section; with an end, the next one's is one more, and
            so on, as in every second section.
        loras: a factor on the weights of all LoRAs, or weights by name, where those not named
            keep theirs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    section: int | None = None
    every: Literal["even", "odd"] | None = None
    until_section: int | None = None
    time_s: float | None = Field(None, ge=0)
    until_s: float | None = Field(None, gt=0)
    line: int | None = Field(None, ge=0)
    num_lines: int | None = Field(None, ge=1)
    prompt: str | None = Field(None, max_length=10_000)
    image: Path | None = None
    seed: int | None = Field(None, ge=0, le=2**53 - 1)
    loras: LoraWeights | None = None

    @field_validator("loras", mode="before")
    @classmethod
    def _weights_in_any_form(cls, value: object) -> object:
        return None if value is None else read_weights(value)

    @model_validator(mode="after")
    def _says_where_and_what(self) -> Self:
        names = ("section", "every", "time_s", "line")
        places = [name for name in names if getattr(self, name) is not None]
        if len(places) > 1:
            raise ValueError(f"give either {places[0]} or {places[1]}")
        if (self.line is None) != (self.num_lines is None):
            raise ValueError("line and num_lines go together")
        if self.until_s is not None and self.until_s <= (self.time_s or 0):
            raise ValueError(f"from {self.time_s or 0:g} s to {self.until_s:g} s is no stretch")
        if self.every is not None and (self.until_section, self.until_s) != (None, None):
            raise ValueError(f"{self.every} sections have no end; leave it out")
        if all(value is None for value in (self.prompt, self.image, self.seed, self.loras)):
            raise ValueError("a section needs a prompt, an image, a seed or loras")
        return self


def read_cues(value: object, kind: CueKind) -> tuple[SectionCue, ...]:
    """Read cues in any of the ways people give them.

    Args:
        value: text in one of the forms above; a sequence of texts (lines) or of mappings with
            the fields of a cue; or a mapping from section numbers or times ("2s") to texts or
            to mappings. None is no cue.
        kind: what plain texts are.

    Raises:
        ValueError: says what cannot be read.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return _read_text(value, kind)
    if isinstance(value, Mapping):
        return tuple(_read_keyed(str(key), entry, kind) for key, entry in value.items())
    if not isinstance(value, Sequence):
        raise ValueError(f"{value!r} is neither text nor a list")
    number = len(value)
    return tuple(
        entry
        if isinstance(entry, SectionCue)
        else SectionCue(**entry)
        if isinstance(entry, Mapping) and not _are_weights(entry, kind)
        else _cue(kind, entry, line=index, num_lines=number)
        for index, entry in enumerate(value)
    )


def _read_text(text: str, kind: CueKind) -> tuple[SectionCue, ...]:
    if _SEPARATOR in text:
        return _read_separated(text, kind)
    if _NEARLY_TIMED.search(text):
        return _read_timed(text, kind)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    keyed = [_KEYED.fullmatch(line) for line in lines]
    if not any(keyed):
        return tuple(
            _cue(kind, line, line=index, num_lines=len(lines)) for index, line in enumerate(lines)
        )
    cues = []
    for line, match in zip(lines, keyed, strict=True):
        if match is None:
            raise ValueError(
                f"{line!r} names no section while other lines do; write `2: {line}`, or take the "
                "numbers of the others away"
            )
        cues.append(_cue(kind, match["value"], **_place(match)))
    return tuple(cues)


def _read_separated(text: str, kind: CueKind) -> tuple[SectionCue, ...]:
    """``SPEC:value;;;SPEC:value``, each for its sections only; section 0 stands for the rest."""
    cues = []
    for part in text.split(_SEPARATOR):
        match = _KEYED.fullmatch(part)
        if match is None:
            if part.strip():
                cues.append(_cue(kind, part, section=0))
            continue
        place = _place(match)
        if place.get("section", 0) != 0 and place["until_section"] is None:
            place["until_section"] = place["section"] + 1
        cues.append(_cue(kind, match["value"], **place))
    return tuple(cues)


def _read_timed(text: str, kind: CueKind) -> tuple[SectionCue, ...]:
    """``[2s: text]`` and ``[0s-2.5s: text]``; what stands outside holds from the start."""
    outside = " ".join(_TIMED.sub(" ", text).split())
    if wrong := _NEARLY_TIMED.search(outside):
        raise ValueError(
            f"{wrong[0]!r} is no time and text; write [2s: the dog jumps] or [0s-2.5s: it sleeps]"
        )
    cues = [_cue(kind, outside, section=0)] if outside else []
    for match in _TIMED.finditer(text):
        start, end, value = match.groups()
        until = float(end) if end is not None else None
        cues.append(_cue(kind, value, time_s=float(start), until_s=until))
    return tuple(cues)


def _read_keyed(key: str, entry: object, kind: CueKind) -> SectionCue:
    """One entry of a mapping: ``2``, ``0-2``, ``odd``, ``2s`` or ``0s-2.5s`` to its content."""
    place: dict[str, Any]
    if match := _KEY.fullmatch(key):
        place = _place(match)
    elif match := _SPAN.fullmatch(key):
        start, end = match.groups()
        place = {"time_s": float(start), "until_s": float(end) if end is not None else None}
    else:
        raise ValueError(f"{key!r} names no section; write 2, -1, 0-2, even, odd, 2s or 0s-2.5s")
    if isinstance(entry, Mapping) and not _are_weights(entry, kind):
        return SectionCue(**place, **entry)
    return _cue(kind, "" if entry is None else entry, **place)


def _are_weights(entry: Mapping[str, object], kind: CueKind) -> bool:
    """Whether a mapping leads from names of LoRAs to weights, not from fields of a cue."""
    return kind == "loras" and not entry.keys() & SectionCue.model_fields.keys()


def _place(key: re.Match[str]) -> dict[str, Any]:
    """Where a cue with a key holds, as fields of it."""
    if key["every"]:
        return {"every": key["every"]}
    last = key["last"]
    until = None if last is None else int(last) + 1
    return {"section": int(key["first"]), "until_section": until}


def _cue(kind: CueKind, content: object, **place: Any) -> SectionCue:
    if isinstance(content, Mapping):
        return SectionCue(**place, loras=read_weights(content))
    text = str(content).strip()
    value: object = text
    if kind == "seed":
        if not text.isdecimal():
            raise ValueError(f"{text!r} is no seed; it must be a whole number from 0")
        value = int(text)
    elif kind == "image" and not value:
        raise ValueError("a section has an empty path for its picture")
    return SectionCue(**{**place, kind: value})
