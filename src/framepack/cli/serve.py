"""``framepack serve``: the engine as a service."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from framepack.cli.console import say, write
from framepack.cli.machine_options import machine_options
from framepack.cli.options import Quiet
from framepack.cli.reach import answers, far_addresses, open_browser
from framepack.domain.errors import InvalidRequest

if TYPE_CHECKING:
    import socket

    from framepack.domain.settings import Settings
    from framepack.service.options import ServiceConfig

__all__ = ["DataDir", "command", "service_config"]

_EVERYWHERE = "0.0.0.0"
_ADDRESS = "Address"
_STUDIO = "Studio"
_OPENING_S = 5.0

DataDir = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        show_default=False,
        help="Folder with jobs, their videos and keys; default: the settings' service.data_dir, "
        "else one in the user's data folder.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Face:
    """What people see of the server, besides what it does."""

    studio: bool
    in_browser: bool
    share: bool
    quiet: bool


@machine_options
def command(
    *,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            "--server",
            metavar="ADDRESS",
            show_default=False,
            rich_help_panel=_ADDRESS,
            help="Address to listen at; one that others reach needs a key; default: 127.0.0.1.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            show_default=False,
            rich_help_panel=_ADDRESS,
            help="Port to listen at, 0 for a free one; default: 7860.",
        ),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share",
            show_default=False,
            rich_help_panel=_ADDRESS,
            help="Listen at every address of this computer, so that others on its network can open "
            "the studio; needs a key.",
        ),
    ] = False,
    key_file: Annotated[
        str | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            show_default=False,
            rich_help_panel=_ADDRESS,
            help="File with the operators' keys, KEY or NAME KEY on each line; `keys` makes keys "
            "for others.",
        ),
    ] = None,
    in_browser: Annotated[
        bool,
        typer.Option(
            "--inbrowser",
            show_default=False,
            rich_help_panel=_STUDIO,
            help="Open the studio in the default browser.",
        ),
    ] = False,
    no_ui: Annotated[
        bool,
        typer.Option(
            "--no-ui",
            show_default=False,
            rich_help_panel=_STUDIO,
            help="Serve no studio, only the API for programs.",
        ),
    ] = False,
    data_dir: DataDir = None,
    executor: Annotated[
        Literal["local"],
        typer.Option(
            "--executor",
            metavar="local",
            show_default=False,
            help="Who makes the videos: local, a process of this machine.",
        ),
    ] = "local",
    machine: Mapping[str, Any],
    quiet: Quiet = False,
) -> int:
    """Serve the studio in the browser, and the HTTP API behind it.

    Videos are made one after the other, from a queue that is kept. Prints its address when it
    listens. Ctrl-C and SIGTERM let the step at work end; the next start goes on from there. A
    second Ctrl-C stops at once, which loses no job either.
    """
    from framepack.domain.settings import Settings

    if share and host not in (None, _EVERYWHERE):
        raise InvalidRequest(
            f"--share listens at every address of this computer, and --host at {host}; leave out "
            "one of them"
        )
    if in_browser and no_ui:
        raise InvalidRequest("--inbrowser opens the studio, which --no-ui leaves out; drop one")
    settings = Settings.load(**machine)
    config = service_config(
        settings,
        host=_EVERYWHERE if share else host,
        port=port,
        data_dir=data_dir,
        api_key_file=key_file,
    )
    return _serve(config, settings, _Face(not no_ui, in_browser, share, quiet))


def service_config(settings: "Settings", **flags: Any) -> "ServiceConfig":
    """The server's settings: flags, else the table ``[service]``, else the defaults.

    Raises:
        InvalidRequest: one is unknown or wrong.
    """
    from pydantic import ValidationError

    from framepack.service.options import ServiceConfig

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return ServiceConfig.model_validate({**settings.service, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(ServiceConfig.model_fields)
            raise InvalidRequest(f"unknown setting service.{name}; known are {known}") from error
        raise InvalidRequest(
            f"setting service.{name} is {first['input']!r}: {first['msg']}"
        ) from error


def _serve(config: "ServiceConfig", settings: "Settings", face: _Face) -> int:
    import logging

    from framepack.service.app import create_app
    from framepack.service.keys import check_bind
    from framepack.service.listen import bind, listen
    from framepack.service.logs import configure_logs
    from framepack.service.service import Service
    from framepack.ui.mount import mount

    if face.in_browser and _is_there(config):
        return 0
    service = Service(config, settings)
    check_bind(config.host, service.keys, config.hosts)
    listener = bind(config.host, config.port)
    configure_logs(level=logging.WARNING if face.quiet else logging.INFO)

    def on_stopping() -> None:
        service.changes.end()
        if not face.quiet:
            say("Stopping: the step at work is finished first. Again to stop at once.")

    app = create_app(service)
    if face.studio:
        mount(app)
    listen(
        app,
        listener,
        on_listening=lambda: _greet(listener, service.data.path, face),
        on_stopping=on_stopping,
    )
    return 0


def _is_there(config: "ServiceConfig") -> bool:
    """Whether the server runs already; then its studio is opened, as a second click means it."""
    url = f"http://127.0.0.1:{config.port}"
    if config.host not in ("127.0.0.1", "localhost") or not config.port or not answers(url):
        return False
    say("The server runs already; this opens its studio.")
    write(url)
    open_browser(url, wait_s=_OPENING_S)
    return True


def _greet(listener: "socket.socket", data: Path, face: _Face) -> None:
    """Say where the server is, in the first line of standard output, and what is there."""
    from framepack.service.listen import address_of

    url = address_of(listener)
    write(url)
    if face.share:
        port = listener.getsockname()[1]
        others = ", ".join(f"http://{address}:{port}" for address in far_addresses())
        say(f"Others on the network, with a key, use: {others or 'none, as there is no network'}")
    if not face.quiet:
        if face.studio:
            say(f"The studio is there: open {url} in a browser.")
        say(f"Videos and jobs are kept in {data}. Ctrl-C stops.")
    if face.in_browser:
        open_browser(url)
