"""Encode frames into one video file, by any encoder, complete or not at all.

Shape letters (docs/notation.md): T frames, H W size in pixels.
"""

import logging
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, cast

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
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

from framepack.domain.errors import FramePackError, InvalidRequest, WorkspaceError
from framepack.media.audio import SoundTrack
from framepack.media.codecs import CONTAINERS, VideoFormat, options_for
from framepack.media.files import StrPath, commit, libav_name, partial_path, shown

__all__ = ["VideoWriter", "cannot_write", "create_container", "frame_rate"]

logger = logging.getLogger(__name__)

# x264's output depends on how many threads it uses, so their number must not follow the
# machine's: the same frames give the same file everywhere.
_ENCODER_THREADS = 4

# Exact rounding, and the same bits on every CPU.
_SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

# Frames by which decoding may run ahead of playing: the most there is, and x265's own number.
_LONGEST_REORDERING, _SHORT_REORDERING = 250, 4

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


class VideoWriter:
    """Encode frames into one self-contained video file that starts with a key frame.

    The container follows from the suffix. YUV formats have BT.709 matrix, primaries and
    transfer and limited (16-235) range; the frame rate is constant. Frames are written under
    a temporary name; :meth:`close` gives the file its name, so a file under ``path`` is always
    complete. Used in a ``with`` block, it closes at the end and leaves nothing when the block
    raises.

    Args:
        path: the file to write; its folder is made if missing.
        width, height: frame size in pixels, even.
        fps: frames per second, see :func:`frame_rate`.
        video_format: encoder, its options and the pixel format.
        tags: what the file says about itself.
        audio: a file whose sound goes with the pictures, see :class:`SoundTrack`.
        fast_start: see :func:`create_container`.

    Raises:
        InvalidRequest: odd or too small size, ``fps`` out of range, an encoder that does not
            open or does not go into the container.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        width: int,
        height: int,
        fps: float | Fraction,
        video_format: VideoFormat,
        tags: Mapping[str, str] | None = None,
        audio: StrPath | None = None,
        fast_start: bool = False,
    ) -> None:
        _check_size(width, height)
        options = options_for(video_format, width)
        self.path = Path(path)
        self.num_frames = 0
        self._num_packets = 0
        self._shape = (height, width, 3)
        self._tick = 1 / frame_rate(fps)
        self._temporary = partial_path(self.path)
        self._reformatter = VideoReformatter()
        self._open = True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            container = CONTAINERS[self.path.suffix.lower()]
            self._container = create_container(
                self._temporary, container, 1 / self._tick, fast_start=fast_start
            )
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._format = video_format.pixel_format
        self._is_rgb = av.VideoFormat(self._format).is_rgb
        self._container.metadata.update(tags or {})
        self._sound: SoundTrack | None = None
        self._stream = self._add_stream(video_format, options, width, height)
        if audio is not None:
            self._sound = self._add_sound(audio)

    def write(self, frames: npt.NDArray[np.uint8]) -> None:
        """Encode frames; nothing of them is kept but what the encoder looks ahead.

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
            raise ValueError(f"{shown(self.path)} is closed; open a new VideoWriter")
        try:
            for frame in frames:
                self._mux(self._stream.encode(self._picture(frame)))
                if self._sound is not None:
                    self._sound.advance(self.num_frames * self._tick)
        except OSError as error:
            raise cannot_write(self.path, error) from error

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
            if self._sound is not None:
                self._sound.finish()
            self._container.close()
            commit(self._temporary, self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
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
        if self._sound is not None:
            self._sound.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _add_stream(
        self, video_format: VideoFormat, options: dict[str, str], width: int, height: int
    ) -> VideoStream:
        try:
            stream = cast(
                VideoStream,
                self._container.add_stream(
                    video_format.codec,
                    rate=1 / self._tick,
                    options=options,
                ),
            )
            _set_format(stream, width, height, self._tick, self._format)
        except (av.FFmpegError, ValueError) as error:
            self.abort()
            raise InvalidRequest(
                f"{video_format.codec} does not go into {self.path.suffix}: {error}; choose "
                "another codec or container, .mkv takes nearly all"
            ) from error
        return stream

    def _add_sound(self, path: StrPath) -> SoundTrack:
        try:
            return SoundTrack(path, self._container, self.path.suffix.lower())
        except FramePackError:
            self.abort()
            raise

    def _picture(self, frame: npt.NDArray[np.uint8]) -> av.VideoFrame:
        given = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._is_rgb:
            picture = self._reformatter.reformat(given, format=self._format)
        else:
            picture = self._reformatter.reformat(
                given,
                format=self._format,
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
            pts, dts = packet.pts or 0, packet.dts
            if dts is None or not pts - _LONGEST_REORDERING <= dts <= pts:
                # x265 leaves it uninitialised in clips shorter than its reordering.
                packet.dts = self._num_packets - _SHORT_REORDERING
            self._num_packets += 1
            self._container.mux(packet)


def create_container(
    path: Path, kind: str, fps: Fraction, *, fast_start: bool = False
) -> OutputContainer:
    """Open a container for writing, with a time scale in which frames have whole times.

    Args:
        path: the file.
        kind: libav's name of the container.
        fps: frames per second.
        fast_start: put the index in front, where the container lets it, for players on the web.
    """
    options = {}
    if kind in ("mp4", "mov"):
        # The default, milliseconds, would round the duration of the file.
        ticks = fps.numerator if fps.numerator >= 1000 else fps.numerator * 1000
        options["movie_timescale"] = str(ticks)
        if fast_start:
            options["movflags"] = "+faststart"
    return av.open(libav_name(path), "w", format=kind, options=options)


def cannot_write(path: Path, error: OSError) -> WorkspaceError:
    """The error for a file that the system refused to write."""
    reason = error.strerror or str(error)
    return WorkspaceError(
        f"cannot write {shown(path)}: {reason}; free some space or check the folder"
    )


def _check_size(width: int, height: int) -> None:
    if width < 16 or height < 16 or width % 2 or height % 2:
        raise InvalidRequest(
            f"video size is {width}x{height}, even numbers of 16 or more are needed"
        )


def _set_format(
    stream: VideoStream, width: int, height: int, tick: Fraction, pixel_format: str
) -> None:
    codec = stream.codec_context
    codec.width, codec.height, codec.pix_fmt = width, height, pixel_format
    codec.time_base = tick
    codec.thread_count = _ENCODER_THREADS
    if av.VideoFormat(pixel_format).is_rgb:
        return
    codec.colorspace = Colorspace.ITU709
    codec.color_primaries = ColorPrimaries.BT709
    codec.color_trc = ColorTrc.BT709
    codec.color_range = ColorRange.MPEG
