"""``framepack submit``: have a server make a video."""

from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.cli.console import say, write, write_json
from framepack.cli.follow import Fetched, check_target, follow
from framepack.cli.options import (
    AudioFile,
    FromVideo,
    JsonFlag,
    NoThumbnail,
    Quiet,
    request_options,
)
from framepack.cli.remote import KeyFile, ServerUrl, connect

__all__ = ["command"]


@request_options
def command(
    *,
    source: FromVideo = None,
    output: Fetched = None,
    audio: AudioFile = None,
    no_thumbnail: NoThumbnail = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--follow",
            show_default=False,
            help="Watch it being made; -o does too.",
        ),
    ] = False,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            metavar="N",
            show_default=False,
            help="Videos with a higher number go first; default: 0.",
        ),
    ] = 0,
    url: ServerUrl = None,
    key_file: KeyFile = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    **fields: Any,
) -> int:
    """Have a server make a video; takes the options of `generate`.

    Prints the video's ID at once, or with -o the path of the video when it is there. Pictures are
    sent along; models and LoRAs are those of the server.
    """
    from framepack.cli.asked import asked_request

    check_target(output)
    extras: dict[str, Any] = {"audio": audio}
    if no_thumbnail:
        extras["thumbnail"] = False
    if output is not None and Path(output).suffix:
        extras["container"] = Path(output).suffix[1:].lower()
    follows = watch or output is not None
    with connect(url, key_file) as client:
        with asked_request(fields, source, output) as request:
            request.require_subject()
            values = request.model_dump(mode="json", exclude_unset=True)
            video = client.create(**values, **extras, priority=priority or None)
        if not follows:
            if as_json:
                write_json(dict(video.raw))
            else:
                write(video.id)
            return 0
        if not quiet:
            say(f"The server makes {video.id}")
        return follow(client, video.id, output=output, as_json=as_json, quiet=quiet)
