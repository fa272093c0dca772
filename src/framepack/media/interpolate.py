"""Insert frames between frames. Those that are there already stay as they are.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from framepack.domain.request import Interpolation

__all__ = ["interpolate_frames", "num_interpolated"]

Frame = npt.NDArray[np.uint8]
Step = tuple[list[Frame], Frame]
"""New frames, and the one of before that follows them."""

_TICKS = 1000  # per frame, so that every factor has whole times


def num_interpolated(num_frames: int, factor: int) -> int:
    """How many frames come of so many: ``factor`` for each but the last, which has no gap."""
    return (num_frames - 1) * max(factor, 1) + 1 if num_frames else 0


def interpolate_frames(
    frames: Iterable[Frame],
    factor: int,
    method: Interpolation,
    *,
    rife_weights: Path | None = None,
    device: str = "cpu",
) -> Iterator[Frame]:
    """Yield every frame, and after each but the last ``factor - 1`` new ones.

    A few frames are in memory at a time.

    Args:
        frames: each [H, W, 3], uint8, RGB, in play order.
        factor: frames that become of one; 0 and 1 change nothing.
        method: how those between are made.
        rife_weights: a file with weights for ``rife``; None for the package's own.
        device: torch device that ``rife`` computes on.

    Raises:
        InvalidRequest: the weights cannot be used.
    """
    if factor <= 1:
        yield from frames
        return
    given = iter(frames)
    first = next(given, None)
    if first is None:
        return
    yield first
    whole = chain([first], given)
    if method == "rife":
        from framepack.media.rife import rife_steps  # torch, which the other methods do without

        steps = rife_steps(whole, factor, weights=rife_weights, device=device)
    else:
        steps = _METHODS[method](whole, factor)
    for between, frame in steps:
        yield from between
        yield frame


def _blend(frames: Iterable[Frame], factor: int) -> Iterator[Step]:
    """Cross-fade neighbours; what moves leaves a ghost."""
    shares = [np.float32(number / factor) for number in range(1, factor)]
    for one, other in pairwise(frames):
        mixed = [one + (other.astype(np.float32) - one) * share for share in shares]
        yield [np.rint(frame).astype(np.uint8) for frame in mixed], other


def _minterpolate(frames: Iterable[Frame], factor: int) -> Iterator[Step]:
    """Move blocks of pixels along their motion, by ffmpeg's filter ``minterpolate``."""
    graph: Graph | None = None
    made: dict[int, Frame] = {}
    waiting: deque[Frame] = deque()
    start = 0
    for index, frame in enumerate(_with_last_twice(frames)):
        graph = graph or _motion_graph(frame, factor)
        graph.push(_picture(frame, index))
        made.update(_pulled(graph, factor))
        waiting.append(frame)
        while start + factor in made:
            between = [made.pop(start + number) for number in range(1, factor)]
            waiting.popleft()
            yield between, waiting[0]
            start += factor


def _with_last_twice(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The filter makes what lies before a frame only when it has seen the one after it."""
    last = None
    for frame in frames:
        last = frame
        yield frame
    if last is not None:
        yield last


def _motion_graph(frame: Frame, factor: int) -> Graph:
    graph = Graph()
    height, width = frame.shape[:2]
    source = graph.add_buffer(
        width=width,
        height=height,
        format=av.VideoFormat("yuv444p", width, height),
        time_base=Fraction(1, _TICKS),
    )
    # A cut would freeze the frames before it; scd=none morphs them instead.
    settings = f"fps={factor}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    motion = graph.add("minterpolate", settings)
    source.link_to(motion)
    motion.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _picture(frame: Frame, index: int) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    picture = rgb.reformat(format="yuv444p")
    picture.pts, picture.time_base = index * _TICKS, Fraction(1, _TICKS)
    return picture


def _pulled(graph: Graph, factor: int) -> Iterator[tuple[int, Frame]]:
    """What the filter has finished: its number at the new rate, and the frame."""
    while True:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        assert frame.pts is not None
        assert frame.time_base is not None
        rgb = frame.reformat(format="rgb24").to_ndarray()
        yield round(frame.pts * frame.time_base * factor), np.asarray(rgb, dtype=np.uint8)


_METHODS: dict[str, Callable[[Iterable[Frame], int], Iterator[Step]]] = {
    "minterpolate": _minterpolate,
    "blend": _blend,
}
