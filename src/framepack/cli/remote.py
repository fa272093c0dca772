"""What the commands share that talk to a server: its address, its key, and how videos are shown."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framepack.cli.console import one_line
from framepack.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from framepack.client import Client, Video

__all__ = ["KeyFile", "ServerUrl", "VideoId", "connect", "table"]

_SERVER = "Server"
_PROMPT_LENGTH = 40

ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        show_default=False,
        rich_help_panel=_SERVER,
        help="The server's address; default: the settings' url, or FRAMEPACK_URL, "
        "http://127.0.0.1:7860 unless set.",
    ),
]
KeyFile = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        show_default=False,
        rich_help_panel=_SERVER,
        help="File with the key that opens the server; default: the settings' api_key, or "
        "FRAMEPACK_API_KEY.",
    ),
]
VideoId = Annotated[
    str,
    typer.Argument(metavar="ID", show_default=False, help="The video, as `jobs` lists it."),
]


def connect(url: str | None, key_file: str | None) -> "Client":
    """A client for the server that was named.

    Raises:
        InvalidRequest: the address is none, or the file holds no key.
    """
    from framepack.client import Client

    return Client(url, api_key=None if key_file is None else _key_of(Path(key_file)))


def table(videos: "list[Video]") -> list[str]:
    """Videos as lines of columns under a heading."""
    names = ["id", "state", "done", "made", "seconds", "size", "model", "prompt"]
    rows = [names, *(_row(video) for video in videos)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(video: "Video") -> list[str]:
    prompt = one_line(video.prompt)
    if len(prompt) > _PROMPT_LENGTH:
        prompt = f"{prompt[: _PROMPT_LENGTH - 3]}..."
    return [
        video.id,
        video.state,
        f"{video.progress.fraction:.0%}",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(video.created_at)),
        f"{video.seconds:g}",
        video.size,
        video.model,
        prompt,
    ]


def _key_of(path: Path) -> str:
    """The first key of a file: ``KEY`` or ``NAME KEY`` on a line; lines with # are for people."""
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InvalidRequest(f"key file {path} cannot be read: {reason}; check the path") from error
    for line in lines:
        words = line.split()
        if words and not words[0].startswith("#"):
            return words[-1]
    raise InvalidRequest(f"key file {path} holds no key; write it on a line")
