"""The sound of a clip: that of its videos, joined, faded, trimmed, sped up and repeated.

Sound is stereo at ``RATE`` samples per second throughout, [N, 2] float32 in -1 to 1.
"""

import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from framepack.domain.clips import ClipEdit, ClipLength
from framepack.media.audio import RATE, read_sound
from framepack.media.clip_frames import Source

__all__ = ["write_sound"]

Samples = npt.NDArray[np.float32]

_BLOCK = RATE  # samples that are in memory at a time
_SLOWEST, _FASTEST = 0.5, 100.0  # what ffmpeg's atempo takes at once


def write_sound(
    sources: Sequence[Source],
    edit: ClipEdit,
    length: ClipLength,
    *,
    rate: Fraction,
    fps: Fraction,
    folder: Path,
) -> Path:
    """Write the sound of a clip that plays forward as a WAV file; return its path.

    It has the length of the pictures to the sample. Another speed keeps the pitch. A video
    without sound is silent.

    Args:
        sources: what is joined.
        edit, length, rate, fps: see ``clip_length``.
        folder: where the file goes.

    Raises:
        WorkspaceError: the sound is damaged.
    """
    joined = _Stream(_joined(sources, length, rate))
    joined.skip(_samples(length.first / rate))
    kept = joined.blocks(_samples(length.end / rate) - _samples(length.first / rate))
    paced = _Stream(_paced(kept, edit.speed) if edit.speed != 1 else kept)
    once = folder / "once.wav"
    with _writer(once) as file:
        for block in paced.blocks(_samples(length.num_once / fps)):
            file.writeframes(_pcm(block))
    return once if edit.loop == 1 else _repeated(once, edit.loop, folder / "sound.wav")


class _Stream:
    """Samples by number, whatever pieces they come in; silence after their end."""

    def __init__(self, pieces: Iterator[Samples]) -> None:
        self._pieces = pieces
        self._rest: Samples = np.zeros((0, 2), np.float32)

    def read(self, count: int) -> Samples:
        found = [self._rest]
        while sum(map(len, found)) < count and (piece := next(self._pieces, None)) is not None:
            found.append(piece)
        whole = np.concatenate(found)
        self._rest = whole[count:]
        silence = np.zeros((max(count - len(whole), 0), 2), np.float32)
        return np.concatenate([whole[:count], silence])

    def blocks(self, count: int) -> Iterator[Samples]:
        for start, end in pairwise([*range(0, count, _BLOCK), count]):
            yield self.read(end - start)

    def skip(self, count: int) -> None:
        for _ in self.blocks(count):
            pass


def _joined(sources: Sequence[Source], length: ClipLength, rate: Fraction) -> Iterator[Samples]:
    """The sound of all videos, as their frames are joined."""
    silence: Iterator[Samples] = iter(())
    streams = [
        _Stream(read_sound(source.path) if source.has_sound else silence) for source in sources
    ]
    shown = 0  # frames before this point
    ahead = 0
    for index, stream in enumerate(streams):
        is_last = index == len(streams) - 1
        faded = 0 if is_last else length.num_faded
        alone = shown + sources[index].length_at(rate) - ahead - faded
        yield from stream.blocks(_samples(alone / rate) - _samples(shown / rate))
        shown = alone + faded
        count = _samples(shown / rate) - _samples(alone / rate)
        done = 0
        for one in stream.blocks(count):
            share = np.arange(done, done + len(one), dtype=np.float32)[:, None] / np.float32(count)
            yield one + (streams[index + 1].read(len(one)) - one) * share
            done += len(one)
        ahead = faded


def _paced(pieces: Iterator[Samples], speed: float) -> Iterator[Samples]:
    """Another speed at the same pitch, by ffmpeg's filter ``atempo``."""
    graph = Graph()
    last = graph.add_abuffer(
        sample_rate=RATE, format="flt", layout="stereo", time_base=Fraction(1, RATE)
    )
    while speed != 1:
        part = min(max(speed, _SLOWEST), _FASTEST)
        step = graph.add("atempo", f"{part:.6f}")
        last.link_to(step)
        last, speed = step, speed / part
    last.link_to(graph.add("abuffersink"))
    graph.configure()
    pts = 0
    for piece in pieces:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(piece).reshape(1, -1), format="flt", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE, pts, Fraction(1, RATE)
        pts += len(piece)
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[Samples]:
    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, EOFError):
            return
        yield np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1, 2)


def _repeated(once: Path, times: int, path: Path) -> Path:
    with _writer(path) as file:
        for _ in range(times):
            with wave.open(str(once), "rb") as source:
                while block := source.readframes(_BLOCK):
                    file.writeframes(block)
    return path


@contextmanager
def _writer(path: Path) -> Iterator[wave.Wave_write]:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        yield file


def _samples(seconds: Fraction) -> int:
    return round(seconds * RATE)


def _pcm(block: Samples) -> bytes:
    return np.rint(np.clip(block, -1, 1) * 32767).astype("<i2").tobytes()
