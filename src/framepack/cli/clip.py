"""``framepack clip``: cut and join finished videos."""

from typing import Annotated, Any

import typer

from framepack.cli.console import say, write
from framepack.cli.file_options import FILE_PANEL, Codec, CodecOptions, PixelFormat
from framepack.cli.frames_bar import frames_bar
from framepack.cli.options import Quiet
from framepack.domain.clips import ClipEdit

__all__ = ["command"]

_CUT, _TIME = "What is kept", "In which time"


def _option(name: str, metavar: str | None, panel: str) -> Any:
    """An option whose name and help are the schema's."""
    field = ClipEdit.model_fields[name]
    assert isinstance(field.json_schema_extra, dict)
    return typer.Option(
        str(field.json_schema_extra["option"]),
        metavar=metavar,
        help=field.description,
        show_default=False,
        rich_help_panel=panel,
    )


def command(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...", show_default=False, help="One or several videos, joined in order."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.mp4",
            show_default=False,
            rich_help_panel=FILE_PANEL,
            help="The file to write: .mp4, .mkv, .mov, .webm, .gif or .webp.",
        ),
    ],
    start_s: Annotated[str | None, _option("start_s", "S", _CUT)] = None,
    end_s: Annotated[str | None, _option("end_s", "S", _CUT)] = None,
    crop: Annotated[str | None, _option("crop", "WxH+X+Y", _CUT)] = None,
    filters: Annotated[list[str] | None, _option("filters", "FILTER", _CUT)] = None,
    size: Annotated[str | None, _option("size", "WxH", _CUT)] = None,
    crossfade_s: Annotated[str | None, _option("crossfade_s", "S", _TIME)] = None,
    speed: Annotated[str | None, _option("speed", "X", _TIME)] = None,
    fps: Annotated[str | None, _option("fps", "X", _TIME)] = None,
    interpolate: Annotated[bool | None, _option("interpolate", None, _TIME)] = None,
    interpolation: Annotated[str | None, _option("interpolation", "NAME", _TIME)] = None,
    reverse: Annotated[bool | None, _option("reverse", None, _TIME)] = None,
    ping_pong: Annotated[bool | None, _option("ping_pong", None, _TIME)] = None,
    loop: Annotated[str | None, _option("loop", "N", _TIME)] = None,
    codec: Codec = None,
    codec_options: CodecOptions = "",
    pixel_format: PixelFormat = None,
    audio: Annotated[
        str | None,
        typer.Option(
            "--audio",
            metavar="FILE",
            show_default=False,
            rich_help_panel=FILE_PANEL,
            help="File whose sound takes the place of the videos' own; default: theirs.",
        ),
    ] = None,
    no_audio: Annotated[
        bool,
        typer.Option(
            "--no-audio",
            show_default=False,
            rich_help_panel=FILE_PANEL,
            help="Leave the sound out.",
        ),
    ] = False,
    no_metadata: Annotated[
        bool,
        typer.Option(
            "--no-metadata",
            show_default=False,
            rich_help_panel=FILE_PANEL,
            help="Do not name the edit and its videos in the file.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Join, trim, crop, filter, speed up, reverse or repeat finished videos.

    Videos of another size or rate are fitted to the first one. Sound goes along, at the speed
    of the pictures, except backward.
    """
    from framepack.finished import edit_clip

    given: dict[str, Any] = {
        "start_s": start_s,
        "end_s": end_s,
        "crop": crop,
        "filters": filters or None,
        "size": size,
        "crossfade_s": crossfade_s,
        "speed": speed,
        "fps": fps,
        "interpolate": interpolate,
        "interpolation": interpolation,
        "reverse": reverse,
        "ping_pong": ping_pong,
        "loop": loop,
    }
    with frames_bar(quiet=quiet) as on_progress:
        made = edit_clip(
            videos,
            output=output,
            codec=codec,
            codec_options=codec_options,
            pixel_format=pixel_format,
            audio=audio,
            sound=not no_audio,
            embed=not no_metadata,
            on_progress=on_progress,
            **{name: value for name, value in given.items() if value is not None},
        )
    for note in () if quiet else made.notes:
        say(note)
    if not quiet:
        say(
            f"{made.num_frames} frames ({made.duration_s:.2f} s at {float(made.fps):g} fps), "
            f"{made.width}x{made.height} px"
        )
    write(str(made.path))
