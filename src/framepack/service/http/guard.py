"""Who sent a request, and whether it may be answered at all. Pure ASGI, before every route."""

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framepack.service.http.errors import error_response
from framepack.service.http.limits import Buckets
from framepack.service.http.origins import Origins
from framepack.service.keys import ApiKey, KeyStore
from framepack.service.links import Links, load_secret
from framepack.service.logs import AuditLog, about_job, about_request, job_in
from framepack.service.metrics import Metrics
from framepack.service.options import ServiceConfig
from framepack.service.service import Service
from framepack.service.sessions import Sessions

__all__ = ["Caller", "Guard", "caller", "install"]

CALLER = "framepack.caller"
"""Where the scope of a request that was let in has its caller."""

OPEN_PATHS = ("/healthz", "/readyz", "/", "/favicon.ico")
"""What needs no key, besides the files of the studio's page."""
_PAGE = "/studio/"
_SESSION = "/v1/session"

_MOST_JSON = 50_000_000  # bytes; a body of JSON is read whole, on the event loop
_BODY_PAUSE_S = 60.0
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


def caller(request: HTTPConnection) -> Caller:
    """Who sent a request; a dependency of routes. The guard has let it in already."""
    found = request.scope.get(CALLER)
    assert isinstance(found, Caller), "the guard is installed by create_app"
    return found


def install(app: FastAPI, service: Service) -> None:
    """Put the guard before an application's routes.

    ``app.state`` gets ``links``, ``sessions`` and ``metrics``.

    Raises:
        FramePackError: the secret in the data folder cannot be used.
    """
    secret = load_secret(service.data.secret)
    app.state.links = Links(secret)
    app.state.sessions = Sessions(secret, service.keys)
    app.state.metrics = Metrics(service)
    app.add_middleware(
        Guard,
        config=service.config,
        keys=service.keys,
        links=app.state.links,
        sessions=app.state.sessions,
        metrics=app.state.metrics,
        audit=AuditLog(service.data.audit_log),
    )


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An answer that no route gives."""

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


class _BodyRefused(Exception):  # noqa: N818 - never leaves the guard
    pass


@dataclass
class _Exchange:
    """One request and how it is answered."""

    scope: Scope
    headers: Headers
    id: str = field(default_factory=lambda: f"req_{secrets.token_hex(8)}")
    began: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    status: int | None = None
    answered_s: float | None = None
    num_received: int = 0
    num_sent: int = 0
    broken: _Refusal | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        client = self.scope.get("client")
        return str(client[0]) if client else ""


class Guard:
    """Checks host, page, key, rate and size of every request, and writes down how it ended.

    Args:
        app: answers those that are let in.
        config: limits.
        keys: who may come in.
        links: signed addresses.
        sessions: what browsers send in the place of a key.
        metrics: counts requests.
        audit: has a line for each.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        config: ServiceConfig,
        keys: KeyStore,
        links: Links,
        sessions: Sessions,
        metrics: Metrics,
        audit: AuditLog,
    ) -> None:
        self._app = app
        self._keys = keys
        self._links = links
        self._sessions = sessions
        self._metrics = metrics
        self._audit = audit
        self._origins = Origins(config)
        self._most_bytes = int(config.upload_mb * 10**6)
        self._buckets = Buckets(config.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do it."""
        if scope["type"] not in ("http", "websocket"):
            try:
                await self._app(scope, receive, send)
            finally:  # the server's life has ended
                self._audit.close()
            return
        exchange = _Exchange(scope, Headers(scope=scope))
        exchange.extra = self._origins.answer_headers(exchange.headers.get("origin"))
        sending = _sender(exchange, send)
        try:
            with about_request(exchange.id), about_job(job_in(scope["path"])):
                refusal = self._refusal(exchange)
                if refusal is None:
                    scope[CALLER] = exchange.caller
                    await self._let_in(exchange, receive, sending)
                elif scope["type"] == "http":
                    await _refuse(refusal, sending)
                else:
                    await send({"type": "websocket.close", "code": 1008})
        except Exception:  # not a cancellation: then the client is gone
            exchange.status = exchange.status or 500
            raise
        finally:
            self._write_down(exchange)

    async def _let_in(self, exchange: _Exchange, receive: Receive, send: Send) -> None:
        reading = self._receiver(exchange, receive)
        try:
            await self._app(exchange.scope, reading, send)
        except _BodyRefused:
            if exchange.status is None and exchange.broken is not None:
                await _refuse(exchange.broken, send)

    # --- Whether it is let in ------------------------------------------------------------------

    def _refusal(self, exchange: _Exchange) -> _Refusal | None:
        if refusal := self._wrong_origin(exchange):
            return refusal
        wrong_key = self._wrong_key(exchange)  # finds the caller, whose rate counts
        return self._too_often(exchange) or wrong_key or self._too_large(exchange)

    def _wrong_origin(self, exchange: _Exchange) -> _Refusal | None:
        headers, method = exchange.headers, exchange.scope.get("method", "GET")
        if not self._origins.knows_host(headers.get("host", "")):
            return _Refusal(
                403,
                "unknown_host",
                f"Host {headers.get('host', '')[:100]!r} is no name of this server; use localhost "
                "or 127.0.0.1, or set hosts in its settings",
            )
        origin = headers.get("origin")
        if method == "OPTIONS" and origin and "access-control-request-method" in headers:
            if self._origins.allows_page(origin):
                return _Refusal(204, "", "", self._origins.preflight_headers(origin))
            return _closed_to(origin)
        if exchange.scope["type"] == "websocket":
            method = "POST"  # a socket can do anything, and browsers open it without asking
        return None if self._origins.may_send(method, headers) else _closed_to(origin)

    def _wrong_key(self, exchange: _Exchange) -> _Refusal | None:
        scope = exchange.scope
        if not self._keys.required:
            exchange.caller = Caller("", is_admin=True)
            return None
        secret = _secret_of(exchange.headers)
        key = self._keys.check(secret) if secret else None
        if secret is None:
            key = self._key_of_cookie(exchange)
        if key is not None:
            exchange.caller = Caller(key.id, is_admin=key.is_admin)
            return None
        if _is_open(scope["path"]) or scope["path"] == _SESSION:
            exchange.caller = Caller("", is_admin=False)
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        is_reading = scope.get("method") in ("GET", "HEAD")
        if secret is None and is_reading and self._links.check(scope["path"], query):
            exchange.caller = Caller("", is_admin=False, is_link=True)
            return None
        if secret is None and is_reading and any(name == "signature" for name, _ in query):
            return _Refusal(
                403, "link_expired", "the link has expired or is not whole; ask for a new one"
            )
        found = "the API key is wrong or was revoked" if secret else "an API key is needed"
        return _Refusal(
            401,
            "invalid_api_key",
            f"{found}; send Authorization: Bearer KEY, or HTTP Basic with the key as password",
            {"www-authenticate": _challenge(exchange.headers)},
        )

    def _key_of_cookie(self, exchange: _Exchange) -> ApiKey | None:
        word = cookie_parser(exchange.headers.get("cookie", "")).get(self._sessions.cookie)
        method = exchange.scope.get("method", "POST")  # of a socket, which can do anything
        if word is None or not self._origins.is_own_page(method, exchange.headers):
            return None
        return self._sessions.check(word)

    def _too_often(self, exchange: _Exchange) -> _Refusal | None:
        if _is_open(exchange.scope["path"]):
            return None
        who = (exchange.caller and exchange.caller.owner) or f"address {exchange.address}"
        wait = self._buckets.take(who, time.monotonic())
        if not wait:
            return None
        return _Refusal(
            429,
            "rate_limit",
            f"too many requests; try again in {wait:.1f} s",
            {"retry-after": str(int(wait) + 1)},
        )

    def _too_large(self, exchange: _Exchange) -> _Refusal | None:
        length = exchange.headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal():
            return _Refusal(400, "bad_request", "Content-Length is no number")
        if int(length[:20]) > self._limit(exchange):
            return self._size_refusal(exchange)
        return None

    def _limit(self, exchange: _Exchange) -> int:
        is_json = "json" in exchange.headers.get("content-type", "")
        return min(self._most_bytes, _MOST_JSON) if is_json else self._most_bytes

    def _size_refusal(self, exchange: _Exchange) -> _Refusal:
        return _Refusal(
            413,
            "too_large",
            f"the request is larger than {self._limit(exchange) / 10**6:g} MB; make its files "
            "smaller, or send them one by one to /v1/uploads",
            {"connection": "close"},
        )

    # --- What comes and goes -------------------------------------------------------------------

    def _receiver(self, exchange: _Exchange, receive: Receive) -> Receive:
        """Count the body as it comes, whatever its length was said to be."""
        is_read = False

        async def counted() -> Message:
            nonlocal is_read
            if is_read or exchange.scope["type"] != "http":  # now it waits for a disconnect
                return await receive()
            try:
                async with asyncio.timeout(_BODY_PAUSE_S):
                    message = await receive()
            except TimeoutError:
                exchange.broken = _Refusal(
                    408,
                    "timeout",
                    f"nothing more of the request came in {_BODY_PAUSE_S:g} s",
                    {"connection": "close"},
                )
                raise _BodyRefused from None
            is_read = not message.get("more_body", False)
            exchange.num_received += len(message.get("body", b""))
            if exchange.num_received > self._limit(exchange):
                exchange.broken = self._size_refusal(exchange)
                raise _BodyRefused
            return message

        return counted

    def _write_down(self, exchange: _Exchange) -> None:
        scope, status = exchange.scope, exchange.status or 499  # 499: gone before the answer
        seconds = time.perf_counter() - exchange.began
        method = scope.get("method", "WEBSOCKET")
        self._metrics.request_done(method, _route_of(scope), status, exchange.answered_s or seconds)
        who = exchange.caller
        self._audit.write(
            id=exchange.id,
            address=exchange.address,
            caller="link" if who and who.is_link else who.owner if who else None,
            method=method,
            path=scope["path"],
            status=status,
            received=exchange.num_received,
            sent=exchange.num_sent,
            seconds=round(seconds, 4),
            agent=exchange.headers.get("user-agent", "")[:200],
        )


def _sender(exchange: _Exchange, send: Send) -> Send:
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


def _begin(exchange: _Exchange, message: Message) -> None:
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


async def _refuse(refusal: _Refusal, send: Send) -> None:
    headers = {"content-type": "application/json", **refusal.headers}
    headers["content-length"] = str(len(refusal.body))
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": refusal.body})


async def _send_refusal(refusal: _Refusal, exchange: _Exchange, send: Send) -> None:
    async def begun(message: Message) -> None:
        if message["type"] == "http.response.start":
            _begin(exchange, message)
        await send(message)

    await _refuse(refusal, begun)


def _closed_to(origin: str | None) -> _Refusal:
    return _Refusal(
        403,
        "origin_not_allowed",
        f"pages of {(origin or 'other servers')[:100]} may not call this server; its operator "
        "can allow them with cors_origins",
    )


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(_PAGE)


def _secret_of(headers: Headers) -> str | None:
    """The key that a request carries; None if it carries none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return headers.get("x-api-key")


def _challenge(headers: Headers) -> str:
    """How a key can be sent; a script's request must not make the browser itself ask for one."""
    is_script = headers.get("sec-fetch-mode", "navigate") != "navigate"
    return "Bearer" if is_script else 'Basic realm="FramePack Studio", Bearer'


def _route_of(scope: Scope) -> str:
    """The route that answered, with the names of its parameters, so that there are few."""
    return str(getattr(scope.get("route"), "path", "none"))
