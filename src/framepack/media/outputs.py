"""What is to be left of a video, checked before any work: codec, container, other forms."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.domain.request import GenerationRequest
from framepack.media.audio import check_audio
from framepack.media.codecs import (
    ANIMATIONS,
    NO_VIDEO,
    VideoFormat,
    check_format,
    choose_encoder,
    video_format,
)
from framepack.media.exports import PICTURE_SUFFIXES, RAW_SUFFIX
from framepack.media.files import VIDEO_SUFFIXES, StrPath, check_output_writable, shown
from framepack.media.stills import STILL_SUFFIXES
from framepack.media.writer import VideoWriter

__all__ = ["Outputs", "check_encoding", "format_of", "output_suffixes", "settle_codec"]

_MAX_GIF_FPS = 50
_DEFAULT_CODEC = "libx264"
_DEFAULT_CODECS = {".webm": "libvpx-vp9"}


@dataclass(frozen=True)
class Outputs:
    """Where everything goes, and the sound that goes with it.

    Attributes:
        video: the video file, or the picture of one frame; names the other files too where
            there is no video.
        frames_dir: folder for numbered pictures of all frames, or None.
        frames_suffix: what kind of pictures, one of ``PICTURE_SUFFIXES``.
        raw: safetensors file for raw frames, or None.
        audio: file whose sound the video gets, or None.
    """

    video: Path
    frames_dir: Path | None = None
    frames_suffix: str = ".png"
    raw: Path | None = None
    audio: Path | None = None

    @classmethod
    def of(
        cls,
        video: StrPath,
        *,
        frames_dir: StrPath | None = None,
        frames_format: str = "png",
        raw: StrPath | None = None,
        audio: StrPath | None = None,
    ) -> Self:
        """What people ask for; ``frames_format`` is png or jpg.

        Raises:
            InvalidRequest: another kind of pictures.
        """
        suffix = f".{frames_format.lower().replace('jpeg', 'jpg')}"
        if suffix not in PICTURE_SUFFIXES:
            raise InvalidRequest(
                f"frames can be png or jpg, not {frames_format!r}; give one of them"
            )
        return cls(Path(video), _path(frames_dir), suffix, _path(raw), _path(audio))

    @property
    def num_forms(self) -> int:
        """How many copies of the frames are written."""
        return 1 + (self.raw is not None) + (self.frames_dir is not None)

    def check(self, codec: str | None, *, one_frame: bool = False) -> None:
        """Check that everything can be written here.

        Args:
            codec: of the request.
            one_frame: one picture is made instead of a video.

        Raises:
            InvalidRequest: a wrong suffix, a place that cannot be written, sound that cannot be
                read, or nothing to write.
        """
        if one_frame:
            self._check_alone()
        if codec != NO_VIDEO:
            check_output_writable(self.video, output_suffixes(one_frame=one_frame))
        elif self.frames_dir is None and self.raw is None:
            raise InvalidRequest(
                "codec none writes no video, and nothing else was asked for; add --frames DIR "
                "or --raw FILE.safetensors"
            )
        if self.raw is not None:
            check_output_writable(self.raw, (RAW_SUFFIX,))
        if self.frames_dir is not None:
            _check_folder(self.frames_dir)
            first = self.frames_dir / f"{self.video.stem}-00000{self.frames_suffix}"
            check_output_writable(first, PICTURE_SUFFIXES)
        if self.audio is not None:
            if codec == NO_VIDEO:
                raise InvalidRequest("sound needs a video; leave --audio or --codec none out")
            check_audio(self.audio, self.video)

    def _check_alone(self) -> None:
        names = {"frames_dir": "--frames", "raw": "--raw", "audio": "--audio"}
        for name, option in names.items():
            if getattr(self, name) is not None:
                raise InvalidRequest(
                    f"one frame (--one-frame) is one picture file and nothing else; leave {option} "
                    "out"
                )

    def to_dict(self) -> dict[str, str | None]:
        """Return JSON-able values; paths become absolute."""
        return {
            name: str(value.absolute()) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, str | None]) -> Self:
        """Read what :meth:`to_dict` gave."""
        read: dict[str, Any] = {
            name: value if name == "frames_suffix" else _path(value)
            for name, value in values.items()
        }
        return cls(**read)


def output_suffixes(*, one_frame: bool) -> tuple[str, ...]:
    """What names of video files, or of the picture of one frame, may end in."""
    return STILL_SUFFIXES if one_frame else VIDEO_SUFFIXES


def format_of(request: GenerationRequest) -> VideoFormat:
    """How a request wants its video encoded."""
    return video_format(
        request.codec or _DEFAULT_CODEC,
        request.codec_options,
        request.pixel_format,
        crf=request.crf,
        preset=request.preset,
    )


def settle_codec(request: GenerationRequest, video: Path) -> tuple[GenerationRequest, str | None]:
    """The request with the encoder that works here, and a line for people if it is another.

    Raises:
        InvalidRequest: an unknown encoder, option or pixel format, or one that the file's kind
            has no use for.
    """
    if request.one_frame:
        return request, None
    suffix = video.suffix.lower()
    if request.codec != NO_VIDEO and suffix in ANIMATIONS:
        own = (request.codec, request.codec_options, request.pixel_format)
        if own != (None, "", None):
            raise InvalidRequest(
                f"a {suffix} file has a codec of its own; leave --codec, --codec-options and "
                "--pixel-format out, or choose another kind of file"
            )
        if suffix == ".gif" and request.fps > _MAX_GIF_FPS:
            raise InvalidRequest(
                f"a .gif shows at most {_MAX_GIF_FPS} frames/s, {request.fps:g} were asked for; "
                "lower --fps or write .webp"
            )
        return request, None
    encoder, line = choose_encoder(request.codec or _DEFAULT_CODECS.get(suffix, _DEFAULT_CODEC))
    if encoder == NO_VIDEO:
        return request, None
    settled = request.model_copy(update={"codec": encoder})
    check_format(format_of(settled))
    return settled, line


def check_encoding(
    request: GenerationRequest, video: Path, *, width: int, height: int, fps: float | Fraction
) -> None:
    """Encode two black frames as the video will be, into a file that is thrown away.

    Animated pictures, and the picture of one frame, need no encoder.

    Raises:
        InvalidRequest: the codec does not go into the container or refuses the size.
    """
    is_encoded = not request.one_frame and request.codec != NO_VIDEO
    if not is_encoded or video.suffix.lower() in ANIMATIONS:
        return
    chosen = format_of(request)
    with tempfile.TemporaryDirectory(prefix="framepack-") as folder:
        path = Path(folder) / f"trial{video.suffix.lower()}"
        try:
            with VideoWriter(
                path, width=width, height=height, fps=fps, video_format=chosen
            ) as writer:
                writer.write(np.zeros((2, height, width, 3), dtype=np.uint8))
        except (OSError, ValueError, WorkspaceError, av.FFmpegError) as error:
            raise InvalidRequest(
                f"encoder {request.codec} cannot write {width}x{height} px to "
                f"{shown(video.name)}: {_reason(error)}; choose another codec or container, "
                ".mkv takes nearly all"
            ) from error


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InvalidRequest(f"{shown(path)} is a file; name a folder for the frames")


def _path(value: StrPath | None) -> Path | None:
    return Path(value) if value is not None else None


def _reason(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, WorkspaceError) else error
    return str(getattr(cause, "strerror", None) or cause)
