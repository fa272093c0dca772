"""Who sent a request, and whether it may be answered at all. Pure ASGI, before every route."""

import asyncio
import base64
import binascii
import time
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framepack.service.http.exchange import (
    BodyRefused,
    Caller,
    Exchange,
    Refusal,
    refuse,
    sender,
)
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
_MOST_OF_STRANGERS = 10_000  # bytes; whoever has no key has nothing to send but one
_BODY_PAUSE_S = 60.0


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
        exchange = Exchange(scope, Headers(scope=scope))
        exchange.extra = self._origins.answer_headers(exchange.headers.get("origin"))
        sending = sender(exchange, send)
        try:
            with about_request(exchange.id), about_job(job_in(scope["path"])):
                refusal = self._refusal(exchange)
                if refusal is None:
                    scope[CALLER] = exchange.caller
                    await self._let_in(exchange, receive, sending)
                elif scope["type"] == "http":
                    await refuse(refusal, sending)
                else:
                    await send({"type": "websocket.close", "code": 1008})
        except Exception:  # not a cancellation: then the client is gone
            exchange.status = exchange.status or 500
            raise
        finally:
            self._write_down(exchange)

    async def _let_in(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        reading = self._receiver(exchange, receive)
        try:
            await self._app(exchange.scope, reading, send)
        except BodyRefused:
            if exchange.status is None and exchange.broken is not None:
                await refuse(exchange.broken, send)

    # --- Whether it is let in ------------------------------------------------------------------

    def _refusal(self, exchange: Exchange) -> Refusal | None:
        if refusal := self._wrong_origin(exchange):
            return refusal
        wrong_key = self._wrong_key(exchange)  # finds the caller, whose rate counts
        return self._too_often(exchange) or wrong_key or self._too_large(exchange)

    def _wrong_origin(self, exchange: Exchange) -> Refusal | None:
        headers, method = exchange.headers, exchange.scope.get("method", "GET")
        if not self._origins.knows_host(headers.get("host", "")):
            return Refusal(
                403,
                "unknown_host",
                f"Host {headers.get('host', '')[:100]!r} is no name of this server; use localhost "
                "or 127.0.0.1, or set hosts in its settings",
            )
        origin = headers.get("origin")
        if method == "OPTIONS" and origin and "access-control-request-method" in headers:
            if self._origins.allows_page(origin):
                return Refusal(204, "", "", self._origins.preflight_headers(origin))
            return _closed_to(origin)
        if exchange.scope["type"] == "websocket":
            method = "POST"  # a socket can do anything, and browsers open it without asking
        return None if self._origins.may_send(method, headers) else _closed_to(origin)

    def _wrong_key(self, exchange: Exchange) -> Refusal | None:
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
            return Refusal(
                403, "link_expired", "the link has expired or is not whole; ask for a new one"
            )
        found = "the API key is wrong or was revoked" if secret else "an API key is needed"
        return Refusal(
            401,
            "invalid_api_key",
            f"{found}; send Authorization: Bearer KEY, or HTTP Basic with the key as password",
            {"www-authenticate": _challenge(exchange.headers)},
        )

    def _key_of_cookie(self, exchange: Exchange) -> ApiKey | None:
        word = cookie_parser(exchange.headers.get("cookie", "")).get(self._sessions.cookie)
        method = exchange.scope.get("method", "POST")  # of a socket, which can do anything
        if word is None or not self._origins.is_own_page(method, exchange.headers):
            return None
        return self._sessions.check(word)

    def _too_often(self, exchange: Exchange) -> Refusal | None:
        if _is_open(exchange.scope["path"]):
            return None
        who = (exchange.caller and exchange.caller.owner) or f"address {exchange.address}"
        wait = self._buckets.take(who, time.monotonic())
        if not wait:
            return None
        return Refusal(
            429,
            "rate_limit",
            f"too many requests; try again in {wait:.1f} s",
            {"retry-after": str(int(wait) + 1)},
        )

    def _too_large(self, exchange: Exchange) -> Refusal | None:
        length = exchange.headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal():
            return Refusal(400, "bad_request", "Content-Length is no number")
        if int(length[:20]) > self._limit(exchange):
            return self._size_refusal(exchange)
        return None

    def _limit(self, exchange: Exchange) -> int:
        if exchange.scope["path"] == _SESSION:
            return _MOST_OF_STRANGERS
        is_json = "json" in exchange.headers.get("content-type", "")
        return min(self._most_bytes, _MOST_JSON) if is_json else self._most_bytes

    def _size_refusal(self, exchange: Exchange) -> Refusal:
        return Refusal(
            413,
            "too_large",
            f"the request is larger than {self._limit(exchange) / 10**6:g} MB; make its files "
            "smaller, or send them one by one to /v1/uploads",
            {"connection": "close"},
        )

    # --- What comes and goes -------------------------------------------------------------------

    def _receiver(self, exchange: Exchange, receive: Receive) -> Receive:
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
                exchange.broken = Refusal(
                    408,
                    "timeout",
                    f"nothing more of the request came in {_BODY_PAUSE_S:g} s",
                    {"connection": "close"},
                )
                raise BodyRefused from None
            is_read = not message.get("more_body", False)
            exchange.num_received += len(message.get("body", b""))
            if exchange.num_received > self._limit(exchange):
                exchange.broken = self._size_refusal(exchange)
                raise BodyRefused
            return message

        return counted

    def _write_down(self, exchange: Exchange) -> None:
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


def _closed_to(origin: str | None) -> Refusal:
    return Refusal(
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
