"""The files that live video is made of, in the job's own folder: each complete or not there."""

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from framepack.domain.errors import WorkspaceError
from framepack.media.files import atomic_file
from framepack.media.fragments import Span, init_segment, media_segments
from framepack.media.previews import moving_preview
from framepack.media.segments import SegmentWriter
from framepack.media.spritesheet import write_spritesheet
from framepack.media.video import read_frames
from framepack.service.editions import Edition
from framepack.service.files import JobFolder
from framepack.service.records import NoSuchJob
from framepack.service.run_reading import Piece, read_run

__all__ = ["make_preview", "make_spritesheet", "write_piece"]

_CRF, _PRESET = 20, "veryfast"  # of what has to be encoded to be watched

_init_lock = threading.Lock()


def write_piece(
    folder: JobFolder,
    edition: Edition,
    piece: Piece,
    *,
    is_closing: Callable[[], bool] = lambda: False,
) -> None:
    """Write the media segments of a piece, and the initialisation segment if it is missing.

    Packets of H.264 are moved as they are; other frames are encoded.

    Args:
        folder: of the job.
        edition: which the piece belongs to.
        piece: the file.
        is_closing: whether to stop after the part at work.

    Raises:
        WorkspaceError, InvalidRequest: the piece is missing or damaged, or the disk is full.
    """
    parts = [part for part in edition.parts if part.piece == piece]
    spans = [part.span for part in parts]
    if edition.is_copied:
        segments = _moved_packets(folder, edition, piece.path, spans, piece.first_frame)
    else:
        segments = _encoded(folder, edition, piece, spans)
    for part, segment in zip(parts, segments, strict=True):
        _write(folder, part.name, segment)
        if is_closing():
            return


def make_preview(folder: JobFolder) -> bytes:
    """The section at work as a WebP of a few kilobytes.

    Raises:
        WorkspaceError: there is none, or it is replaced right now.
        NoSuchJob: there is no run.
    """
    run = read_run(folder.run)
    if run is None:
        raise NoSuchJob("there is no preview; there is one while steps are taken")
    num_frames = 1 if run.one_frame else run.latent_window_size
    return moving_preview(folder.run / "preview.webp", num_frames)


def make_spritesheet(folder: JobFolder, video: Path) -> Path:
    """Write the spritesheet of a finished video; see ``write_spritesheet``."""
    _check_is_there(folder)
    path = folder.live / "spritesheet.jpg"
    write_spritesheet(video, path)
    return path


def _moved_packets(
    folder: JobFolder, edition: Edition, path: Path, spans: list[Span], first_frame: int
) -> Iterator[bytes]:
    init = _init(folder, edition, path)
    return media_segments(path, spans, edition.fps, first_frame=first_frame, init=init)


def _encoded(
    folder: JobFolder, edition: Edition, piece: Piece, spans: list[Span]
) -> Iterator[bytes]:
    """Each part is a video of its own first, whose packets are then moved."""
    frames = read_frames(piece.path)
    with TemporaryDirectory(prefix="framepack-live-") as scratch:
        path = Path(scratch) / "part.mp4"
        for span in spans:
            _encode(path, islice(frames, span.num_frames), edition)
            start = piece.first_frame + span.first_frame
            yield from _moved_packets(folder, edition, path, [Span(0, span.num_frames)], start)


def _encode(path: Path, frames: Iterator[NDArray[np.uint8]], edition: Edition) -> None:
    first = next(frames, None)
    if first is None:
        raise WorkspaceError(f"{path.name}: the video has fewer frames than it says")
    height, width = first.shape[:2]
    with SegmentWriter(
        path, width=width, height=height, fps=edition.fps, crf=_CRF, preset=_PRESET
    ) as writer:
        writer.write(first[None])
        for frame in frames:
            writer.write(frame[None])


def _init(folder: JobFolder, edition: Edition, path: Path) -> bytes:
    """The initialisation segment, made from the first file of packets that needs it."""
    target = folder.live / edition.init_name
    with _init_lock:
        if not target.is_file():
            _write(folder, target.name, init_segment(path, edition.fps))
        return target.read_bytes()


def _write(folder: JobFolder, name: str, data: bytes) -> None:
    _check_is_there(folder)
    with atomic_file(folder.live / name) as part:
        part.write_bytes(data)


def _check_is_there(folder: JobFolder) -> None:
    """Nothing is made in the place of a job that was removed meanwhile."""
    if not folder.path.is_dir():
        raise NoSuchJob(f"{folder.path.name} was removed")
