"""``framepack serve``: the engine as a service."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from framepack.cli.console import say, write
from framepack.cli.options import Device, DtypeName, ModelsDir, Quiet
from framepack.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from framepack.domain.settings import Settings
    from framepack.service.options import ServiceConfig

__all__ = ["DataDir", "command", "service_config"]

_ADDRESS = "Address"

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


def command(
    *,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
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
    device: Device = None,
    dtype: DtypeName = None,
    models_dir: ModelsDir = None,
    quiet: Quiet = False,
) -> int:
    """Make videos for others over HTTP, one after the other, from a queue that is kept.

    Prints its address when it listens. Ctrl-C and SIGTERM let the step at work end; the next start
    goes on from there. A second Ctrl-C stops at once, which loses no job either.
    """
    from framepack.domain.settings import Settings

    settings = Settings.load(device=device, dtype=dtype, models_dir=models_dir)
    config = service_config(
        settings, host=host, port=port, data_dir=data_dir, api_key_file=key_file
    )
    return _serve(config, settings, quiet=quiet)


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


def _serve(config: "ServiceConfig", settings: "Settings", *, quiet: bool) -> int:
    import logging

    from framepack.service.app import create_app
    from framepack.service.keys import check_bind
    from framepack.service.listen import address_of, bind, listen
    from framepack.service.logs import configure_logs
    from framepack.service.service import Service

    service = Service(config, settings)
    check_bind(config.host, service.keys, config.hosts)
    listener = bind(config.host, config.port)
    configure_logs(level=logging.WARNING if quiet else logging.INFO)

    def on_listening() -> None:
        write(address_of(listener))
        if not quiet:
            say(f"Videos and jobs are kept in {service.data.path}. Ctrl-C stops.")

    def on_stopping() -> None:
        service.changes.end()
        if not quiet:
            say("Stopping: the step at work is finished first. Again to stop at once.")

    listen(create_app(service), listener, on_listening=on_listening, on_stopping=on_stopping)
    return 0
