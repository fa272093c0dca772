"""What `doctor --server` finds: whether a server answers, lets this user in, and makes videos."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from framepack import __version__
from framepack.cli.diagnosis import Finding
from framepack.client.errors import AccessDenied, ClientError

if TYPE_CHECKING:
    from framepack.client import Client, Health

__all__ = ["examine_server"]


def examine_server(client: "Client") -> list[Finding]:
    """Judge a server by what it answers."""
    try:
        health = client.health()
    except ClientError as error:
        return [Finding("server", "problem", str(error))]
    return [
        Finding("server", "good", client.url.rstrip("/")),
        _version(health),
        *_readiness(health),
        _access(client),
    ]


def _version(health: "Health") -> Finding:
    if health.version == __version__:
        return Finding("version", "good", health.version)
    return Finding(
        "version",
        "note",
        f"the server has {health.version or 'none'}, this machine {__version__}",
        "update the older one if something is not understood",
    )


def _readiness(health: "Health") -> Iterator[Finding]:
    """The server's own checks, one by one."""
    for name, told in health.checks.items():
        yield Finding(name, "good" if told == "ok" else "problem", told)
    if health.is_ready:
        yield Finding("readiness", "good", "takes requests and makes videos")
    else:
        yield Finding("readiness", "problem", "cannot make videos now", "see the server's log")


def _access(client: "Client") -> Finding:
    try:
        page = client.page(limit=1)
    except AccessDenied as error:
        return Finding("access", "problem", str(error), "`framepack keys create NAME` makes a key")
    except ClientError as error:
        return Finding("access", "problem", str(error))
    return Finding("access", "good", "may use it" + ("" if page.videos else ", no videos yet"))
