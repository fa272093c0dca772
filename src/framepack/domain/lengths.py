"""How long a video gets: sections, frames that are generated, frames that are written."""

from dataclasses import dataclass

from framepack.domain.request import GenerationRequest
from framepack.domain.schedule import (
    generated_frames,
    nearest_sections,
    official_sections,
    sections_for,
)

__all__ = ["Length", "choose_length"]


@dataclass(frozen=True, slots=True)
class Length:
    """The length of a video.

    Attributes:
        num_sections: to render.
        num_generated_frames: frames that they decode to.
        num_kept_frames: the first of these, which the video is made of.
        num_frames: frames written; with interpolation more than are kept.
        notes: lines that people should see.
    """

    num_sections: int
    num_generated_frames: int
    num_kept_frames: int
    num_frames: int
    notes: tuple[str, ...] = ()


def choose_length(
    request: GenerationRequest, *, has_start: bool, has_end: bool, stride: int
) -> Length:
    """Sections and exact frames; a note wherever the length is not the one asked for.

    With interpolation one frame past the end is generated, so that the last frames written
    lie between two generated ones, and what is too much is trimmed.

    Args:
        request: duration, rate, interpolation and window.
        has_start: the start picture is part of the video.
        has_end: the end picture is its last frame, so that nothing can be trimmed.
        stride: frames per latent frame.
    """
    window, factor = request.latent_window_size, max(request.interpolate, 1)
    asked = max(round(request.duration_s * request.fps), 1)
    kept = -(-(asked - 1) // factor) + 1
    if request.official_length:
        rate = request.fps / factor
        count = official_sections(request.duration_s, rate, window, stride=stride)
    elif has_end:
        count = nearest_sections(kept, window, has_start=has_start, stride=stride)
    else:
        count = sections_for(kept, window, has_start=has_start, stride=stride)
    generated = generated_frames(count, window, has_start=has_start, stride=stride)
    if not (request.official_length or has_end):
        return Length(count, generated, kept, asked)
    written = (generated - 1) * factor + 1
    if written == asked:
        return Length(count, generated, generated, written)
    reason = (
        "the original length rule makes whole sections"
        if request.official_length
        else "an end picture fixes the last frame, so sections are kept whole"
    )
    note = (
        f"True length: {written} frames ({written / request.fps:.2f} s) instead of {asked} "
        f"({asked / request.fps:.2f} s); {reason}."
    )
    return Length(count, generated, generated, written, (note,))
