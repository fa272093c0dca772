"""``framepack upscale``: enlarge a finished video by a network."""

from typing import Annotated, Any

import typer

from framepack.cli.console import say, write
from framepack.cli.file_options import FILE_PANEL, Codec, CodecOptions, PixelFormat
from framepack.cli.frames_bar import frames_bar
from framepack.cli.options import Quiet
from framepack.domain.clips import ClipEdit
from framepack.domain.errors import InvalidRequest

__all__ = ["command"]


def command(
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", show_default=False, help="The video file.")
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
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            show_default=False,
            help="Weights of ESRGAN, Real-ESRGAN or what was trained from them, .safetensors or "
            ".pth. They say how many times as large pictures get; default: the settings' "
            "upscaler_weights.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="WxH",
            show_default=False,
            help=ClipEdit.model_fields["size"].description,
        ),
    ] = None,
    tile: Annotated[
        str,
        typer.Option(
            "--tile",
            metavar="PX",
            show_default=False,
            help="Side of the tiles that are computed at a time; smaller ones take less memory, 0 "
            "takes whole frames; default: 256.",
        ),
    ] = "256",
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            show_default=False,
            help="Where to compute: auto, cpu, mps, cuda, xpu, or one of several such as cuda:1; "
            "default: the settings' device, auto unless set.",
        ),
    ] = None,
    codec: Codec = None,
    codec_options: CodecOptions = "",
    pixel_format: PixelFormat = None,
    no_metadata: Annotated[
        bool,
        typer.Option(
            "--no-metadata",
            show_default=False,
            rich_help_panel=FILE_PANEL,
            help="Do not name the video and the weights in the file.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Enlarge a finished video by a network of the ESRGAN family.

    Frames are computed one by one, in tiles that overlap. Sound goes along.
    """
    from framepack.domain.settings import Settings
    from framepack.finished import upscale

    if not tile.isdecimal():
        raise InvalidRequest(f"--tile is {tile!r}; it must be a whole number of pixels, or 0")
    settings = Settings.load(device=device)
    chosen = weights or settings.upscaler_weights
    if chosen is None:
        raise InvalidRequest(
            "no weights were named; give --weights FILE, or set upscaler_weights in the settings"
        )
    fields: dict[str, Any] = {} if size is None else {"size": size}
    with frames_bar(quiet=quiet) as on_progress:
        made = upscale(
            video,
            output=output,
            weights=chosen,
            tile=int(tile),
            device=settings.device,
            embed=not no_metadata,
            on_progress=on_progress,
            codec=codec,
            codec_options=codec_options,
            pixel_format=pixel_format,
            **fields,
        )
    for note in () if quiet else made.notes:
        say(note)
    if not quiet:
        say(f"{made.num_frames} frames, {made.width}x{made.height} px")
    write(str(made.path))
