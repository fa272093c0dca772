"""Run frames through ffmpeg's video filters: one frame in, one frame out.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from fractions import Fraction
from itertools import chain

import av
import av.logging
import numpy as np
import numpy.typing as npt
from av.filter import Graph, filters_available
from av.filter.context import FilterContext

from framepack.domain.errors import InvalidRequest

__all__ = ["check_filters", "filter_frames", "parse_filter"]

Frame = npt.NDArray[np.uint8]
Step = tuple[str, str]
"""A filter's name and its arguments."""

_NUM_TRIAL_FRAMES = 12
_EQ = {"contrast": 1.0, "brightness": 0.0, "saturation": 1.0, "gamma": 1.0}


def parse_filter(text: str) -> list[Step]:
    """Read a chain of filters as ffmpeg writes it: ``hue=s=0.8,unsharp=5:5:0.5``.

    Commas part filters; a quote or a backslash takes the meaning from what it covers.

    Raises:
        InvalidRequest: an empty name, an open quote, or the labels of a graph.
    """
    steps = []
    for part in _split(text):
        name, _, arguments = part.partition("=")
        if not name.strip():
            raise InvalidRequest(f"filter {text!r} names no filter; write such as hue=s=0.8")
        steps.append((name.strip(), arguments.strip()))
    return steps


def check_filters(
    filters: Sequence[str], *, width: int, height: int, fps: Fraction
) -> tuple[int, int]:
    """Run a few made-up frames through the filters.

    Args:
        filters: chains as :func:`parse_filter` reads them, in order.
        width, height: of the frames that come.
        fps: their rate.

    Returns:
        Width and height of the frames that leave.

    Raises:
        InvalidRequest: an unknown filter or option, one that takes or gives anything but one
            video, or one that changes the number of frames.
    """
    if not filters:
        return width, height
    y, x = np.mgrid[0:height, 0:width]
    frames = (
        np.stack([x + 8 * index, y + 4 * index, (x + y) // 2], axis=-1).astype(np.uint8)
        for index in range(_NUM_TRIAL_FRAMES)
    )
    for frame in filter_frames(frames, filters, fps=fps):
        height, width = frame.shape[:2]
    return width, height


def filter_frames(
    frames: Iterable[Frame], filters: Sequence[str], *, fps: Fraction
) -> Iterator[Frame]:
    """Yield frames as the filters leave them; memory is what the filters hold back.

    Args:
        frames: each [H, W, 3], uint8, RGB, all of one size.
        filters: chains as :func:`parse_filter` reads them, in order; none changes nothing.
        fps: frames per second, for filters that ask what time it is.

    Raises:
        InvalidRequest: see :func:`check_filters`; other numbers of frames are found at the end.
    """
    given = iter(frames)
    first = next(given, None) if filters else None
    if first is None:
        yield from given
        return
    graph = _graph(filters, first.shape[1], first.shape[0], fps)
    num_pushed = num_pulled = 0
    for frame in chain([first], given):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = num_pushed, 1 / fps
        with suppress(EOFError):  # a filter that has had enough; the count tells
            graph.vpush(picture)
        num_pushed += 1
        for made in _pulled(graph):
            num_pulled += 1
            yield made
    with suppress(EOFError):
        graph.vpush(None)
    for made in _pulled(graph):
        num_pulled += 1
        yield made
    if num_pulled != num_pushed:
        raise InvalidRequest(
            f"filter {', '.join(filters)} makes {num_pulled} frames of {num_pushed}; take one that "
            "keeps their number (speed, rate and length have options of their own)"
        )


def _graph(filters: Sequence[str], width: int, height: int, fps: Fraction) -> Graph:
    graph = Graph()
    last = graph.add_buffer(
        width=width,
        height=height,
        format=av.VideoFormat("rgb24", width, height),
        time_base=1 / fps,
    )
    for text in filters:
        for name, arguments in chain.from_iterable(map(_built, parse_filter(text))):
            with _explained(text, name):
                last = _added(graph, last, name, arguments)
    with _explained(", ".join(filters), "the chain"):
        last = _added(graph, last, "format", "pix_fmts=rgb24")
        last.link_to(graph.add("buffersink"))
        graph.configure()
    return graph


def _added(graph: Graph, last: FilterContext, name: str, arguments: str) -> FilterContext:
    step = graph.add(name, arguments or None)
    last.link_to(step)
    return step


def _built(step: Step) -> list[Step]:
    """The filter, or those of this ffmpeg that do the same."""
    name, arguments = step
    if name in filters_available:
        return [step]
    if name == "eq":  # under the GPL, and so left out of the ffmpeg that comes with PyAV
        return _equalizer(arguments)
    near = get_close_matches(name, filters_available, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see ffmpeg.org/ffmpeg-filters.html"
    raise InvalidRequest(
        f"there is no video filter {name!r} in the ffmpeg at hand, which has none under the GPL; "
        f"{hint}"
    )


def _equalizer(arguments: str) -> list[Step]:
    """ffmpeg's ``eq`` with constants, as a table for each plane.

    Source: ffmpeg's documentation of eq: contrast about the middle, then brightness, then gamma;
    saturation is the contrast of the chroma planes.
    """
    values = dict(_EQ)
    for entry in filter(None, arguments.split(":")):
        name, _, value = entry.partition("=")
        try:
            values[name.strip()] = values[name.strip()] * 0 + float(value)
        except (KeyError, ValueError):
            raise InvalidRequest(
                f"filter eq is given {entry!r}; it takes numbers for {', '.join(_EQ)}, such as "
                "eq=contrast=1.1:saturation=1.2"
            ) from None
    if values["gamma"] <= 0:
        raise InvalidRequest(f"filter eq has gamma {values['gamma']:g}; it must be above 0")
    luma = "clip(pow(max(0,{contrast}*(val/255-0.5)+0.5+{brightness}),1/{gamma})*255,0,255)"
    chroma = "clip({saturation}*(val-128)+128,0,255)".format(**values)
    luts = f"y={luma.format(**values)}:u={chroma}:v={chroma}"
    return [("format", "pix_fmts=yuv444p"), ("lutyuv", luts)]


@contextmanager
def _explained(text: str, name: str) -> Iterator[None]:
    """Turn libav's errors into one line with what its log says first."""
    before, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # or the same mistake made twice is not explained
    try:
        with av.logging.Capture() as log:
            yield
    except (av.FFmpegError, ValueError) as error:
        said = log[0][2].strip() if log else "it does not take one video and give one"
        raise InvalidRequest(
            f"filter {text!r} does not work: {name}: {said.rstrip('.')}; see "
            "ffmpeg.org/ffmpeg-filters.html"
        ) from error
    finally:
        av.logging.set_level(before)
        av.logging.set_skip_repeated(skips)


def _pulled(graph: Graph) -> Iterator[Frame]:
    while True:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        yield np.asarray(frame.to_ndarray(), dtype=np.uint8)


def _split(text: str) -> list[str]:
    """Part a chain at its commas, and take the first layer of quotes and backslashes off."""
    parts, part, rest = [], "", iter(text)
    for letter in rest:
        if letter == "'":
            quoted = list(_until_quote(rest, text))
            part += "".join(quoted)
        elif letter == "\\":
            part += next(rest, "")
        elif letter == ",":
            parts.append(part)
            part = ""
        elif letter in "[];":
            raise InvalidRequest(
                f"filter {text!r} is a graph; give a chain of filters that each take one video and "
                "give one, and put quotes around [, ] and ; in arguments"
            )
        else:
            part += letter
    return [*parts, part]


def _until_quote(letters: Iterator[str], text: str) -> Iterator[str]:
    for letter in letters:
        if letter == "'":
            return
        yield letter
    raise InvalidRequest(f"filter {text!r} has an open quote; close it")
