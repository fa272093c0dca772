"""Options of the commands that make a video of finished ones: how it is encoded."""

from typing import Annotated

import typer

__all__ = ["FILE_PANEL", "Codec", "CodecOptions", "PixelFormat"]

FILE_PANEL = "Video file"

Codec = Annotated[
    str | None,
    typer.Option(
        "--codec",
        metavar="NAME",
        show_default=False,
        rich_help_panel=FILE_PANEL,
        help="Encoder; see `framepack codecs`; default: libx264, or libvpx-vp9 for .webm.",
    ),
]
CodecOptions = Annotated[
    str,
    typer.Option(
        "--codec-options",
        metavar="TEXT",
        show_default=False,
        rich_help_panel=FILE_PANEL,
        help="Options of the encoder, such as crf:18; default: none.",
    ),
]
PixelFormat = Annotated[
    str | None,
    typer.Option(
        "--pixel-format",
        metavar="NAME",
        show_default=False,
        rich_help_panel=FILE_PANEL,
        help="Layout of the file's pixels; default: yuv420p, or the encoder's own.",
    ),
]
