"""``framepack jobs`` and ``framepack cancel``: what a server makes and made."""

from itertools import islice
from typing import Annotated

import typer

from framepack.cli.console import one_line, say, write, write_json
from framepack.cli.options import JsonFlag, check_at_least
from framepack.cli.remote import KeyFile, ServerUrl, connect, table
from framepack.domain.errors import FramePackError

__all__ = ["cancel", "jobs"]


def jobs(
    *,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", show_default=False, help="Videos to list at most; default: 20."
        ),
    ] = 20,
    url: ServerUrl = None,
    key_file: KeyFile = None,
    as_json: JsonFlag = False,
) -> None:
    """List the videos of a server, the newest first."""
    check_at_least("--limit", limit, 1)
    with connect(url, key_file) as client:
        videos = list(islice(client.list(page_size=min(limit, 100)), limit))
    if as_json:
        write_json([dict(video.raw) for video in videos], indent=2)
    elif not videos:
        say("There are no videos yet.")
    else:
        for line in table(videos):
            write(line)


def cancel(
    video_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", show_default=False, help="Videos, as `jobs` lists them."),
    ],
    *,
    url: ServerUrl = None,
    key_file: KeyFile = None,
) -> int:
    """Have a server stop making videos; one that runs stops within a step.

    What is finished of them is kept, and a retry goes on from there.
    """
    code = 0
    with connect(url, key_file) as client:
        for video_id in video_ids:
            try:
                video = client.cancel(video_id)
            except FramePackError as error:
                say(f"Error: {one_line(str(error))}")
                code = max(code, error.exit_code)
            else:
                write(f"{video.id} {'stops' if video.state == 'running' else video.state}")
    return code
