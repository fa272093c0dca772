"""Encode each frame once, into segments, and join segments without encoding again.

The bi-directional variant renders the end of a video first, so its sections are written as
separate files and put into play order at the end. Memory is flat in the number of segments.
"""

import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from av.video.stream import VideoStream

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.files import (
    StrPath,
    atomic_file,
    commit,
    libav_name,
    open_video,
    partial_path,
    shown,
)
from framepack.media.metadata import dump_document

__all__ = ["PRESETS", "SegmentWriter", "concat_segments", "frame_rate"]

logger = logging.getLogger(__name__)

PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
"""x264's presets, fastest first; slower ones make smaller files of the same quality."""

# x264's output depends on how many threads it uses, so their number must not follow the
# machine's: the same frames give the same file everywhere.
_ENCODER_THREADS = 4

# Exact rounding, and the same bits on every CPU.
_SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

_NTSC_RATES = (24, 30, 48, 60, 120, 240)


def frame_rate(fps: float | Fraction) -> Fraction:
    """The exact rate behind a number people type: 29.97 is 30000/1001, 12.5 is 25/2.

    Args:
        fps: frames per second, above 0, up to 1000. A Fraction is taken as it is.

    Raises:
        InvalidRequest: not a number, zero, negative or above 1000.
    """
    if not 0 < fps <= 1000:  # also refuses NaN
        raise InvalidRequest(f"{fps} frames per second were asked, 1 to 1000 are possible")
    if isinstance(fps, Fraction):
        return fps
    for nominal in _NTSC_RATES:
        ntsc = Fraction(nominal * 1000, 1001)
        if abs(fps - ntsc) < 0.005:
            return ntsc
    return Fraction(fps).limit_denominator(1000)


class SegmentWriter:
    """Encode frames into one self-contained H.264 MP4 file that starts with a key frame.

    yuv420p, BT.709 matrix, primaries and transfer, limited (16-235) range, constant frame
    rate. Frames are written under a temporary name; :meth:`close` gives the file its name,
    so a file under ``path`` is always complete. Used in a ``with`` block, it closes at the
    end and leaves nothing when the block raises.

    Args:
        path: the file to write; its folder is made if missing.
        width, height: frame size in pixels, even.
        fps: frames per second, see :func:`frame_rate`.
        crf: x264's constant rate factor, 0 (lossless) to 51; 16 is visually lossless.
        preset: one of ``PRESETS``.

    Raises:
        InvalidRequest: odd size, unknown preset, ``crf`` or ``fps`` out of range.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        width: int,
        height: int,
        fps: float | Fraction,
        crf: int = 16,
        preset: str = "medium",
    ) -> None:
        _check_settings(width, height, crf, preset)
        self.path = Path(path)
        self.num_frames = 0
        self._shape = (height, width, 3)
        self._tick = 1 / frame_rate(fps)
        self._temporary = partial_path(self.path)
        self._to_yuv = VideoReformatter()
        self._open = True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = _create(self._temporary, 1 / self._tick)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        # With x264's macroblock tree the same frames gave other pixels from one encoding to the
        # next (seen on an AVX-512 processor), and a resumed run would differ from a whole one.
        options = {"crf": str(crf), "preset": preset, "x264-params": "mbtree=0"}
        self._stream: VideoStream = self._container.add_stream(
            "libx264", rate=1 / self._tick, options=options
        )
        _set_format(self._stream, width, height, self._tick)

    def write(self, frames: npt.NDArray[np.uint8]) -> None:
        """Encode frames; nothing of them is kept but what x264 looks ahead.

        Args:
            frames: [T, H, W, 3], uint8, RGB.

        Raises:
            ValueError: another shape or type, or the writer is closed.
            WorkspaceError: the disk is full.
        """
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != self._shape:
            raise ValueError(
                f"frames are {frames.dtype} {list(frames.shape)}, uint8 "
                f"[T, {', '.join(map(str, self._shape))}] is needed"
            )
        if not self._open:
            raise ValueError(f"{shown(self.path)} is closed; open a new SegmentWriter")
        try:
            for frame in frames:
                self._mux(self._stream.encode(self._picture(frame)))
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self) -> int:
        """Finish the file, give it its name, and return its number of frames.

        Closing again does nothing.

        Raises:
            ValueError: no frame was written; nothing is left behind.
            WorkspaceError: the file system refused.
        """
        if not self._open:
            return self.num_frames
        if self.num_frames == 0:
            self.abort()
            raise ValueError(
                f"no frame was written to {shown(self.path)}; a segment needs at least one"
            )
        try:
            self._mux(self._stream.encode(None))
            self._container.close()
            commit(self._temporary, self.path)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        finally:
            self.abort()
        return self.num_frames

    def abort(self) -> None:
        """Drop what was written; a file that :meth:`close` completed stays."""
        self._open = False
        try:
            self._container.close()
        except av.FFmpegError as error:
            logger.debug("closing the dropped %s: %s", self._temporary, error)
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _picture(self, frame: npt.NDArray[np.uint8]) -> av.VideoFrame:
        picture = self._to_yuv.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=_SCALER,
        )
        picture.pts, picture.time_base = self.num_frames, self._tick
        self.num_frames += 1
        return picture

    def _mux(self, packets: Iterable["Packet[Any]"]) -> None:
        for packet in packets:
            packet.duration = 1  # x264 leaves it open, and a lone frame has no next one to tell
            self._container.mux(packet)


def concat_segments(
    segments: Iterable[StrPath],
    out: StrPath,
    metadata: Mapping[str, Any] | None = None,
    *,
    title: str = "",
    description: str = "",
) -> int:
    """Join segments into one MP4 by moving their packets; no frame is encoded again.

    Every frame keeps its pixels and gets its exact time, ``index / fps``. The file index
    stands in front (fast start). ``out`` appears complete or not at all.

    Args:
        segments: files of :class:`SegmentWriter` with equal settings, in play order.
        out: the video to write; its folder is made if missing.
        metadata: a JSON document for the ``comment`` tag; None writes no tag.
        title, description: the tags that players show; empty ones are left out.

    Returns:
        The number of frames in ``out``.

    Raises:
        ValueError: no segment.
        WorkspaceError: a segment is missing, damaged or unlike the first; disk full.
    """
    paths = [Path(segment) for segment in segments]
    if not paths:
        raise ValueError(f"no segment for {shown(out)}; at least one is needed")
    layout, delay = _common_layout(paths)
    tags = {"title": title, "description": description}
    if metadata is not None:
        tags["comment"] = dump_document(metadata)
    num_frames = 0
    with (
        atomic_file(out) as temporary,
        _create(temporary, layout.fps, movflags="+faststart") as output,
    ):
        output.metadata.update({tag: text for tag, text in tags.items() if text})
        stream: VideoStream | None = None
        for path in paths:
            with open_video(path, error=WorkspaceError) as (source, template):
                if stream is None:
                    stream = output.add_stream_from_template(template)
                    stream.time_base = 1 / layout.fps
                num_frames += _copy_packets(source, template, output, stream, num_frames, delay)
    return num_frames


@dataclass(frozen=True)
class _Layout:
    """What segments must share so that one decoder set-up plays them all."""

    codec: str
    width: int
    height: int
    pixel_format: str | None
    fps: Fraction
    colours: tuple[int, ...]
    parameter_sets: bytes | None


def _common_layout(paths: list[Path]) -> tuple[_Layout, int]:
    """The layout all segments share, and the largest reordering delay in frames."""
    first, delay = _scan(paths[0])
    for path in paths[1:]:
        layout, own_delay = _scan(path)
        if layout != first:
            raise WorkspaceError(
                f"segment {shown(path)} ({_describe(layout)}) does not continue {shown(paths[0])} "
                f"({_describe(first)}); render it again with the same settings"
            )
        delay = max(delay, own_delay)
    return first, delay


def _scan(path: Path) -> tuple[_Layout, int]:
    """Read a segment's index: check for frames 0..n-1 that start with a key frame."""
    with open_video(path, error=WorkspaceError) as (container, stream):
        fps = stream.average_rate
        if not fps:
            raise WorkspaceError(f"segment {shown(path)} holds no frame; render it again")
        positions: list[Fraction] = []  # play position of each packet, in decoding order
        key_frame_first = False
        for packet in container.demux(stream):
            if packet.pts is None:
                continue  # the empty packet that ends a stream
            if not positions:
                key_frame_first = packet.is_keyframe
            positions.append(packet.pts * packet.time_base * fps)
        if not key_frame_first or sorted(positions) != list(range(len(positions))):
            raise WorkspaceError(
                f"segment {shown(path)} has no constant frame rate from a key frame on; "
                "render it again"
            )
        delay = max(int(order - position) for order, position in enumerate(positions))
        return _layout(stream, fps), delay


def _layout(stream: VideoStream, fps: Fraction) -> _Layout:
    codec = stream.codec_context
    return _Layout(
        codec=codec.name,
        width=codec.width,
        height=codec.height,
        pixel_format=codec.pix_fmt,
        fps=fps,
        colours=(codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range),
        parameter_sets=codec.extradata,
    )


def _copy_packets(
    source: InputContainer,
    template: VideoStream,
    output: OutputContainer,
    stream: VideoStream,
    offset: int,
    delay: int,
) -> int:
    """Move one segment's packets behind the ``offset`` frames before it; return how many."""
    tick = 1 / Fraction(template.average_rate or 1)
    order = 0
    for packet in source.demux(template):
        if packet.pts is None:
            continue
        position = int(packet.pts * packet.time_base / tick)
        packet.stream = stream
        packet.time_base = tick
        packet.pts = offset + position
        # Counted afresh, because short segments leave x264 too few frames to space them evenly.
        packet.dts = offset + order - delay
        packet.duration = 1
        try:
            output.mux(packet)
        except av.FFmpegError as error:  # about the output: not what open_video answers for
            raise OSError(error.errno, error.strerror) from error
        order += 1
    return order


def _check_settings(width: int, height: int, crf: int, preset: str) -> None:
    if width < 16 or height < 16 or width % 2 or height % 2:
        raise InvalidRequest(
            f"video size is {width}x{height}, even numbers of 16 or more are needed"
        )
    if not 0 <= crf <= 51:
        raise InvalidRequest(f"crf is {crf}, 0 (lossless) to 51 (smallest) is needed")
    if preset not in PRESETS:
        raise InvalidRequest(f"x264 has no preset {preset!r}; choose one of {', '.join(PRESETS)}")


def _create(path: Path, fps: Fraction, **options: str) -> OutputContainer:
    # The default, milliseconds, would round the duration of the file.
    ticks = fps.numerator if fps.numerator >= 1000 else fps.numerator * 1000
    options = {"movie_timescale": str(ticks), **options}
    return av.open(libav_name(path), "w", format="mp4", options=options)


def _set_format(stream: VideoStream, width: int, height: int, tick: Fraction) -> None:
    codec = stream.codec_context
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = tick
    codec.thread_count = _ENCODER_THREADS
    codec.colorspace = Colorspace.ITU709
    codec.color_primaries = ColorPrimaries.BT709
    codec.color_trc = ColorTrc.BT709
    codec.color_range = ColorRange.MPEG


def _cannot_write(path: Path, error: OSError) -> WorkspaceError:
    reason = error.strerror or str(error)
    return WorkspaceError(
        f"cannot write {shown(path)}: {reason}; free some space or check the folder"
    )


def _describe(layout: _Layout) -> str:
    parameters = zlib.crc32(layout.parameter_sets or b"")
    return (
        f"{layout.codec} {layout.width}x{layout.height} {layout.pixel_format} "
        f"{float(layout.fps):g} fps, parameter sets {parameters:08x}"
    )
