"""Draw a drift report as a picture: frames of its sections, and how each measure runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from framepack.media.drift import END_SHARE, DriftReport
from framepack.media.files import StrPath, atomic_file, check_output_writable, shown
from framepack.media.video import read_frame

__all__ = ["PLOT_SUFFIXES", "check_plot", "plot_drift"]

PLOT_SUFFIXES = (".png", ".webp", ".jpg")

_WIDTH, _MARGIN, _GAP = 960, 16, 14
_TITLE_HEIGHT, _PANEL_HEIGHT = 34, 128
_LEFT, _TOP, _BOTTOM = 44, 18, 14  # inside a panel, around its axes
_FINER = 2  # drawn so many times larger, for smooth lines
_MOST_PICTURES = 8
_GREY, _FRAME, _SHADE = "#888888", "#c9ced6", "#f1f3f6"
_BLUE, _ORANGE = "#1f5fb4", "#d06a13"


@dataclass(frozen=True)
class _Curve:
    """One measure: its column in the report's frames, and its name in its parts."""

    column: int
    name: str
    colour: str = _BLUE


_PANELS: tuple[tuple[str, tuple[_Curve, ...]], ...] = (
    ("sharpness", (_Curve(0, "sharpness"),)),
    ("contrast", (_Curve(2, "contrast"),)),
    ("lightness L*", (_Curve(3, "lightness"),)),
    ("saturation (chroma)", (_Curve(6, "saturation"),)),
    ("colour: a* blue, b* orange", (_Curve(4, "a"), _Curve(5, "b", _ORANGE))),
    ("motion, px/frame", (_Curve(7, "motion"),)),
)


def check_plot(path: StrPath) -> None:
    """Check, before any work, that a plot can be written here.

    Raises:
        InvalidRequest: another suffix than ``PLOT_SUFFIXES``, or no place to write.
    """
    check_output_writable(path, PLOT_SUFFIXES)


def plot_drift(report: DriftReport, path: StrPath) -> tuple[int, int]:
    """Write the report as a picture; the format follows the suffix.

    Thin lines are single frames, thick ones the means of sections; the shaded ends are those
    that the drift compares.

    Returns:
        Width and height of the picture in pixels.

    Raises:
        InvalidRequest: the video has vanished.
        WorkspaceError: the file cannot be written.
    """
    strip = _strip(report)
    rows = -(-len(_PANELS) // 2)
    height = _TITLE_HEIGHT + strip.height + _GAP + rows * (_PANEL_HEIGHT + _GAP) + _MARGIN
    image = Image.new("RGB", (_WIDTH * _FINER, height * _FINER), "white")
    draw = ImageDraw.Draw(image)
    _text(draw, (_MARGIN, 9), _title(report), "black", 14)
    image.paste(
        strip.resize((strip.width * _FINER, strip.height * _FINER)),
        (_MARGIN * _FINER, _TITLE_HEIGHT * _FINER),
    )
    width = (_WIDTH - 2 * _MARGIN - _GAP) // 2
    for index, (title, curves) in enumerate(_PANELS):
        left = _MARGIN + index % 2 * (width + _GAP)
        top = _TITLE_HEIGHT + strip.height + _GAP + index // 2 * (_PANEL_HEIGHT + _GAP)
        _panel(draw, report, (left, top, left + width, top + _PANEL_HEIGHT), title, curves)
    image = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    with atomic_file(path) as temporary:
        image.save(temporary, Image.registered_extensions()[Path(path).suffix.lower()])
    return image.size


def _title(report: DriftReport) -> str:
    ends = report.ends
    return (
        f"{shown(report.path.name)}: drift {ends.score:.2f}, first to last {END_SHARE:.0%}: "
        f"sharpness {ends.sharpness:+.0%}, contrast {ends.contrast:+.0%}, saturation "
        f"{ends.saturation:+.1f}, colour {ends.colour:.1f}, motion {ends.motion:+.0%}"
    )


def _strip(report: DriftReport) -> Image.Image:
    """The middle frames of sections, side by side over the whole width."""
    count = min(len(report.sections), _MOST_PICTURES)
    chosen = np.linspace(0, len(report.sections) - 1, count).round().astype(int)
    width = (_WIDTH - 2 * _MARGIN - 4 * (_MOST_PICTURES - 1)) // _MOST_PICTURES
    pictures = []
    for index in chosen:
        section = report.sections[index]
        picture = Image.fromarray(
            read_frame(report.path, (section.start_frame + section.end_frame - 1) // 2)
        )
        size = (width, max(1, round(width * picture.height / picture.width)))
        pictures.append(picture.resize(size, Image.Resampling.LANCZOS))
    strip = Image.new("RGB", (_WIDTH - 2 * _MARGIN, pictures[0].height), "white")
    for place, picture in enumerate(pictures):
        free = strip.width - len(pictures) * width
        strip.paste(picture, (place * (width + free // max(len(pictures) - 1, 1)), 0))
    return strip


def _panel(
    draw: ImageDraw.ImageDraw,
    report: DriftReport,
    box: tuple[int, int, int, int],
    title: str,
    curves: tuple[_Curve, ...],
) -> None:
    left, top, right, bottom = box[0] + _LEFT, box[1] + _TOP, box[2], box[3] - _BOTTOM
    columns = report.frames[:, [curve.column for curve in curves]]
    low, high = _limits(columns)
    last = max(report.num_frames - 1, 1)

    def at(frame: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * frame / last
        return x * _FINER, (bottom - (bottom - top) * (value - low) / (high - low)) * _FINER

    for start, end in ((0.0, END_SHARE * last), ((1 - END_SHARE) * last, float(last))):
        draw.rectangle((*at(start, high), *at(end, low)), fill=_SHADE)
    for section in report.sections[1:]:
        draw.line((*at(section.start_frame, low), *at(section.start_frame, high)), fill="#e2e5ea")
    draw.rectangle((*at(0, high), *at(last, low)), outline=_GREY)
    _text(draw, (left, box[1]), title, "black", 11)
    _text(draw, (box[0], top - 2), f"{high:.3g}", _GREY, 10)
    _text(draw, (box[0], bottom - 10), f"{low:.3g}", _GREY, 10)
    _text(draw, (left, bottom + 2), "0 s", _GREY, 10)
    _text(draw, (right - 40, bottom + 2), f"{report.num_frames / report.fps:.1f} s", _GREY, 10)
    for curve in curves:
        points = [
            at(index, value)
            for index, value in enumerate(report.frames[:, curve.column])
            if not np.isnan(value)
        ]
        if len(points) > 1:
            draw.line(points, fill=_FRAME, width=2)
        for section in report.sections:
            mean = getattr(section.measures, curve.name)
            end = min(section.end_frame, last)
            draw.line((*at(section.start_frame, mean), *at(end, mean)), fill=curve.colour, width=5)


def _limits(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The range of an axis: all values, and never so narrow that rounding fills it."""
    found = values[~np.isnan(values)]
    low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 0.0)
    room = max((high - low) * 0.08, 0.05 * max(abs(high), abs(low)), 1e-3)
    return low - room, high + room


def _text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str, size: int
) -> None:
    font = ImageFont.load_default(size * _FINER)
    draw.text((place[0] * _FINER, place[1] * _FINER), text, fill=colour, font=font)
