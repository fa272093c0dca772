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
    if not health.version or health.version == __version__:
        return Finding("version", "good", health.version or "the server does not say")
    return Finding(
        "version",
        "note",
        f"the server has {health.version}, this machine {__version__}",
        "update the older one if something is not understood",
    )


def _readiness(health: "Health") -> Iterator[Finding]:
    """The server's own checks, one by one."""
    checks = health.raw.get("checks")
    for name, told in (checks if isinstance(checks, dict) else {}).items():
        is_well, text = _check(told)
        yield Finding(str(name).replace("_", " "), "good" if is_well else "problem", text)
    if health.is_ready:
        yield Finding("readiness", "good", "takes requests and makes videos")
    else:
        yield Finding(
            "readiness",
            "problem",
            "it answers, but cannot make videos now",
            "see above, and the server's log",
        )


def _check(told: object) -> tuple[bool, str]:
    """A check as the server words it: true, "ok", or an object with "ok" and more."""
    if isinstance(told, dict):
        rest = ", ".join(f"{name} {value}" for name, value in told.items() if name != "ok")
        return bool(told.get("ok", True)), rest or "ok"
    return told is True or told == "ok", "ok" if told is True else str(told)


def _access(client: "Client") -> Finding:
    try:
        page = client.page(limit=1)
    except AccessDenied as error:
        return Finding("access", "problem", str(error), "`framepack keys create NAME` makes a key")
    except ClientError as error:
        return Finding("access", "problem", str(error))
    return Finding("access", "good", "may use it" + ("" if page.videos else ", no videos yet"))
