"""``framepack keys``: who may use a server of this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import say, write, write_json
from framepack.cli.options import JsonFlag
from framepack.cli.serve import DataDir, service_config
from framepack.cli.usage import Command, Group

if TYPE_CHECKING:
    from framepack.service.keys import ApiKey, KeyStore

__all__ = ["app"]

app = typer.Typer(cls=Group)


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Make, list and revoke the keys of this machine's server."""
    if context.invoked_subcommand is None:
        write(context.get_help())


@app.command("create", cls=Command)
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="Whose key it is.")
    ],
    *,
    max_waiting: Annotated[
        int | None,
        typer.Option(
            "--max-waiting",
            metavar="N",
            show_default=False,
            help="Videos of this key that may wait or run; default: the server's limit.",
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it; it is shown this once, and kept as a hash."""
    with _keys(data_dir) as keys:
        key, secret = keys.create(name, max_waiting=max_waiting)
    write(secret)
    say(f"{key.id} for {key.name}. It is not shown again; a running server takes it at once.")


@app.command("list", cls=Command)
def list_keys(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """List the keys, without their secrets."""
    with _keys(data_dir) as keys:
        found = keys.list()
    if as_json:
        write_json([_values(key) for key in found], indent=2)
    elif not found:
        say("There are no keys; `framepack keys create NAME` makes one.")
    for key in () if as_json else found:
        state = "works" if key.revoked_at is None else f"revoked {_day(key.revoked_at)}"
        made = f"made {_day(key.created_at)}" if key.created_at else "of the key file"
        write(f"{key.id}  {key.name}  {made}  {state}")


@app.command("revoke", cls=Command)
def revoke(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="The key's name or ID.")
    ],
    *,
    data_dir: DataDir = None,
) -> None:
    """Make a key useless; its videos stay."""
    with _keys(data_dir) as keys:
        key = keys.revoke(name)
    say(f"{key.id} of {key.name} is revoked.")


@contextmanager
def _keys(data_dir: str | None) -> "Iterator[KeyStore]":
    from framepack.domain.settings import Settings
    from framepack.service.database import Database
    from framepack.service.files import DataFolder
    from framepack.service.keys import KeyStore

    config = service_config(Settings.load(), data_dir=data_dir)
    data = DataFolder.of(config.data_dir)
    data.make()
    database = Database(data.database)
    try:
        yield KeyStore(database, file=config.api_key_file)
    finally:
        database.close()


def _values(key: "ApiKey") -> dict[str, Any]:
    names = ("id", "name", "created_at", "revoked_at", "max_waiting", "is_admin")
    return {name: getattr(key, name) for name in names}


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
