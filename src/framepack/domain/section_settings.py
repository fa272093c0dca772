"""What the cues of a video come to in each of its sections."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.loras import LoraRef, section_weights
from framepack.domain.timeline import SectionCue, SectionMode

__all__ = ["SectionSettings", "pin_cues", "settle_sections"]


@dataclass(frozen=True, slots=True)
class SectionSettings:
    """What the cues come to in one section.

    Attributes:
        prompt: the whole text.
        mixture: texts and their shares, which sum to 1, where prompts blend; else empty.
        image: picture that stands for the start picture, or None.
        seed: of the noise, or None for the video's.
        loras: weights of the video's LoRAs, in their order; empty where no section changes them.
    """

    prompt: str
    mixture: tuple[tuple[str, float], ...]
    image: Path | None
    seed: int | None
    loras: tuple[float, ...] = ()


def settle_sections(
    cues: Sequence[SectionCue],
    *,
    prompt: str,
    mode: SectionMode,
    blend_sections: int,
    starts_s: Sequence[float],
    duration_s: float,
    loras: Sequence[LoraRef] = (),
) -> tuple[SectionSettings, ...]:
    """Work out what holds in each section.

    Of the cues that hold in a section, the one that begins last counts; of those that begin
    together one with an end, and one counted from the end, before others, and these before one
    for every second section.

    Args:
        cues: in any order.
        prompt: the video's.
        mode: what a section's text does to it.
        blend_sections: sections over which one prompt turns into the next; 0 changes at once.
        starts_s: where each section starts, seconds, in the order of the video.
        duration_s: of the video.
        loras: the video's.

    Returns:
        One for each section, in the order of the video.

    Raises:
        InvalidRequest: a cue names a section, a time or a LoRA that the video does not have, or
            there are more lines than sections.
    """
    count = len(starts_s)
    placed = [
        each for order, cue in enumerate(cues) for each in _places(cue, order, starts_s, duration_s)
    ]
    placed.sort(key=lambda each: each.rank)
    if any(cue.loras is not None for cue in cues) and not loras:
        raise InvalidRequest(
            "section_loras (--section-loras) gives weights, but the video has no LoRA; add --lora"
        )
    texts, images, seeds, weights = [], [], [], []
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
        asked = next((cue.loras for cue in reversed(holding) if cue.loras is not None), None)
        weights.append(section_weights(loras, asked))
    if len({*weights, tuple(lora.weight for lora in loras)}) == 1:
        weights = [()] * count
    mixtures = [_mixture(texts, section, blend_sections) for section in range(count)]
    return tuple(
        SectionSettings(*each) for each in zip(texts, mixtures, images, seeds, weights, strict=True)
    )


def pin_cues(
    cues: Sequence[SectionCue], *, starts_s: Sequence[float], duration_s: float
) -> tuple[SectionCue, ...]:
    """The same cues by section numbers alone, so that they mean the same in a longer video.

    Args:
        cues: of one video.
        starts_s: where each of its sections starts, seconds, in the order of the video.
        duration_s: of the video.

    Returns:
        Cues of which, among those that begin together, later ones count.
    """
    placed = [
        _place(cue, order, starts_s, duration_s)
        for order, cue in enumerate(cues)
        if cue.every is None
    ]
    placed.sort(key=lambda each: each.rank)
    nowhere = dict.fromkeys(("line", "num_lines", "time_s", "until_s"))
    numbered = (
        each.cue.model_copy(
            update={
                **nowhere,
                "section": each.first,
                "until_section": each.until if each.is_bounded else None,
            }
        )
        for each in placed
    )
    return (*(cue for cue in cues if cue.every is not None), *numbered)


@dataclass(frozen=True)
class _Placed:
    """A cue with the sections in which it holds."""

    cue: SectionCue
    first: int
    until: int
    is_bounded: bool
    rank: tuple[int, bool, bool, bool, int]

    def seed(self, section: int) -> int | None:
        """The seed for a section: that of its first one, one more in each after it.

        Without an end a seed is for its first section only: the same noise again and again
        would show.
        """
        if self.cue.seed is None or not self.first <= section < self.until:
            return None
        if not self.is_bounded and section != self.first:
            return None
        return self.cue.seed + section - self.first


def _places(
    cue: SectionCue, order: int, starts_s: Sequence[float], duration_s: float
) -> list[_Placed]:
    """Where a cue holds: one stretch, or single sections."""
    if cue.every is None:
        return [_place(cue, order, starts_s, duration_s)]
    count = len(starts_s)
    sections = range(cue.every == "odd", count, 2)
    if not sections:
        raise InvalidRequest(
            f"there is no odd section in the video, which has only section 0 in {duration_s:g} s"
        )
    seeds = [None if cue.seed is None else cue.seed + number for number in range(len(sections))]
    return [
        _Placed(
            cue.model_copy(update={"seed": seed}),
            section,
            section + 1,
            is_bounded=True,
            rank=(section, False, False, False, order),
        )
        for section, seed in zip(sections, seeds, strict=True)
    ]


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
    return _Placed(cue, first, until, bounded, (first, True, bounded, from_the_end, order))


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
