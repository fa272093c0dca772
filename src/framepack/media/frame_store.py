"""Keep frames on the disk, exactly, to read them again forward or backward.

Shape letters (docs/notation.md): T frames, H W size in pixels.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from framepack.media.codecs import LOSSLESS
from framepack.media.video import read_frames
from framepack.media.writer import VideoWriter

__all__ = ["FrameStore"]

Frame = npt.NDArray[np.uint8]

_CHUNK_BYTES = 64_000_000  # what reading backward holds in memory
_MOST_FRAMES = 64


class FrameStore:
    """Frames in lossless files of a few frames each.

    Args:
        folder: where the files go; it is the caller's to remove.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: list[Path] = []

    def keep(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield frames, each [H, W, 3] uint8 of one even size, once it is written down."""
        waiting: list[Frame] = []
        for frame in frames:
            waiting.append(frame)
            if len(waiting) * frame.nbytes >= _CHUNK_BYTES or len(waiting) == _MOST_FRAMES:
                self._write(waiting)
                yield from waiting
                waiting = []
        if waiting:
            self._write(waiting)
            yield from waiting

    def forward(self) -> Iterator[Frame]:
        """The frames as they came; one is in memory at a time."""
        for chunk in self._chunks:
            yield from read_frames(chunk)

    def backward(self) -> Iterator[Frame]:
        """The frames from the last to the first; those of one file are in memory."""
        for chunk in reversed(self._chunks):
            yield from reversed(list(read_frames(chunk)))

    def _write(self, frames: list[Frame]) -> None:
        path = self._folder / f"frames-{len(self._chunks):05d}.mkv"
        height, width = frames[0].shape[:2]
        with VideoWriter(
            path, width=width, height=height, fps=Fraction(25), video_format=LOSSLESS
        ) as writer:
            for frame in frames:
                writer.write(frame[None])
        self._chunks.append(path)
