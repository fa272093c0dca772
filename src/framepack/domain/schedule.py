"""How many sections a video takes, in which order they are rendered, which frames are whose.

A section of ``window`` latent frames becomes ``stride * window`` frames. The first latent frame
of a video becomes a single frame; it is the start picture where there is one.
"""

__all__ = [
    "MAX_SWAY",
    "generated_frames",
    "nearest_sections",
    "official_sections",
    "overlap_frames",
    "paddings",
    "section_frames",
    "sections_for",
]

MAX_SWAY = 0.25
"""How far a swaying camera goes at scale 1, as a share of the width, to either side."""


def generated_frames(num_sections: int, window: int, *, has_start: bool, stride: int = 4) -> int:
    """Frames that so many sections decode to: 36n+1 with a start picture, else 36n-3 (window 9).

    Args:
        num_sections: sections rendered, at least 1.
        window: latent frames per section.
        has_start: the start picture's latent is part of the video.
        stride: frames per latent frame, after the first.
    """
    return stride * (num_sections * window + has_start - 1) + 1


def sections_for(num_frames: int, window: int, *, has_start: bool, stride: int = 4) -> int:
    """Fewest sections that decode to at least ``num_frames`` frames."""
    latent_frames = -(-(num_frames - 1) // stride) + 1
    return max(-(-(latent_frames - has_start) // window), 1)


def nearest_sections(num_frames: int, window: int, *, has_start: bool, stride: int = 4) -> int:
    """Sections whose length is nearest to ``num_frames``; of two as near, the longer."""
    enough = sections_for(num_frames, window, has_start=has_start, stride=stride)
    if enough == 1:
        return 1
    excess = generated_frames(enough, window, has_start=has_start, stride=stride) - num_frames
    return enough if 2 * excess <= stride * window else enough - 1


def official_sections(duration_s: float, fps: float, window: int, *, stride: int = 4) -> int:
    """Sections that the original program makes of a duration; it knows 30 frames/s only.

    Source: official demo; Python's ``round`` takes halves to the even number, so 3 s gives 2.
    """
    return max(round(duration_s * fps / (stride * window)), 1)


def paddings(num_sections: int, trained_padding: int | None = None) -> list[int]:
    """Gap to the start picture of each section in inverted order, counted in sections.

    Long videos of the published weights do not use the true distance: those never saw gaps
    above 3, so the far sections share the gap 2. A model that was trained on true distances
    gets them, as far as it saw them.

    Args:
        num_sections: sections of the video.
        trained_padding: largest true gap in the model's training; None for the official rule.

    Source: official demo.
    """
    if trained_padding is not None:
        return [min(gap, trained_padding) for gap in reversed(range(num_sections))]
    if num_sections <= 4:
        return list(reversed(range(num_sections)))
    return [3] + [2] * (num_sections - 3) + [1, 0]


def section_frames(
    index: int, window: int, num_frames: int, *, has_start: bool, stride: int = 4
) -> tuple[int, int]:
    """Frames [start, end) of the output that a section is responsible for.

    Args:
        index: section, counted from the start of the video.
        window: latent frames per section.
        num_frames: frames written; what lies beyond is trimmed.
        has_start: the start picture's latent is part of the video; its frame goes to section 0.
        stride: frames per latent frame, after the first.
    """

    def frames_before(section: int) -> int:
        # `generated_frames` of nothing is not 0 but the part of a first frame.
        if section == 0:
            return 0
        return generated_frames(section, window, has_start=has_start, stride=stride)

    return min(frames_before(index), num_frames), min(frames_before(index + 1), num_frames)


def overlap_frames(window: int, *, stride: int = 4) -> int:
    """Frames over which a section is blended into its rendered neighbour (33 for window 9).

    Source: official demo; a window decoded alone gives this many frames.
    """
    return stride * (window - 1) + 1
