"""Measure how a video drifts: what sharpness, contrast, colour and motion do along it.

``measure_section`` and ``drift_of`` work on frames in memory; ``measure_drift`` reads a file.

Shape letters (docs/notation.md): T frames, H W size in pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from framepack.domain.errors import InvalidRequest
from framepack.media.files import StrPath, shown
from framepack.media.metadata import read_metadata
from framepack.media.video import probe, read_frames

__all__ = [
    "Drift",
    "DriftReport",
    "SectionDrift",
    "SectionMeasures",
    "drift_of",
    "measure_drift",
    "measure_section",
]

Frame = npt.NDArray[np.uint8]
Row = npt.NDArray[np.float64]
Luma = npt.NDArray[np.floating[Any]]

END_SHARE = 0.15
"""Share of the video that stands for its beginning, and for its end."""
GRAVE_COLOUR = 20.0
"""Colour difference (CIE76) that weighs as much as the loss of all sharpness."""

_SECTION_S = 1.2  # a section of the published models: 36 frames at 30 frames/s
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_COLOUR_SIDE, _MOTION_SIDE = 160, 96  # pixels of the shorter side that are enough to see it
# Below these a change is noise: a flat picture has no sharpness to lose.
_FLOORS = {"sharpness": 1e-3, "detail": 1e-5, "contrast": 1e-2, "motion": 0.1}


@dataclass(frozen=True)
class SectionMeasures:
    """What a stretch of frames looks like, as means over its frames.

    Attributes:
        num_frames: frames that were measured.
        sharpness: mean length of the luma gradient, in luma (0..1) per pixel; edges and texture.
        detail: variance of the luma's Laplacian; the finest detail, noise included.
        contrast: standard deviation of luma (0..1).
        lightness: mean CIELAB L*, 0 to 100.
        a: mean CIELAB a*, green to red.
        b: mean CIELAB b*, blue to yellow.
        saturation: mean CIELAB chroma.
        motion: how far edges move from frame to frame, in pixels, 0 for a lone frame. It says
            more or less, not exactly, and nothing beyond a tenth of the picture.
    """

    num_frames: int
    sharpness: float
    detail: float
    contrast: float
    lightness: float
    a: float
    b: float
    saturation: float
    motion: float


@dataclass(frozen=True)
class Drift:
    """How one stretch of frames differs from another; all 0 where they look alike.

    Attributes:
        sharpness, detail, contrast, motion: change as a share of the other's: -0.5 is half.
        saturation: change of the mean chroma, in CIELAB units.
        colour: distance of the mean colours, lightness included, in CIELAB units (CIE76); 2.3
            is about the least that people notice.
    """

    sharpness: float
    detail: float
    contrast: float
    motion: float
    saturation: float
    colour: float

    @property
    def score(self) -> float:
        """The gravest change of sharpness, contrast and colour; 0 none, 1 a picture lost.

        ``GRAVE_COLOUR`` units of colour or saturation count as 1. Motion may change as it
        likes: prompts ask for that.
        """
        return max(
            abs(self.sharpness),
            abs(self.contrast),
            abs(self.saturation) / GRAVE_COLOUR,
            self.colour / GRAVE_COLOUR,
        )

    def to_dict(self) -> dict[str, float]:
        """Return JSON-able values, the score included."""
        return {"score": self.score, **asdict(self)}


@dataclass(frozen=True)
class SectionDrift:
    """A stretch of a video: frames ``start_frame`` to ``end_frame - 1``.

    Attributes:
        start_frame: its first frame.
        end_frame: one past its last frame.
        measures: what it looks like.
        drift: how it differs from the first section.
    """

    start_frame: int
    end_frame: int
    measures: SectionMeasures
    drift: Drift


@dataclass(frozen=True)
class DriftReport:
    """How a video drifts.

    Attributes:
        path: the file.
        fps: frames per second.
        num_frames: of the video.
        boundaries: where its sections come from: the file's own sections, or equal shares.
        sections: in play order.
        ends: how the last ``END_SHARE`` of the video differs from the first.
        frames: [T, 8], the measures of each frame in the order of ``SectionMeasures``.
    """

    path: Path
    fps: float
    num_frames: int
    boundaries: Literal["file", "equal"]
    sections: tuple[SectionDrift, ...]
    ends: Drift
    frames: Row

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; the measures of single frames are left out."""
        sections = [
            {
                "start_frame": section.start_frame,
                "end_frame": section.end_frame,
                **asdict(section.measures),
                "drift": section.drift.to_dict(),
            }
            for section in self.sections
        ]
        return {
            "path": str(self.path),
            "fps": self.fps,
            "num_frames": self.num_frames,
            "boundaries": self.boundaries,
            "drift": self.ends.to_dict(),
            "sections": sections,
        }


def measure_section(frames: Frame) -> SectionMeasures:
    """Measure a stretch of frames; 36 frames of 640x640 pixels take half a second.

    Args:
        frames: [T, H, W, 3], uint8, RGB, at least one, of 8 pixels a side or more.

    Raises:
        ValueError: another shape or type, or no frame.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise ValueError(
            f"frames are {frames.dtype} {list(frames.shape)}, uint8 [T, H, W, 3] needed"
        )
    return _mean(_measure(frames))


def drift_of(measures: SectionMeasures, reference: SectionMeasures) -> Drift:
    """How one stretch of frames differs from another, such as the first section."""

    def change(name: str) -> float:
        before, after = getattr(reference, name), getattr(measures, name)
        return float((after - before) / max(before, _FLOORS[name]))

    return Drift(
        sharpness=change("sharpness"),
        detail=change("detail"),
        contrast=change("contrast"),
        motion=change("motion"),
        saturation=measures.saturation - reference.saturation,
        colour=float(
            np.hypot(
                np.hypot(measures.a - reference.a, measures.b - reference.b),
                measures.lightness - reference.lightness,
            )
        ),
    )


def measure_drift(path: StrPath, *, num_sections: int | None = None) -> DriftReport:
    """Measure a video, section by section; two frames are in memory at a time.

    Args:
        path: any video. Sections are those it was generated in, if it says so.
        num_sections: take so many equal parts instead; None for the video's own sections, or
            parts of 1.2 s where it has none.

    Raises:
        InvalidRequest: missing, damaged, no video, or fewer frames than parts.
    """
    info = probe(path)
    rows = _measure(read_frames(path))
    edges = _sections_of(read_metadata(path), len(rows)) if num_sections is None else None
    boundaries: Literal["file", "equal"] = "equal" if edges is None else "file"
    if edges is None:
        wanted = num_sections or max(2, round(len(rows) / float(info.fps) / _SECTION_S))
        count = wanted if num_sections is not None else min(wanted, len(rows))
        if not 1 <= count <= len(rows):
            raise InvalidRequest(
                f"{shown(path)} has {len(rows)} frames, {count} sections were asked; ask for 1 to "
                f"{len(rows)}"
            )
        edges = [len(rows) * index // count for index in range(count + 1)]
    means = [_mean(rows[start:end]) for start, end in pairwise(edges)]
    at_end = max(1, round(len(rows) * END_SHARE))
    return DriftReport(
        path=Path(path),
        fps=float(info.fps),
        num_frames=len(rows),
        boundaries=boundaries,
        sections=tuple(
            SectionDrift(start, end, mean, drift_of(mean, means[0]))
            for (start, end), mean in zip(pairwise(edges), means, strict=True)
        ),
        ends=drift_of(_mean(rows[-at_end:]), _mean(rows[:at_end])),
        frames=rows,
    )


def _sections_of(document: dict[str, Any], num_frames: int) -> list[int] | None:
    """Where the sections of a generated video begin and end, if it says so and is whole."""
    plan = document.get("plan")
    if not isinstance(plan, dict):
        return None
    try:
        factor = max(int(plan["request"]["interpolate"]), 1)
        starts = {int(section["start_frame"]) * factor for section in plan["sections"]}
        is_whole = int(plan["num_frames"]) == num_frames
    except (KeyError, TypeError, ValueError):
        return None
    inside = sorted(start for start in starts if 0 < start < num_frames)
    return [0, *inside, num_frames] if is_whole else None


def _measure(frames: Iterable[Frame]) -> Row:
    """[T, 8]: what ``SectionMeasures`` names after ``num_frames``, of each frame."""
    rows = []
    before = None
    for frame in frames:
        luma = frame.astype(np.float32) @ _LUMA / np.float32(255)
        small = _reduced(luma)
        motion = np.nan if before is None else _motion(before, small, len(luma) / len(small))
        rows.append([_sharpness(luma), _detail(luma), luma.std(), *_colours(frame), motion])
        before = small
    return np.array(rows, dtype=np.float64)


def _mean(rows: Row) -> SectionMeasures:
    moving = rows[:, -1][~np.isnan(rows[:, -1])]  # the first frame of a video has none before it
    sharpness, detail, contrast, lightness, a, b, saturation = map(float, rows[:, :-1].mean(axis=0))
    return SectionMeasures(
        num_frames=len(rows),
        sharpness=sharpness,
        detail=detail,
        contrast=contrast,
        lightness=lightness,
        a=a,
        b=b,
        saturation=saturation,
        motion=float(moving.mean()) if len(moving) else 0.0,
    )


def _sharpness(luma: Luma) -> float:
    along_x = (luma[1:-1, 2:] - luma[1:-1, :-2]) / 2
    along_y = (luma[2:, 1:-1] - luma[:-2, 1:-1]) / 2
    return float(np.sqrt(along_x * along_x + along_y * along_y).mean())


def _detail(luma: Luma) -> float:
    beside = luma[1:-1, 2:] + luma[1:-1, :-2] + luma[2:, 1:-1] + luma[:-2, 1:-1]
    return float((beside - 4 * luma[1:-1, 1:-1]).var())


def _colours(frame: Frame) -> Sequence[float]:
    """Mean L*, a*, b* and chroma of every nth pixel.

    Source: sRGB by IEC 61966-2-1 to CIE 1976 L*a*b* under D65.
    """
    step = max(1, min(frame.shape[:2]) // _COLOUR_SIDE)
    linear = _LINEAR[frame[::step, ::step]]
    scaled = linear @ _TO_XYZ.T
    cubic = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = cubic[..., 0], cubic[..., 1], cubic[..., 2]
    a, b = 500 * (x - y), 200 * (y - z)
    return [
        float(116 * y.mean() - 16),
        float(a.mean()),
        float(b.mean()),
        float(np.hypot(a, b).mean()),
    ]


def _reduced(luma: Luma) -> Luma:
    """Means of square blocks; a narrow rest at the edges is left out."""
    side = max(1, round(min(luma.shape) / _MOTION_SIDE))
    height, width = luma.shape[0] // side, luma.shape[1] // side
    blocks = luma[: height * side, : width * side].reshape(height, side, width, side)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _motion(before: Luma, after: Luma, scale: float) -> float:
    """Mean displacement of edges, in pixels of the frame.

    What moves by d changes in brightness by d times the gradient along d (brightness
    constancy, Horn and Schunck 1981); over directions the mean of that is 2/pi of its length.
    """
    change = (after - before)[1:-1, 1:-1]
    gradient = _sharpness((before + after) / 2)
    moved = float(np.abs(change - change.mean()).mean())  # a picture that brightens stands still
    return np.pi / 2 * moved / max(gradient, 1e-4) * scale


_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
# Rows are divided by the white point, so that white is (1, 1, 1).
_TO_XYZ = np.array(
    [
        [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
    ],
    dtype=np.float32,
)
