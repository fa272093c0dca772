"""What a run is between two sections: all that the next one needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framepack.media.drift import SectionMeasures
from framepack.pipeline.decode import Seam
from framepack.pipeline.history import LatentHistory

__all__ = ["RunState", "Segment"]


@dataclass(frozen=True)
class Segment:
    """One file of final frames.

    Attributes:
        name: file name in ``segments/``.
        start_frame: place of its first frame in the video.
        num_frames: frames in it, at least 1.
        sha256: of the file.
    """

    name: str
    start_frame: int
    num_frames: int
    sha256: str


@dataclass(frozen=True)
class RunState:
    """A run between two sections.

    Attributes:
        num_done: finished sections, in render order.
        history: latents that later sections look back on.
        seam: frames that the next section will cross-fade with; None when there are none.
        segments: the files of final frames, in render order.
        statistics: running totals, ``RunStatistics.to_state()``.
        reference: what the first-rendered section looks like, where drift is watched.
    """

    num_done: int
    history: LatentHistory
    seam: Seam | None
    segments: tuple[Segment, ...]
    statistics: Mapping[str, Any]
    reference: SectionMeasures | None = None
