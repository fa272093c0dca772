"""Sound from a file, encoded beside the pictures of a video."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.fifo import AudioFifo
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from framepack.domain.errors import FramePackError, InvalidRequest, WorkspaceError
from framepack.media.files import SELF_CONTAINED, StrPath, check_readable, libav_name, shown

__all__ = ["AUDIO_CODECS", "RATE", "SoundTrack", "check_audio", "read_sound"]

AUDIO_CODECS = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}
"""Suffix of a video file to the encoder of its sound."""

RATE = 48_000
"""Samples per second, of what Opus takes, and every player of AAC."""
_BIT_RATE = 192_000


def check_audio(path: StrPath, video: Path) -> None:
    """Check that a file has sound that goes into a video, by decoding its beginning.

    Raises:
        InvalidRequest: missing, damaged, without sound, or the video's kind cannot carry any.
    """
    suffix = video.suffix.lower()
    if suffix not in AUDIO_CODECS:
        raise InvalidRequest(
            f"a {suffix} file carries no sound; leave --audio out, or write "
            f"{', '.join(AUDIO_CODECS)}"
        )
    with _open(path, InvalidRequest) as container:
        if next(_samples(container, path, InvalidRequest), None) is None:
            raise InvalidRequest(f"the sound in {shown(path)} is empty; give another file")


def read_sound(path: StrPath) -> Iterator[npt.NDArray[np.float32]]:
    """The sound of a video from the moment of its first picture on.

    Yields:
        [N, 2], float32, -1 to 1, at ``RATE`` samples per second.

    Raises:
        WorkspaceError: there is none, or it is damaged.
    """
    with _open(path, WorkspaceError) as container:
        late = round(_begins(container.streams.audio[0]) * RATE)
        if container.streams.video:
            late -= round(_begins(container.streams.video[0]) * RATE)
        if late > 0:
            yield np.zeros((late, 2), np.float32)
        for frame in _samples(container, path, WorkspaceError):
            piece = np.asarray(frame.to_ndarray(), dtype=np.float32).T
            early = min(max(-late, 0), len(piece))
            late += early
            yield piece[early:]


class SoundTrack:
    """The sound of a video that is being written.

    It is encoded piece by piece as the pictures come, ends where the video ends, and falls
    silent where the file is the shorter of the two.

    Args:
        path: any file with sound, as :func:`check_audio` passes it.
        output: the video's container, in which nothing is muxed yet.
        suffix: of the video, a key of ``AUDIO_CODECS``.

    Raises:
        WorkspaceError: the file has vanished or is damaged.
    """

    def __init__(self, path: StrPath, output: OutputContainer, suffix: str) -> None:
        self._output = output
        self._input = _open(path, WorkspaceError)
        self._samples = _samples(self._input, path, WorkspaceError)
        self._waiting = AudioFifo()
        self._num_written = 0
        self._stream = cast(AudioStream, output.add_stream(AUDIO_CODECS[suffix], rate=RATE))
        self._stream.codec_context.layout = "stereo"
        self._stream.codec_context.bit_rate = _BIT_RATE

    def advance(self, time: Fraction | float) -> None:
        """Encode what is heard before a moment of the video, in seconds."""
        wanted = round(time * RATE) - self._num_written
        while self._waiting.samples < wanted and (piece := next(self._samples, None)) is not None:
            piece.pts = None
            self._waiting.write(piece)
        count = min(wanted, self._waiting.samples)
        if count <= 0 or (frame := self._waiting.read(count)) is None:
            return
        frame.pts, frame.time_base = self._num_written, Fraction(1, RATE)
        self._num_written += count
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds back."""
        self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self._input.close()


def _open(path: StrPath, error: type[FramePackError]) -> InputContainer:
    try:
        container = av.open(
            libav_name(check_readable(path, "sound")),
            metadata_errors="replace",
            container_options=dict(SELF_CONTAINED),
        )
    except InvalidRequest as reason:
        raise error(str(reason)) from reason
    except av.FFmpegError as reason:
        raise _damaged(path, reason, error) from reason
    if not container.streams.audio:
        container.close()
        raise error(f"{shown(path)} holds no sound; give a file that does")
    return container


def _samples(
    container: InputContainer, path: StrPath, error: type[FramePackError]
) -> Iterator[av.AudioFrame]:
    """The sound in stereo, at one rate whatever the file has."""
    resampler = AudioResampler(format="fltp", layout="stereo", rate=RATE)
    try:
        for frame in container.decode(container.streams.audio[0]):
            yield from resampler.resample(frame)
        yield from resampler.resample(None)
    except av.FFmpegError as reason:
        raise _damaged(path, reason, error) from reason


def _damaged(path: StrPath, reason: av.FFmpegError, error: type[FramePackError]) -> FramePackError:
    return error(
        f"the sound in {shown(path)} cannot be read ({reason.strerror}); the file is damaged or "
        "of another kind"
    )


def _begins(stream: Stream) -> Fraction:
    """The second at which a stream starts."""
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))
