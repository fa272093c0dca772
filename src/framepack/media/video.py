"""Video files: probe them, read their frames; and the door to writing them.

Shape letters (docs/notation.md): T frames, H W size in pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.codecs import ANIMATIONS
from framepack.media.files import (
    StrPath,
    check_output_writable,
    check_readable,
    open_video,
    shown,
)
from framepack.media.metadata import attach_pictures, read_metadata, read_pictures
from framepack.media.segments import SegmentWriter, concat_segments, frame_rate
from framepack.media.sheets import contact_sheet, write_animation, write_thumbnail

__all__ = [
    "SegmentWriter",
    "VideoInfo",
    "attach_pictures",
    "check_output_writable",
    "concat_segments",
    "contact_sheet",
    "frame_rate",
    "probe",
    "read_frame",
    "read_frames",
    "read_metadata",
    "read_pictures",
    "read_timed_frames",
    "write_animation",
    "write_thumbnail",
]

# The same pixels on every CPU; colour is interpolated between the samples of 4:2:0.
_SCALER = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.BITEXACT
)


@dataclass(frozen=True)
class VideoInfo:
    """What a player finds in a file: sizes in pixels, rate in frames per second."""

    width: int
    height: int
    fps: Fraction
    num_frames: int
    duration_s: float
    codec: str
    pixel_format: str

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {**asdict(self), "fps": float(self.fps)}


def probe(path: StrPath) -> VideoInfo:
    """Read a video's properties without decoding it.

    Raises:
        InvalidRequest: missing, damaged, or no video with a frame rate.
    """
    if Path(path).suffix.lower() in ANIMATIONS:
        return _probe_animation(path)
    with open_video(path) as (container, stream):
        fps = stream.average_rate or stream.guessed_rate
        if not fps:
            raise InvalidRequest(
                f"{shown(path)} has no frame rate; give a video with several frames"
            )
        num_frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        if stream.duration is not None and stream.time_base is not None:
            duration = stream.duration * stream.time_base
        else:
            duration = num_frames / fps
        codec = stream.codec_context
        return VideoInfo(
            width=codec.width,
            height=codec.height,
            fps=fps,
            num_frames=num_frames,
            duration_s=float(duration),
            codec=codec.name,
            pixel_format=codec.pix_fmt or "",
        )


def _probe_animation(path: StrPath) -> VideoInfo:
    """What Pillow finds in a repeating picture, whose frames each have a time of their own."""
    with _opened_animation(path) as picture:
        durations_ms = []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            picture.load()  # WebP tells the time of a frame only then
            durations_ms.append(float(picture.info.get("duration", 0)))
        codec = (picture.format or "").lower()
        size = picture.size
    if not sum(durations_ms):
        raise InvalidRequest(f"{shown(path)} has no frame rate; give a video with several frames")
    duration_s = sum(durations_ms) / 1000
    fps = Fraction(round(len(durations_ms) / duration_s, 2)).limit_denominator(100)
    return VideoInfo(*size, fps, len(durations_ms), duration_s, codec, "rgb24")


@contextmanager
def _opened_animation(path: StrPath) -> Iterator[Image.Image]:
    """Open a repeating picture; Pillow's errors inside the block become ours."""
    try:
        with Image.open(check_readable(path, "video")) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidRequest(
            f"{shown(path)} cannot be read as a video ({error}); the file is damaged or of "
            "another kind"
        ) from error


def read_frames(path: StrPath) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a video frame by frame; one frame is in memory at a time.

    Yields:
        [H, W, 3], uint8, RGB, in play order, turned as the file says.

    Raises:
        InvalidRequest: missing, damaged, or no video.
    """
    return (frame for _, frame in read_timed_frames(path))


def read_timed_frames(path: StrPath) -> Iterator[tuple[Fraction, npt.NDArray[np.uint8]]]:
    """The same, each frame with the second at which it is shown; the first is at 0."""
    if Path(path).suffix.lower() in ANIMATIONS:
        yield from _animation_frames(path)
        return
    with open_video(path) as (container, stream):
        to_rgb = VideoReformatter()
        tick, fps = _time_base(stream), stream.average_rate or stream.guessed_rate or Fraction(30)
        start = None
        for index, frame in enumerate(container.decode(stream)):
            time = index / fps if frame.pts is None else frame.pts * tick
            start = time if start is None else start
            yield time - start, _rgb(frame, to_rgb)


def _animation_frames(path: StrPath) -> Iterator[tuple[Fraction, npt.NDArray[np.uint8]]]:
    with _opened_animation(path) as picture:
        time = Fraction(0)
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            frame = np.asarray(picture.convert("RGB"))
            yield time, frame
            time += Fraction(picture.info.get("duration", 0)) / 1000


def read_frame(path: StrPath, index: int) -> npt.NDArray[np.uint8]:
    """Decode one frame of a video with a constant frame rate.

    Args:
        index: 0 for the first frame; -1 for the last, as in a list.

    Returns:
        [H, W, 3], uint8, RGB.

    Raises:
        InvalidRequest: no such frame; missing, damaged, or no video.
    """
    info = probe(path)
    found = index + info.num_frames if index < 0 else index
    if not 0 <= found < info.num_frames:
        raise InvalidRequest(
            f"{shown(path)} has {info.num_frames} frames, number {index} was asked"
        )
    frame = _seek(path, found, info.fps, from_start=False)
    if frame is None:  # the file's index led past it, as it may with reordered frames
        frame = _seek(path, found, info.fps, from_start=True)
    if frame is None:
        raise InvalidRequest(f"{shown(path)} ends before frame {index}; the file is damaged")
    return frame


def _seek(
    path: StrPath, index: int, fps: Fraction, *, from_start: bool
) -> npt.NDArray[np.uint8] | None:
    with open_video(path) as (container, stream):
        tick = 1 / (fps * _time_base(stream))
        wanted = (stream.start_time or 0) + index * tick
        if not from_start:
            container.seek(int(wanted), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts > wanted - tick / 2:
                return _rgb(frame, VideoReformatter()) if frame.pts < wanted + tick / 2 else None
    return None


def _time_base(stream: VideoStream) -> Fraction:
    if stream.time_base is None:
        raise InvalidRequest("the video has no time base; the file is damaged")
    return stream.time_base


def _rgb(frame: av.VideoFrame, to_rgb: VideoReformatter) -> npt.NDArray[np.uint8]:
    picture = to_rgb.reformat(frame, format="rgb24", interpolation=_SCALER)
    pixels = np.asarray(picture.to_ndarray(), dtype=np.uint8)
    turns = round(frame.rotation / 90) % 4  # telephones write how they were held
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
