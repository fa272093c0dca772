"""Which parts of a job's video can be played now, in which order, and how a playlist names them.

A forward-only video grows at its end: its playlist is one of HLS's events. A bi-directional one
grows toward its start: each of its revisions is a whole playlist, from the first frame that there
is to the video's last. Parts have their times in the whole video, whatever comes before them later.

Source: RFC 8216 and its revision (HTTP Live Streaming).
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Literal

from framepack.domain.errors import FramePackError
from framepack.media.fragments import Span, is_copied, spans_of
from framepack.media.video import probe
from framepack.service.files import JobFolder
from framepack.service.records import Job, NoSuchJob, WrongState
from framepack.service.run_reading import Piece, RunSoFar, planned_run, read_run

__all__ = ["Edition", "Part", "edition_of", "master_playlist", "media_playlist"]

_VIDEOS = (".mp4", ".mkv", ".mov", ".webm")
_PART_S = 4.0
_BITS_PER_PIXEL = 0.3  # about what pictures with much in them take; players ask for a figure

Kind = Literal["run", "final"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one media segment holds.

    Attributes:
        name: of the segment.
        piece: the file with its frames.
        span: which of them.
    """

    name: str
    piece: Piece
    span: Span

    @property
    def first_frame(self) -> int:
        """Place of its first frame in the video."""
        return self.piece.first_frame + self.span.first_frame


@dataclass(frozen=True, slots=True)
class Edition:
    """What can be played of a job's video.

    Attributes:
        kind: "run" for what the run has rendered, "final" for the finished video.
        fps: frames per second.
        parts: in play order.
        revision: grows whenever parts are added.
        is_over: nothing will be added any more.
        grows_backward: parts are added before the others.
        is_copied: the packets of the parts' files are moved as they are.
        is_lasting: the finished video has the same parts.
        number: of the first part; a part keeps its number whatever is added.
        longest_s: seconds of the longest part that there is or may be.
    """

    kind: Kind
    fps: Fraction
    parts: tuple[Part, ...]
    revision: int
    is_over: bool
    grows_backward: bool
    is_copied: bool
    is_lasting: bool
    number: int
    longest_s: float

    @property
    def init_name(self) -> str:
        """Name of the initialisation segment."""
        return f"{self.kind}-init.mp4"

    def seconds(self, part: Part) -> float:
        """How long a part lasts."""
        return float(part.span.num_frames / self.fps)

    def part(self, name: str) -> Part:
        """The part of a name.

        Raises:
            NoSuchJob: there is none.
        """
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise NoSuchJob(f"there is no part {name!r}; the playlist names those that there are")
        return found


def edition_of(
    job: Job, folder: JobFolder, *, kind: Kind | None = None, revision: int | None = None
) -> Edition:
    """What can be played of a job.

    Args:
        job: read before this is called, so that what an ended job left is complete.
        folder: its files.
        kind: None for the finished video if there is one, unless the run's parts are the same.
        revision: as it was then; None for the newest.

    Raises:
        WrongState: it makes a picture, or ended without frames.
        NoSuchJob: there is no such revision, or its files were removed.
    """
    run = read_run(folder.run) or planned_run(job)
    if run.one_frame:
        raise WrongState(f"{job.id} makes a picture, which is no stream; get its content")
    video = _final_video(job, folder)
    has_pieces = bool(run.pieces) and all(piece.path.is_file() for piece in run.pieces)
    if kind is None:
        is_better = video is not None and not (run.is_joined and has_pieces)
        kind = "final" if is_better and revision is None else "run"
    if kind == "final":
        if video is None:
            raise WrongState(f"{job.id} is {job.state}; its video can be streamed when completed")
        return _final(video, revision=len(run.pieces) + 1)
    if has_pieces:
        return _of_run(run, job.has_ended, revision)
    if job.has_ended:
        raise NoSuchJob(f"{job.id} is {job.state} and has no frames to stream")
    if revision is not None:
        raise NoSuchJob(f"{job.id} has no revision {revision} yet")
    return _empty(run)


def media_playlist(edition: Edition, address: Callable[[str], str]) -> str:
    """The playlist of an edition.

    Args:
        edition: what there is.
        address: of a segment by its name, as seen from the place of the playlist.
    """
    # Of what grows backward each revision is complete in itself: players begin at its start.
    is_complete = edition.is_over or (edition.grows_backward and bool(edition.parts))
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f"#EXT-X-TARGETDURATION:{max(1, ceil(edition.longest_s))}",
        f"#EXT-X-MEDIA-SEQUENCE:{edition.number}",
        "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES",
    ]
    if is_complete or not edition.grows_backward:
        lines.append(f"#EXT-X-PLAYLIST-TYPE:{'VOD' if edition.grows_backward else 'EVENT'}")
    if edition.parts:
        lines.append(f'#EXT-X-MAP:URI="{address(edition.init_name)}"')
    for part in edition.parts:
        lines += [f"#EXTINF:{edition.seconds(part):.6f},", address(part.name)]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if is_complete else []), ""])


def master_playlist(uri: str, *, width: int, height: int, fps: float) -> str:
    """A playlist of one playlist, which a player chooses once, when it begins.

    Args:
        uri: of the other, as seen from the place of this one.
        width, height: pixels.
        fps: frames per second.
    """
    bits_per_s = round(width * height * fps * _BITS_PER_PIXEL)
    return "\n".join(
        [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            f"#EXT-X-STREAM-INF:BANDWIDTH={bits_per_s},RESOLUTION={width}x{height}",
            uri,
            "",
        ]
    )


def _final_video(job: Job, folder: JobFolder) -> Path | None:
    name = job.output.get("video") if job.state == "completed" else None
    path = folder.output / name if isinstance(name, str) and name else None
    return path if path is not None and path.suffix in _VIDEOS and path.is_file() else None


def _empty(run: RunSoFar) -> Edition:
    """Before the first section."""
    return Edition(
        kind="run",
        fps=run.fps,
        parts=(),
        revision=0,
        is_over=False,
        grows_backward=run.grows_backward,
        is_copied=run.is_joined,
        is_lasting=run.is_joined,
        number=run.num_sections if run.grows_backward else 0,
        longest_s=run.longest_s,
    )


def _of_run(run: RunSoFar, has_ended: bool, revision: int | None) -> Edition:
    if revision is not None and not 1 <= revision <= len(run.pieces):
        raise NoSuchJob(f"there is no revision {revision} of {len(run.pieces)}")
    pieces = run.pieces[:revision]
    least_s = max(_PART_S, run.longest_s)
    parts = tuple(
        Part(f"run-{piece.first_frame:06}-{piece.key}-{index}.m4s", piece, span)
        for piece in sorted(pieces, key=lambda piece: piece.first_frame)
        for index, span in enumerate(_spans(piece, run.fps, least_s, run.is_joined))
    )
    longest = max(part.span.num_frames for part in parts) / run.fps
    return Edition(
        kind="run",
        fps=run.fps,
        parts=parts,
        revision=len(pieces),
        is_over=revision is not None or run.is_whole or has_ended,
        grows_backward=run.grows_backward,
        is_copied=run.is_joined,
        is_lasting=run.is_joined,
        number=parts[0].piece.section if run.grows_backward else 0,
        longest_s=max(run.longest_s, float(longest)),
    )


def _final(video: Path, *, revision: int) -> Edition:
    found = video.stat()
    key = f"{found.st_mtime_ns:x}"
    try:
        fps, num_frames, copied = _about_video(video, key)
        piece = Piece(video, key, 0, num_frames)
        spans = _spans(piece, fps, _PART_S, copied)
    except FramePackError as error:
        raise NoSuchJob(f"the video of {video.parent.parent.name} cannot be read: {error}") from (
            error
        )
    return Edition(
        kind="final",
        fps=fps,
        parts=tuple(Part(f"final-{key}-{i}.m4s", piece, span) for i, span in enumerate(spans)),
        revision=revision,
        is_over=True,
        grows_backward=False,
        is_copied=copied,
        is_lasting=True,
        number=0,
        longest_s=float(max(span.num_frames for span in spans) / fps),
    )


@lru_cache(maxsize=256)
def _about_video(path: Path, key: str) -> tuple[Fraction, int, bool]:
    info = probe(path)
    return info.fps, info.num_frames, is_copied(path)


@lru_cache(maxsize=4096)
def _spans(piece: Piece, fps: Fraction, least_s: float, copied: bool) -> tuple[Span, ...]:
    """Where a piece is cut: at key frames if its packets are moved, else at equal distances."""
    if copied:
        try:
            return spans_of(piece.path, fps, least_s=least_s)
        except FramePackError as error:
            raise NoSuchJob(f"{piece.path.name} cannot be read: {error}") from error
    length = max(1, round(least_s * fps))
    starts = range(0, piece.num_frames, length)
    return tuple(Span(start, min(length, piece.num_frames - start)) for start in starts)
