"""``framepack encode``: raw frames become a video or numbered pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import write
from framepack.cli.frames_bar import frames_bar
from framepack.cli.options import AudioFile, FramesDir, FramesFormat, Quiet

if TYPE_CHECKING:
    from framepack.domain.request import GenerationRequest
    from framepack.media.exports import RawFrames
    from framepack.media.outputs import Outputs

__all__ = ["command"]

_DEFAULT_FPS = 30.0


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FRAMES", show_default=False, help="The safetensors file of `generate --raw`."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.mp4",
            show_default=False,
            help="The file to write: .mp4, .mkv, .mov, .webm, .gif or .webp.",
        ),
    ] = None,
    frames_dir: FramesDir = None,
    frames_format: FramesFormat = "png",
    codec: Annotated[
        str | None,
        typer.Option(
            "--codec",
            metavar="NAME",
            show_default=False,
            help="Encoder; see `framepack codecs`; default: libx264, or libvpx-vp9 for .webm.",
        ),
    ] = None,
    codec_options: Annotated[
        str, typer.Option("--codec-options", metavar="TEXT", help="Options, such as crf:18.")
    ] = "",
    pixel_format: Annotated[
        str | None,
        typer.Option("--pixel-format", metavar="NAME", show_default=False, help="Pixel format."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            metavar="X",
            show_default=False,
            help="Frames per second; default: what the file says, else 30.",
        ),
    ] = None,
    audio: AudioFile = None,
    cv2: Annotated[
        bool,
        typer.Option(
            "--cv2",
            show_default=False,
            help="Have OpenCV write the video, where it is installed; --codec is then one of its "
            "names of four characters; default: mp4v, or VP90 for .webm.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Encode raw frames, to a video by any encoder, to numbered pictures, or both."""
    from framepack.domain.errors import InvalidRequest
    from framepack.domain.request import GenerationRequest
    from framepack.media.exports import open_raw_frames
    from framepack.media.outputs import Outputs

    raw = open_raw_frames(source)
    if output is None and frames_dir is None:
        raise InvalidRequest("nothing to write was asked for; give -o OUT.mp4 or --frames DIR")
    video = Path(output) if output is not None else Path(source).with_suffix(".mp4")
    outputs = Outputs.of(video, frames_dir=frames_dir, frames_format=frames_format, audio=audio)
    wanted: dict[str, Any] = {"codec": codec if output is not None else "none"}
    if cv2:
        _refuse_beside_cv2(output, codec_options, pixel_format, audio)
        wanted["codec"] = None
    asked = GenerationRequest.parse(
        fps=fps if fps is not None else raw.fps or _DEFAULT_FPS,
        codec_options=codec_options,
        pixel_format=pixel_format,
        **wanted,
    )
    outputs.check(asked.codec)
    if cv2:
        _encode_with_opencv(raw, asked.fps, codec, outputs, quiet=quiet)
        return
    if output is not None:
        made = _encode(asked, source, outputs, quiet=quiet)
    _write_frames(raw, outputs, quiet=quiet)
    if output is not None:
        write(made)


def _encode(asked: "GenerationRequest", source: str, outputs: "Outputs", *, quiet: bool) -> str:
    """Write the video; returns where it is."""
    from framepack.finished import encode_frames

    with frames_bar(quiet=quiet) as on_progress:
        made = encode_frames(
            source,
            output=outputs.video,
            fps=asked.fps,
            codec=asked.codec,
            codec_options=asked.codec_options,
            pixel_format=asked.pixel_format,
            audio=outputs.audio,
            on_progress=on_progress,
        )
    for note in () if quiet else made.notes:
        write(note)
    return str(made.path)


def _refuse_beside_cv2(
    output: str | None, codec_options: str, pixel_format: str | None, audio: str | None
) -> None:
    from framepack.domain.errors import InvalidRequest

    if output is None:
        raise InvalidRequest("--cv2 writes a video, and none was asked for; give -o OUT.mp4")
    others = {
        "--codec-options": codec_options,
        "--pixel-format": pixel_format,
        "--audio": audio,
    }
    for option, value in others.items():
        if value:
            raise InvalidRequest(f"OpenCV takes no {option}; leave it or --cv2 out")


def _encode_with_opencv(
    raw: "RawFrames", fps: float, codec: str | None, outputs: "Outputs", *, quiet: bool
) -> None:
    """Write what is wanted, the video by OpenCV, and print where it is."""
    from framepack.media.opencv import check_opencv, write_video_with_opencv

    size = {"width": raw.width, "height": raw.height}
    settled = check_opencv(outputs.video, codec, **size, fps=fps)
    _write_frames(raw, outputs, quiet=quiet)
    frames = _shown(raw, outputs.video.suffix, quiet=quiet)
    write_video_with_opencv(frames, outputs.video, **size, fps=fps, codec=settled)
    write(str(outputs.video))


def _write_frames(raw: "RawFrames", outputs: "Outputs", *, quiet: bool) -> None:
    """Write numbered pictures, where they are wanted."""
    from framepack.media.exports import write_pictures

    if outputs.frames_dir is not None:
        frames = _shown(raw, "frames", quiet=quiet)
        write_pictures(frames, outputs.frames_dir, outputs.video.stem, outputs.frames_suffix)
        write(str(outputs.frames_dir))


def _shown(raw: "RawFrames", what: str, *, quiet: bool) -> Any:
    """The frames, with a bar that shows how far they are read."""
    from rich.console import Console
    from rich.progress import track

    return track(
        raw.frames(),
        f"{what}",
        total=raw.num_frames,
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
    )
