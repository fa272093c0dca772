"""How long a video gets: sections, frames that are generated, frames that are written."""

from dataclasses import dataclass

from framepack.domain.request import GenerationRequest
from framepack.domain.schedule import (
    generated_frames,
    nearest_sections,
    official_sections,
    sections_for,
)
from framepack.domain.sources import VideoFacts

__all__ = ["Length", "choose_length"]


@dataclass(frozen=True, slots=True)
class Length:
    """The length of a video.

    Attributes:
        num_sections: to render.
        num_generated_frames: frames that they decode to.
        num_kept_frames: the first of these, which the video is made of.
        num_frames: frames written; with interpolation more than are kept.
        num_prefix_frames: of these, how many of a video to extend stand before the sections.
        num_given_sections: sections at the start that are parts of that video.
        notes: lines that people should see.
    """

    num_sections: int
    num_generated_frames: int
    num_kept_frames: int
    num_frames: int
    num_prefix_frames: int = 0
    num_given_sections: int = 0
    notes: tuple[str, ...] = ()


def choose_length(
    request: GenerationRequest,
    *,
    has_start: bool,
    has_end: bool,
    stride: int,
    extended: VideoFacts | None = None,
    num_context: int = 0,
) -> Length:
    """Sections and exact frames; a note wherever the length is not the one asked for.

    With interpolation one frame past the end is generated, so that the last frames written
    lie between two generated ones, and what is too much is trimmed.

    In a loop the last generated frame is the first one again. It is left out, so that repeating
    the video shows it once and the step to it is like any other.

    Args:
        request: duration, rate, interpolation and window.
        has_start: the start picture is part of the video.
        has_end: the end picture is its last frame, so that nothing can be trimmed.
        stride: frames per latent frame.
        extended: a video to go on from; the duration is then what is added.
        num_context: latent frames of it, besides its start, that the first new section sees.
    """
    if request.one_frame:
        return Length(num_sections=1, num_generated_frames=1, num_kept_frames=1, num_frames=1)
    if extended is not None:
        return _extended_length(request, extended, stride=stride, num_context=num_context)
    window, factor = request.latent_window_size, max(request.interpolate, 1)
    asked = max(round(request.duration_s * request.fps), 1)
    kept = _kept(asked, factor)
    if request.official_length:
        rate = request.fps / factor
        count = official_sections(request.duration_s, rate, window, stride=stride)
    elif has_end:
        cycle = round(asked / factor) + 1 if request.loop else kept
        count = nearest_sections(cycle, window, has_start=has_start, stride=stride)
    else:
        count = sections_for(kept, window, has_start=has_start, stride=stride)
    generated = generated_frames(count, window, has_start=has_start, stride=stride)
    if not (request.official_length or has_end):
        return Length(count, generated, kept, asked)
    written = (generated - 1) * factor + (not request.loop)
    kept = _kept(written, factor)
    if written == asked:
        return Length(count, generated, kept, written)
    reason = "an end picture fixes the last frame, so sections are kept whole"
    if request.loop:
        reason = "a loop is back at its start after whole sections"
    if request.official_length:
        reason = "the original length rule makes whole sections"
    note = (
        f"True length: {written} frames ({written / request.fps:.2f} s) instead of {asked} "
        f"({asked / request.fps:.2f} s); {reason}."
    )
    return Length(count, generated, kept, written, notes=(note,))


def _extended_length(
    request: GenerationRequest, video: VideoFacts, *, stride: int, num_context: int
) -> Length:
    """The end of the video becomes whole sections, what is before them stays outside."""
    window, factor = request.latent_window_size, max(request.interpolate, 1)
    there = video.num_frames(request.fps / factor)
    given = min((there - 1) // (stride * window), -(-num_context // window))
    prefix = there - 1 - given * stride * window
    added = max(round(request.duration_s * request.fps), 1)
    written = (there - 1) * factor + 1 + added
    kept = _kept(written, factor) - prefix
    count = max(sections_for(kept, window, has_start=True, stride=stride), given + 1)
    generated = generated_frames(count, window, has_start=True, stride=stride)
    seen = there - prefix
    note = (
        f"Goes on from the last {seen} of {there} frames ({video.duration_s:.2f} s); {added} "
        f"frames ({added / request.fps:.2f} s) are added."
        if given
        else f"The video is too short to show how it moves ({there} frames; "
        f"{stride * window + 1} are needed), so what follows begins from its last frame alone."
    )
    return Length(
        num_sections=count,
        num_generated_frames=generated,
        num_kept_frames=kept,
        num_frames=written,
        num_prefix_frames=prefix,
        num_given_sections=given,
        notes=(note,),
    )


def _kept(num_frames: int, factor: int) -> int:
    """Generated frames, each becoming ``factor``, that so many written ones are made of."""
    return -(-(num_frames - 1) // factor) + 1
