"""The frames of a clip: read, joined, cropped, filtered, scaled and put into another time.

Every function takes frames and yields frames, a few in memory at a time. Playing backward, to
and fro and several times goes through the disk.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from framepack.domain.clips import ClipEdit, ClipLength, CropBox, FrameSize
from framepack.domain.errors import InvalidRequest
from framepack.media.codecs import ANIMATIONS
from framepack.media.files import StrPath, open_video, shown
from framepack.media.filters import filter_frames
from framepack.media.frame_store import FrameStore
from framepack.media.images import fit_image
from framepack.media.interpolate import interpolate_frames
from framepack.media.video import probe, read_timed_frames
from framepack.media.writer import frame_rate

__all__ = [
    "Enlarger",
    "Source",
    "joined_frames",
    "open_source",
    "played",
    "retimed",
    "shaped",
]

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Enlarger:
    """What makes pictures larger before they are filtered and scaled.

    Attributes:
        scale: how many times as wide and high they get.
        frames: takes frames and yields as many, larger ones.
        document: what it is, for the file.
    """

    scale: int
    frames: Callable[[Iterable[Frame]], Iterator[Frame]]
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """One video that goes into a clip.

    Attributes:
        path: the file.
        size: of its pictures as they are shown; odd ones lose their last row or column.
        rate: frames per second.
        num_frames: at that rate.
        has_sound: whether there is sound with it.
    """

    path: Path
    size: FrameSize
    rate: Fraction
    num_frames: int
    has_sound: bool

    def length_at(self, rate: Fraction) -> int:
        """Its frames at another rate."""
        return max(1, round(self.num_frames / self.rate * rate))


def open_source(path: StrPath) -> Source:
    """Look into a video.

    Raises:
        InvalidRequest: missing, damaged, no video, or smaller than 16 pixels a side.
    """
    info = probe(path)
    first = next(iter(read_timed_frames(path)), None)
    if first is None:
        raise InvalidRequest(f"{shown(path)} holds no frame; give a video with several frames")
    height, width = first[1].shape[:2]
    size = FrameSize(width - width % 2, height - height % 2)
    if min(size) < 16:
        raise InvalidRequest(
            f"{shown(path)} is {width}x{height} px; 16 pixels or more a side are needed"
        )
    return Source(
        Path(path), size, frame_rate(info.fps), info.num_frames, has_sound=_has_sound(path)
    )


def joined_frames(
    sources: Sequence[Source], *, size: FrameSize, rate: Fraction, num_faded: int
) -> Iterator[Frame]:
    """One video after the other, neighbours faded into each other over ``num_faded`` frames.

    Frames of another size are scaled until ``size`` is covered, and cut around their middle; of
    another rate, left out or repeated.
    """
    streams = [
        _fitted(_steady(read_timed_frames(source.path), rate, source.length_at(rate)), size)
        for source in sources
    ]
    ahead = 0  # frames of the video at hand that were shown in the fade before it
    for index, stream in enumerate(streams):
        is_last = index == len(streams) - 1
        alone = sources[index].length_at(rate) - ahead - (0 if is_last else num_faded)
        yield from islice(stream, alone)
        if not is_last:
            pairs = zip(stream, islice(streams[index + 1], num_faded), strict=True)
            for number, (one, other) in enumerate(pairs, start=1):
                yield _mixed(one, other, number / (num_faded + 1))
            ahead = num_faded


def shaped(
    frames: Iterable[Frame],
    *,
    crop: CropBox | None,
    enlarger: Enlarger | None,
    filters: Sequence[str],
    size: FrameSize | None,
    rate: Fraction,
) -> Iterator[Frame]:
    """Crop, enlarge, filter and scale, in that order; None leaves things as they are."""
    if crop is not None:
        rows = slice(crop.top, crop.top + crop.height)
        columns = slice(crop.left, crop.left + crop.width)
        frames = (np.ascontiguousarray(frame[rows, columns]) for frame in frames)
    if enlarger is not None:
        frames = enlarger.frames(frames)
    frames = filter_frames(frames, filters, fps=rate)
    return iter(frames) if size is None else _fitted(frames, size)


def retimed(frames: Iterable[Frame], length: ClipLength, edit: ClipEdit) -> Iterator[Frame]:
    """``length.num_once`` frames, ``length.step`` of those that come apart from each other."""
    num_given, step, factor = length.end - length.first, length.step, 1
    if edit.interpolate and step < 1:
        factor = ceil(1 / step)
        frames = interpolate_frames(frames, factor, edit.interpolation)
    given = enumerate(frames)
    index, frame = next(given)
    for number in range(length.num_once):
        at = number * step * factor
        wanted = min(round(at) if factor > 1 else floor(at), (num_given - 1) * factor)
        while index < wanted:
            index, frame = next(given)
        yield frame
    for _ in given:  # filters count their frames to the end
        pass


def played(
    frames: Iterable[Frame],
    edit: ClipEdit,
    length: ClipLength,
    folder: Path,
    on_kept: Callable[[], object],
) -> Iterator[Frame]:
    """Frames backward, to and fro, and several times, as asked.

    Args:
        frames: one round forward, ``length.num_once`` of them.
        edit: what is asked.
        length: of the clip.
        folder: for frames that are needed again.
        on_kept: called for each frame that is put there before the first one comes.
    """
    if not edit.reverse and length.num_frames == length.num_once:
        yield from frames
        return
    store = FrameStore(folder)
    kept = store.keep(frames)
    if edit.reverse:
        for _ in kept:
            on_kept()
    there, back = (
        (store.backward, store.forward) if edit.reverse else (store.forward, store.backward)
    )
    for number in range(edit.loop):
        yield from kept if number == 0 and not edit.reverse else there()
        if edit.ping_pong:
            yield from islice(back(), 1, max(length.num_once - 1, 1))


def _steady(timed: Iterable[tuple[Fraction, Frame]], rate: Fraction, count: int) -> Iterator[Frame]:
    """The frame that is shown at each tick of a clock, ``count`` times."""
    given = iter(timed)
    _, frame = next(given)
    coming = next(given, None)
    for tick in range(count):
        while coming is not None and coming[0] <= (tick + Fraction(1, 4)) / rate:
            frame, coming = coming[1], next(given, None)
        yield frame


def _fitted(frames: Iterable[Frame], size: FrameSize) -> Iterator[Frame]:
    for frame in frames:
        height, width = frame.shape[:2]
        if (width - width % 2, height - height % 2) == size:
            yield np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])
        else:
            yield np.asarray(fit_image(Image.fromarray(frame), *size))


def _mixed(one: Frame, other: Frame, share: float) -> Frame:
    mixed = one + (other.astype(np.float32) - one) * np.float32(share)
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _has_sound(path: StrPath) -> bool:
    if Path(path).suffix.lower() in ANIMATIONS:
        return False
    with open_video(path) as (container, _):
        return bool(container.streams.audio)
