"""Videos that others are made from: their frames at another rate, fitted to another size.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.domain.sources import VideoFacts
from framepack.media.files import StrPath, check_readable, shown
from framepack.media.images import fit_image
from framepack.media.stills import num_pictures
from framepack.media.video import probe, read_timed_frames

__all__ = ["source_facts", "source_frame", "source_frames"]

Frame = npt.NDArray[np.uint8]


def source_facts(path: StrPath) -> VideoFacts:
    """What must be known of a video before another one is made from it.

    Raises:
        InvalidRequest: missing, damaged, a single picture, or no video.
    """
    if num_pictures(check_readable(path, "video")) == 1:
        raise InvalidRequest(
            f"{shown(path)} is one picture, not a video; give it with --image, or give a video"
        )
    _, first = next(read_timed_frames(path))
    height, width, _ = first.shape
    return VideoFacts(width=width, height=height, duration_s=probe(path).duration_s)


def source_frames(path: StrPath, *, fps: float, width: int, height: int) -> Iterator[Frame]:
    """Yield the video's frames at another rate and size; a frame or two are in memory.

    At each moment the frame that is shown then; the last one stays to the end.

    Args:
        path: the video.
        fps: frames per second to yield.
        width: px; pictures are scaled until they cover the size, and their centre is cut out.
        height: px.

    Yields:
        As many frames as ``VideoFacts.num_frames(fps)`` says, each [H, W, 3] uint8 RGB.

    Raises:
        InvalidRequest: missing, damaged, or no video.
    """
    number = VideoFacts(width, height, probe(path).duration_s).num_frames(fps)
    yielded, shown = 0, None
    for time_s, frame in read_timed_frames(path):
        # A little tolerance: times are rounded to the file's own ticks.
        while shown is not None and yielded < number and (yielded + 0.05) / fps < time_s:
            yield shown
            yielded += 1
        shown = _fitted(frame, width, height)
    while shown is not None and yielded < number:
        yield shown
        yielded += 1


def source_frame(path: StrPath, index: int, *, fps: float, width: int, height: int) -> Image.Image:
    """One of :func:`source_frames`, by its number, as a picture."""
    frames = source_frames(path, fps=fps, width=width, height=height)
    return Image.fromarray(next(islice(frames, index, None)))


def _fitted(frame: Frame, width: int, height: int) -> Frame:
    picture = fit_image(Image.fromarray(frame), width, height)
    return np.asarray(picture, dtype=np.uint8)
