"""What changes along a video: prompts, pictures and seeds from one section to the next.

People write it in several ways, all of which become ``SectionCue``s:

    pan left                     one line each: lines share the sections among them
    pan right
    2: the dog jumps             from section 2 on; -1 is the last section
    [2s: the dog jumps]          from the section that begins nearest to 2 s
    [0s-2.5s: the dog sleeps]    as long as that
    0:a cat;;;2-3:it runs        these sections only; others keep what 0 says

Sections are counted from the start of the video, 0 first, in both variants.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from framepack.domain.errors import InvalidRequest

__all__ = [
    "SECTION_MODES",
    "CueKind",
    "SectionCue",
    "SectionMode",
    "SectionSettings",
    "read_cues",
    "settle_sections",
]

SectionMode = Literal["append", "replace"]
"""Whether the text of a section follows the prompt or stands in its place."""
SECTION_MODES: tuple[SectionMode, ...] = get_args(SectionMode)

CueKind = Literal["prompt", "image", "seed"]
"""What the text of a cue is."""

_NUMBER = r"-?\d+"
_KEY = re.compile(rf"\s*(?P<first>{_NUMBER})(?:\s*-\s*(?P<last>{_NUMBER}))?\s*")
_KEYED = re.compile(rf"{_KEY.pattern}:(?P<value>.*)", re.DOTALL)
_TIME = r"(\d+(?:\.\d+)?)\s*s"
_SPAN = re.compile(rf"\s*{_TIME}(?:\s*-\s*{_TIME})?\s*")
_TIMED = re.compile(rf"\[{_SPAN.pattern}:([^\[\]]*)\]")
_NEARLY_TIMED = re.compile(rf"\[\s*{_TIME}[^\[\]]*\]?")
_SEPARATOR = ";;;"


class SectionCue(BaseModel):
    """What holds from a place in the video on: any of a prompt, a picture and a seed.

    It begins at ``section``, at ``time_s``, or as line ``line`` of ``num_lines`` that share the
    sections; without any of them, at the start. It holds until the next cue with the same kind
    of content, or up to ``until_section`` or ``until_s``.

    Attributes:
        section: 0 is the first, -1 the last.
        until_section: first section in which it no longer holds; negative ones count from the
            end, and 0 is the end.
        time_s: seconds from the start; the nearest start of a section is taken.
        until_s: likewise.
        line: number of the line, 0 first.
        num_lines: lines in all.
        prompt: what happens.
        image: picture that stands for the start picture in these sections.
        seed: of the noise of its first section; with an end, the next one's is one more, and
            so on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    section: int | None = None
    until_section: int | None = None
    time_s: float | None = Field(None, ge=0)
    until_s: float | None = Field(None, gt=0)
    line: int | None = Field(None, ge=0)
    num_lines: int | None = Field(None, ge=1)
    prompt: str | None = Field(None, max_length=10_000)
    image: Path | None = None
    seed: int | None = Field(None, ge=0, le=2**53 - 1)

    @model_validator(mode="after")
    def _says_where_and_what(self) -> Self:
        places = [name for name in ("section", "time_s", "line") if getattr(self, name) is not None]
        if len(places) > 1:
            raise ValueError(f"give either {places[0]} or {places[1]}")
        if (self.line is None) != (self.num_lines is None):
            raise ValueError("line and num_lines go together")
        if self.until_s is not None and self.until_s <= (self.time_s or 0):
            raise ValueError(f"from {self.time_s or 0:g} s to {self.until_s:g} s is no stretch")
        if self.prompt is None and self.image is None and self.seed is None:
            raise ValueError("a section needs a prompt, an image or a seed")
        return self


@dataclass(frozen=True, slots=True)
class SectionSettings:
    """What the cues come to in one section.

    Attributes:
        prompt: the whole text.
        mixture: texts and their shares, which sum to 1, where prompts blend; else empty.
        image: picture that stands for the start picture, or None.
        seed: of the noise, or None for the video's.
    """

    prompt: str
    mixture: tuple[tuple[str, float], ...]
    image: Path | None
    seed: int | None


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
        if isinstance(entry, Mapping)
        else _cue(kind, str(entry), line=index, num_lines=number)
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
        first, last = match["first"], match["last"]
        cues.append(_cue(kind, match["value"], section=int(first), until_section=_after(last)))
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
        first, last = match["first"], match["last"]
        if first == "0" and last is None:
            cues.append(_cue(kind, match["value"], section=0))
        else:
            until = _after(last if last is not None else first)
            cues.append(_cue(kind, match["value"], section=int(first), until_section=until))
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
    """One entry of a mapping: ``2``, ``-1``, ``0-2``, ``2s`` or ``0s-2.5s`` to its content."""
    place: dict[str, Any]
    if match := _KEY.fullmatch(key):
        place = {"section": int(match["first"]), "until_section": _after(match["last"])}
    elif match := _SPAN.fullmatch(key):
        start, end = match.groups()
        place = {"time_s": float(start), "until_s": float(end) if end is not None else None}
    else:
        raise ValueError(f"{key!r} names no section; write 2, -1, 0-2, 2s or 0s-2.5s")
    if isinstance(entry, Mapping):
        return SectionCue(**place, **entry)
    return _cue(kind, "" if entry is None else str(entry), **place)


def _after(last: str | None) -> int | None:
    """The section after the last one in which a cue holds, as ``until_section``."""
    return None if last is None else int(last) + 1


def _cue(kind: CueKind, text: str, **place: Any) -> SectionCue:
    value: object = text.strip()
    if kind == "seed":
        if not text.strip().isdecimal():
            raise ValueError(f"{text.strip()!r} is no seed; it must be a whole number from 0")
        value = int(text)
    elif kind == "image" and not value:
        raise ValueError("a section has an empty path for its picture")
    return SectionCue(**{**place, kind: value})


def settle_sections(
    cues: Sequence[SectionCue],
    *,
    prompt: str,
    mode: SectionMode,
    blend_sections: int,
    starts_s: Sequence[float],
    duration_s: float,
) -> tuple[SectionSettings, ...]:
    """Work out what holds in each section.

    Of the cues that hold in a section, the one that begins last counts; of those that begin
    together one with an end, and one counted from the end, before others.

    Args:
        cues: in any order.
        prompt: the video's.
        mode: what a section's text does to it.
        blend_sections: sections over which one prompt turns into the next; 0 changes at once.
        starts_s: where each section starts, seconds, in the order of the video.
        duration_s: of the video.

    Returns:
        One for each section, in the order of the video.

    Raises:
        InvalidRequest: a cue names a section or time that the video does not have, or there are
            more lines than sections.
    """
    count = len(starts_s)
    placed = [_place(cue, order, starts_s, duration_s) for order, cue in enumerate(cues)]
    placed.sort(key=lambda each: each.rank)
    texts, images, seeds = [], [], []
    for section in range(count):
        holding = [each.cue for each in placed if each.first <= section < each.until]
        own = next((cue.prompt for cue in reversed(holding) if cue.prompt is not None), None)
        texts.append(_combine(prompt, own, mode))
        images.append(next((cue.image for cue in reversed(holding) if cue.image), None))
        seeds.append(
            next(
                (seed for each in reversed(placed) if (seed := each.seed(section)) is not None),
                None,
            )
        )
    mixtures = [_mixture(texts, section, blend_sections) for section in range(count)]
    return tuple(
        SectionSettings(*each) for each in zip(texts, mixtures, images, seeds, strict=True)
    )


@dataclass(frozen=True)
class _Placed:
    """A cue with the sections in which it holds."""

    cue: SectionCue
    first: int
    until: int
    rank: tuple[int, bool, bool, int]

    def seed(self, section: int) -> int | None:
        """The seed for a section: that of its first one, one more in each after it.

        Without an end a seed is for its first section only: the same noise again and again
        would show.
        """
        if self.cue.seed is None or not self.first <= section < self.until:
            return None
        is_bounded = self.rank[1]
        return self.cue.seed + section - self.first if is_bounded or section == self.first else None


def _place(cue: SectionCue, order: int, starts_s: Sequence[float], duration_s: float) -> _Placed:
    count = len(starts_s)
    first, until, bounded = 0, count, False
    if cue.line is not None and cue.num_lines is not None:
        if cue.num_lines > count:
            raise InvalidRequest(
                f"there are {cue.num_lines} section lines but only {count} "
                f"section{'s' if count != 1 else ''} in {duration_s:g} s; take lines away or make "
                "the video longer"
            )
        # The sections i with i * lines // sections == line.
        first = -(-cue.line * count // cue.num_lines)
    elif cue.section is not None:
        first = _index(cue.section, count, duration_s)
    elif cue.time_s is not None:
        first = _nearest(cue.time_s, starts_s, duration_s)
    if cue.until_section is not None:
        # 0 is the end, so that the section before it, -1, can be named as a last one.
        until = cue.until_section + (count if cue.until_section <= 0 else 0)
        bounded = True
        if not first < until <= count:
            raise InvalidRequest(
                f"sections {cue.section} to {cue.until_section - 1} are not in the video, which "
                f"has sections 0 to {count - 1} in {duration_s:g} s"
            )
    elif cue.until_s is not None:
        ends = [*starts_s[first + 1 :], duration_s]
        until = first + 1 + min(range(len(ends)), key=lambda i: abs(ends[i] - (cue.until_s or 0)))
        bounded = True
    from_the_end = cue.section is not None and cue.section < 0
    return _Placed(cue, first, until, (first, bounded, from_the_end, order))


def _index(section: int, count: int, duration_s: float) -> int:
    if not -count <= section < count:
        raise InvalidRequest(
            f"section {section} is not in the video, which has sections 0 to {count - 1} in "
            f"{duration_s:g} s"
        )
    return section % count


def _nearest(time_s: float, starts_s: Sequence[float], duration_s: float) -> int:
    if time_s >= duration_s:
        raise InvalidRequest(f"{time_s:g} s is not in the video, which ends at {duration_s:g} s")
    return min(range(len(starts_s)), key=lambda i: abs(starts_s[i] - time_s))


def _combine(prompt: str, own: str | None, mode: SectionMode) -> str:
    if not own:
        return prompt
    return own if mode == "replace" else f"{prompt} {own}".strip()


def _mixture(texts: Sequence[str], section: int, blend: int) -> tuple[tuple[str, float], ...]:
    """The texts of this section and the ``blend`` before it, in equal parts."""
    recent = [texts[max(section - back, 0)] for back in range(blend, -1, -1)]
    shares = Counter(recent)
    if len(shares) == 1:
        return ()
    return tuple((text, number / len(recent)) for text, number in shares.items())
