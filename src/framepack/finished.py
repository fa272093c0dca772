"""The Python face for finished videos: cut, join, enlarge and encode them.

Bad input is refused before a file is written. Importing this module imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.domain.clips import ClipEdit
from framepack.domain.errors import InvalidRequest, as_bad_input

if TYPE_CHECKING:
    from framepack.domain.request import GenerationRequest
    from framepack.media.clip_frames import Enlarger
    from framepack.media.clips import ClipJob
    from framepack.media.files import StrPath

__all__ = ["Clip", "edit_clip", "encode_frames", "upscale"]

_SMALLEST_TILE = 16
_DEFAULT_FPS = 30.0


@dataclass(frozen=True)
class Clip:
    """A video that was written.

    Attributes:
        path: the file.
        width, height: pixels.
        fps: frames per second.
        num_frames: its frames.
        notes: lines that people should see.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    num_frames: int
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return float(self.num_frames / self.fps)


def edit_clip(
    videos: "StrPath | Sequence[StrPath]",
    *,
    output: "StrPath",
    edit: ClipEdit | None = None,
    codec: str | None = None,
    codec_options: str = "",
    pixel_format: str | None = None,
    audio: "StrPath | None" = None,
    sound: bool = True,
    embed: bool = True,
    on_progress: Callable[[int, int], object] | None = None,
    **fields: Any,
) -> Clip:
    """Join, trim, crop, filter, scale, speed up, reverse or repeat finished videos.

    Args:
        videos: one or several, which are joined. Those of another size or rate than the first
            are fitted to it.
        output: the file to write: mp4, mkv, mov, webm, gif or webp by its suffix.
        edit: what to do, or None to build it from ``fields``.
        codec: encoder, as in a request.
        codec_options: options of the encoder, such as ``crf:18``.
        pixel_format: layout of the file's pixels.
        audio: a file whose sound takes the place of the videos' own.
        sound: False for no sound.
        embed: name the edit and its videos, with their requests, in the file.
        on_progress: called with frames done and frames in all.
        fields: fields of ``ClipEdit``.

    Raises:
        InvalidRequest: bad input; nothing was written.
        WorkspaceError: the disk is full or cannot be written.
    """
    from framepack.media.clips import plan_clip

    many = [videos] if isinstance(videos, str) or hasattr(videos, "__fspath__") else list(videos)
    asked = ClipEdit.parse(**({} if edit is None else dict(edit)) | fields)
    encoding = {"codec": codec, "codec_options": codec_options, "pixel_format": pixel_format}
    job = plan_clip(many, output, asked, encoding=encoding, audio=audio, sound=sound)
    return _written(job, embed=embed, on_progress=on_progress)


def upscale(
    video: "StrPath",
    *,
    output: "StrPath",
    weights: "StrPath",
    tile: int = 256,
    device: str = "auto",
    embed: bool = True,
    on_progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> Clip:
    """Enlarge a finished video by a network of the ESRGAN family.

    Args:
        video: the video; its sound goes along.
        output: the file to write.
        weights: of the network, .safetensors or .pth; scale and layout follow from them.
        tile: side of the tiles that are computed at a time, in pixels; 0 takes whole frames.
        device: where to compute, see ``Settings.device``.
        embed: name the video, its request and the weights in the file.
        on_progress: called with frames done and frames in all.
        options: ``codec``, ``codec_options``, ``pixel_format``, ``audio`` and ``sound`` of
            :func:`edit_clip`, and fields of ``ClipEdit``.

    Raises:
        InvalidRequest: bad input; nothing was written.
        CheckpointError: the weights are damaged or of another network; nothing was written.
        WorkspaceError: the disk is full or cannot be written.
    """
    from framepack.media.clip_frames import open_source
    from framepack.media.clips import plan_clip

    if tile < 0 or 0 < tile < _SMALLEST_TILE:
        raise InvalidRequest(
            f"tile (--tile) is {tile}; it must be 0, for whole frames, or at least "
            f"{_SMALLEST_TILE} pixels"
        )
    open_source(video)  # before torch is imported, which takes seconds
    names = ("codec", "codec_options", "pixel_format")
    encoding = {name: options.pop(name) for name in names if name in options}
    given = {name: options.pop(name) for name in ("audio", "sound") if name in options}
    asked = ClipEdit.parse(**options)
    enlarger = _enlarger(Path(weights), tile, device)
    job = plan_clip([video], output, asked, encoding=encoding, enlarger=enlarger, **given)
    return _written(job, embed=embed, on_progress=on_progress)


def encode_frames(
    frames: "StrPath",
    *,
    output: "StrPath",
    fps: float | None = None,
    codec: str | None = None,
    codec_options: str = "",
    pixel_format: str | None = None,
    audio: "StrPath | None" = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Clip:
    """Encode raw frames to a video, which carries their request with its new encoding.

    Args:
        frames: the safetensors file of a generation's raw frames.
        output: the file to write: mp4, mkv, mov, webm, gif or webp by its suffix.
        fps: frames per second; None for what the file says, else 30.
        codec: encoder, as in a request.
        codec_options: options of the encoder, such as ``crf:18``.
        pixel_format: layout of the file's pixels.
        audio: a file whose sound the video gets.
        on_progress: called with frames done and frames in all.

    Raises:
        InvalidRequest: bad input; nothing was written.
        WorkspaceError: the disk is full or cannot be written.
    """
    from framepack.domain.request import GenerationRequest
    from framepack.media.codecs import NO_VIDEO
    from framepack.media.encode import write_video
    from framepack.media.exports import open_raw_frames
    from framepack.media.outputs import Outputs, check_encoding, format_of, settle_codec
    from framepack.media.writer import frame_rate

    raw = open_raw_frames(frames)
    outputs = Outputs.of(output, audio=audio)
    encoding = {"codec": codec, "codec_options": codec_options, "pixel_format": pixel_format}
    rate = fps if fps is not None else raw.fps or _DEFAULT_FPS
    asked = GenerationRequest.parse(fps=rate, **encoding)
    if asked.codec == NO_VIDEO:
        raise InvalidRequest("what is encoded is a video; leave --codec none out")
    outputs.check(asked.codec)
    asked, line = settle_codec(asked, outputs.video)
    check_encoding(asked, outputs.video, width=raw.width, height=raw.height, fps=asked.fps)
    step = _counted(on_progress, raw.num_frames)
    write_video(
        _telling(raw.frames(), step),
        outputs.video,
        width=raw.width,
        height=raw.height,
        fps=asked.fps,
        video_format=format_of(asked),
        document=_encoded_again(raw.document, asked),
        audio=outputs.audio,
    )
    notes = () if line is None else (line,)
    size = {"width": raw.width, "height": raw.height}
    return Clip(
        outputs.video, **size, fps=frame_rate(asked.fps), num_frames=raw.num_frames, notes=notes
    )


def _encoded_again(document: dict[str, Any], asked: "GenerationRequest") -> dict[str, Any] | None:
    """What raw frames say about themselves, with the encoding that they get."""
    if not isinstance(document.get("request"), dict):
        return None
    names = ("codec", "codec_options", "pixel_format")
    encoding = {name: getattr(asked, name) for name in names}
    return {**document, "request": {**document["request"], **encoding}}


def _telling(frames: Iterator[Any], step: Callable[[], object] | None) -> Iterator[Any]:
    """The frames, with a word after each."""
    for frame in frames:
        yield frame
        if step is not None:
            step()


def _enlarger(weights: Path, tile: int, device: str) -> "Enlarger":
    """Load the network and say what it does to frames."""
    from functools import partial

    from framepack.media.clip_frames import Enlarger
    from framepack.media.upscale import upscale_frames
    from framepack.pipeline.device import choose_device
    from framepack.weights.hashing import sha256_file
    from framepack.weights.upscaler_files import load_upscaler

    chosen = choose_device(device)
    with as_bad_input():
        network = load_upscaler(weights, device=chosen)
    return Enlarger(
        scale=network.scale,
        frames=partial(upscale_frames, network=network, tile=tile, device=chosen),
        document={
            "weights": weights.name,
            "sha256": sha256_file(weights),
            "scale": network.scale,
        },
    )


def _written(
    job: "ClipJob", *, embed: bool, on_progress: Callable[[int, int], object] | None
) -> Clip:
    import framepack
    from framepack.media.clips import write_clip

    document = {**job.document(), "version": framepack.__version__} if embed else None
    write_clip(job, document=document, on_step=_counted(on_progress, job.num_steps))
    return Clip(
        path=job.outputs.video,
        width=job.size.width,
        height=job.size.height,
        fps=job.fps,
        num_frames=job.length.num_frames,
        notes=job.notes,
    )


def _counted(
    on_progress: Callable[[int, int], object] | None, total: int
) -> Callable[[], object] | None:
    """What counts steps for somebody who wants to know how many are done."""
    if on_progress is None:
        return None
    numbers = iter(range(1, total + 1))
    return lambda: on_progress(next(numbers), total)
