"""One request and its answer as the guard sees them: who asks, what comes and goes, refusals."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from framepack.service.http.errors import error_response

__all__ = ["BodyRefused", "Caller", "Exchange", "Refusal", "refuse", "sender"]

_HARDENED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "SAMEORIGIN",
}
_NO_SCRIPTS = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: id of the key, which owns the jobs that are sent with it; "" without keys.
        is_admin: sees and changes everybody's jobs: no key is needed, or it is an operator's.
        is_link: came by a signed link, which is good for reading this one address.
    """

    owner: str
    is_admin: bool
    is_link: bool = False

    @property
    def sees(self) -> str | None:
        """Whose jobs there are for this caller, as ``JobStore.get(owner=...)``: None for all."""
        return None if self.is_admin or self.is_link else self.owner


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that no route gives.

    Attributes:
        status: of HTTP.
        code: a word for programs.
        message: what was found, what was needed, what to do.
        headers: of the answer besides those of every answer.
    """

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """In the shape of every error of this server."""
        if self.status == 204:
            return b""
        return bytes(error_response(self.status, self.message, code=self.code).body)


class BodyRefused(Exception):  # noqa: N818 - never leaves the guard
    """What comes of a request is not read any further."""


@dataclass
class Exchange:
    """One request and how it is answered.

    Attributes:
        scope, headers: of the request.
        id: names it in logs.
        began: when it came, on the clock of ``perf_counter``.
        caller: who sent it, once that is known.
        status, answered_s: of the answer, and seconds until it began; None before.
        num_received, num_sent: bytes of the bodies.
        broken: why the body was not read to its end.
        extra: headers that the answer gets.
    """

    scope: Scope
    headers: Headers
    id: str = field(default_factory=lambda: f"req_{secrets.token_hex(8)}")
    began: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    status: int | None = None
    answered_s: float | None = None
    num_received: int = 0
    num_sent: int = 0
    broken: Refusal | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of whoever sent it; "" where that is not known."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""


def sender(exchange: Exchange, send: Send) -> Send:
    """Add headers, count, and answer for a body that was refused while it was read."""
    replaced = False

    async def sending(message: Message) -> None:
        nonlocal replaced
        if replaced:  # a route answers to what it read of the body
            return
        if message["type"] == "http.response.start":
            if exchange.broken is not None and message["status"] != exchange.broken.status:
                replaced = True
                await _send_refusal(exchange.broken, exchange, send)
                return
            _begin(exchange, message)
        elif message["type"] == "http.response.body":
            exchange.num_sent += len(message.get("body", b""))
        await send(message)

    return sending


async def refuse(refusal: Refusal, send: Send) -> None:
    """Answer with a refusal."""
    headers = {"content-type": "application/json", **refusal.headers}
    headers["content-length"] = str(len(refusal.body))
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": refusal.body})


def _begin(exchange: Exchange, message: Message) -> None:
    exchange.status = message["status"]
    exchange.answered_s = time.perf_counter() - exchange.began
    present = {name.lower() for name, _ in message.get("headers", ())}
    kind = next(
        (value for name, value in message.get("headers", ()) if name.lower() == b"content-type"),
        b"",
    )
    added = {**_HARDENED, **exchange.extra, "x-request-id": exchange.id}
    added["cache-control"] = "no-store"
    if not kind.startswith(b"text/html"):  # the documentation of the API is a page
        added["content-security-policy"] = _NO_SCRIPTS
    message["headers"] = [
        *message.get("headers", ()),
        *(
            (name.encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in added.items()
            if name.encode("latin-1") not in present
        ),
    ]


async def _send_refusal(refusal: Refusal, exchange: Exchange, send: Send) -> None:
    async def begun(message: Message) -> None:
        if message["type"] == "http.response.start":
            _begin(exchange, message)
        await send(message)

    await refuse(refusal, begun)
