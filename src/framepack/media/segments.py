"""Encode each frame once, into segments, and join segments without encoding again.

The bi-directional variant renders the end of a video first, so its sections are written as
separate files and put into play order at the end. Memory is flat in the number of segments.
"""

import zlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from framepack.domain.choices import X264_PRESETS
from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.audio import SoundTrack
from framepack.media.codecs import CONTAINERS, h264_format
from framepack.media.files import StrPath, atomic_file, open_video, shown
from framepack.media.metadata import dump_document
from framepack.media.writer import VideoWriter, create_container, frame_rate

__all__ = ["SegmentWriter", "concat_segments", "frame_rate"]


class SegmentWriter(VideoWriter):
    """A :class:`VideoWriter` of H.264 by x264 (yuv420p), whose files can be joined.

    Args:
        path: the MP4 file to write; its folder is made if missing.
        width, height: frame size in pixels, even.
        fps: frames per second, see :func:`frame_rate`.
        crf: x264's constant rate factor, 0 (lossless) to 51; 16 is visually lossless.
        preset: one of ``X264_PRESETS``.

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
        if not 0 <= crf <= 51:
            raise InvalidRequest(f"crf is {crf}, 0 (lossless) to 51 (smallest) is needed")
        if preset not in X264_PRESETS:
            raise InvalidRequest(
                f"x264 has no preset {preset!r}; choose one of {', '.join(X264_PRESETS)}"
            )
        chosen = h264_format(crf, preset)
        super().__init__(path, width=width, height=height, fps=fps, video_format=chosen)


def concat_segments(
    segments: Iterable[StrPath],
    out: StrPath,
    metadata: Mapping[str, Any] | None = None,
    *,
    title: str = "",
    description: str = "",
    audio: StrPath | None = None,
) -> int:
    """Join segments into one video by moving their packets; no frame is encoded again.

    Every frame keeps its pixels and gets its exact time, ``index / fps``. The file index
    stands in front (fast start). ``out`` appears complete or not at all.

    Args:
        segments: files of :class:`SegmentWriter` with equal settings, in play order.
        out: the video to write; its folder is made if missing.
        metadata: a JSON document for the ``comment`` tag; None writes no tag.
        title, description: the tags that players show; empty ones are left out.
        audio: a file whose sound goes with the pictures, see :class:`SoundTrack`.

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
    suffix = Path(out).suffix.lower()
    with (
        atomic_file(out) as temporary,
        create_container(temporary, CONTAINERS[suffix], layout.fps, fast_start=True) as output,
        ExitStack() as stack,
    ):
        output.metadata.update({tag: text for tag, text in tags.items() if text})
        stream = _add_stream(output, paths[0], layout.fps)
        sound = SoundTrack(audio, output, suffix) if audio is not None else None
        if sound is not None:
            stack.callback(sound.close)
        num_frames = 0
        for path in paths:
            num_frames += _copy_segment(path, output, stream, num_frames, delay)
            if sound is not None:
                sound.advance(num_frames / layout.fps)
        if sound is not None:
            sound.finish()
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


def _add_stream(output: OutputContainer, path: Path, fps: Fraction) -> VideoStream:
    """Add a stream like that of a segment."""
    with open_video(path, error=WorkspaceError) as (_, template):
        stream = output.add_stream_from_template(template)
        stream.time_base = 1 / fps
    return stream


def _copy_segment(
    path: Path, output: OutputContainer, stream: VideoStream, offset: int, delay: int
) -> int:
    """Move one segment's packets behind the ``offset`` frames before it; return how many."""
    order = 0
    with open_video(path, error=WorkspaceError) as (source, template):
        tick = 1 / Fraction(template.average_rate or 1)
        for packet in source.demux(template):
            if packet.pts is None:
                continue
            position = int(packet.pts * packet.time_base / tick)
            packet.stream = stream
            packet.time_base = tick
            packet.pts = offset + position
            # Counted afresh: short segments leave x264 too few frames to space them evenly.
            packet.dts = offset + order - delay
            packet.duration = 1
            try:
                output.mux(packet)
            except av.FFmpegError as error:  # about the output: not what open_video answers for
                raise OSError(error.errno, error.strerror) from error
            order += 1
    return order


def _describe(layout: _Layout) -> str:
    parameters = zlib.crc32(layout.parameter_sets or b"")
    return (
        f"{layout.codec} {layout.width}x{layout.height} {layout.pixel_format} "
        f"{float(layout.fps):g} fps, parameter sets {parameters:08x}"
    )
