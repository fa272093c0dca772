"""``framepack follow``: watch a server make a video, and fetch it."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import say, write, write_json
from framepack.cli.options import JsonFlag, Quiet
from framepack.cli.progress import Display, choose_display, summary_line
from framepack.cli.remote import KeyFile, ServerUrl, VideoId, connect
from framepack.cli.stop import CANCELLED, StopRequest
from framepack.domain.errors import FramePackError
from framepack.domain.events import EVENTS, Event, Finished

if TYPE_CHECKING:
    from framepack.client import Client, Video, VideoEvent

__all__ = ["Fetched", "check_target", "command", "follow"]

_KINDS = {kind.__name__: kind for kind in EVENTS}
_SAID = {
    "Started": "The server begins.",
    "Resumed": "The server goes on where it stopped.",
    "Retried": "It failed and is tried again: {message}",
    "Paused": "It is paused; it goes on when somebody lets it.",
}

Fetched = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.mp4",
        show_default=False,
        help="Wait for the video and write it here; an existing file is replaced; default: it "
        "stays on the server.",
    ),
]


def command(
    video_id: VideoId,
    *,
    output: Fetched = None,
    url: ServerUrl = None,
    key_file: KeyFile = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> int:
    """Watch a video being made by a server, and fetch it.

    Ctrl-C stops watching; the server goes on. With --json the video's log, one event per line.
    """
    check_target(output)
    with connect(url, key_file) as client:
        return follow(client, video_id, output=output, as_json=as_json, quiet=quiet)


def check_target(output: str | None) -> None:
    """See that a file can be written before a video is waited for.

    Raises:
        FramePackError: there is no such folder.
    """
    if output is not None and not Path(output).absolute().parent.is_dir():
        raise FramePackError(f"there is no folder {Path(output).parent}; make it first")


def follow(
    client: "Client", video_id: str, *, output: str | None, as_json: bool, quiet: bool
) -> int:
    """Show a video's log until it has ended, then fetch the video.

    Returns:
        The exit code.

    Raises:
        FramePackError: it was not made, or cannot be fetched.
    """
    from framepack.client import VideoNotMade

    with StopRequest():
        try:
            with choose_display(as_json=False, quiet=as_json or quiet, is_local=False) as display:
                for event in client.events(video_id):
                    if as_json:
                        write_json(_as_line(event))
                    elif not quiet:
                        _show(display, event)
            video = client.get(video_id)
            if video.state != "completed":
                raise VideoNotMade(video)
            if output is not None:
                _check_suffix(video, output)
                path = client.download(video_id, output)
                if not as_json:
                    write(str(path))
        except KeyboardInterrupt:
            say(
                f"No longer watching; the server goes on. Watch again with: framepack follow "
                f"{video_id}, or stop it with: framepack cancel {video_id}"
            )
            return CANCELLED
    return 0


def _check_suffix(video: "Video", output: str) -> None:
    """A file's name must not promise another format than it has."""
    made = Path(str(dict(video.raw.get("output") or {}).get("video") or "")).suffix
    asked = Path(output).suffix.lower()
    if made and asked and made != asked:
        raise FramePackError(
            f"{video.id} is a {made} file, but {output} names another kind; fetch it with: "
            f"framepack follow {video.id} -o {Path(output).with_suffix(made)}"
        )


def _show(display: Display, event: "VideoEvent") -> None:
    if event.kind in _SAID:
        say(_SAID[event.kind].format_map({"message": "", **event.data}))
        return
    known = _pipeline_event(event.kind, event.data)
    if isinstance(known, Finished):
        say(summary_line(known))
    elif known is not None:
        display.show(known)


def _as_line(event: "VideoEvent") -> dict[str, Any]:
    return {"event": event.kind, "seq": event.seq, "at": event.at, **event.data}


def _pipeline_event(kind: str, data: Mapping[str, Any]) -> Event | None:
    """The event that the server passed on; None for one that this version does not know."""
    if kind not in _KINDS:
        return None
    names = [field.name for field in fields(_KINDS[kind])]
    values = {name: data[name] for name in names if name in data}
    try:
        return Event.from_dict({"elapsed_s": 0.0, **values, "event": kind})
    except FramePackError:
        return None
