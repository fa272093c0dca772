"""Who may reach this server through a browser: names of hosts, and pages of other servers."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from framepack.service.keys import is_loopback
from framepack.service.options import ServiceConfig

__all__ = ["Origins"]

_METHODS = "GET, HEAD, POST, DELETE, PATCH, PUT"
_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Range"
_EXPOSED = "Content-Range, ETag, openai-poll-after-ms, Retry-After, X-Request-Id"
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Origins:
    """What the configuration says of hosts and pages.

    Attributes:
        config: of the server.
    """

    config: ServiceConfig

    def knows_host(self, host: str) -> bool:
        """Whether a Host header means this server.

        A page can have its own name lead to 127.0.0.1 and then speak to a server there as if it
        were its own; but the browser still tells that name. Where keys are needed, such a page
        has none, so only a server that other machines reach by any name does without the check.
        """
        name = _hostname(host)
        if name in {_hostname(each) for each in self.config.hosts}:
            return True
        if is_loopback(self.config.host) or self.config.hosts:
            return is_loopback(name)
        return bool(name)

    def allows_page(self, origin: str) -> bool:
        """Whether pages of another server may call this one."""
        return "*" in self.config.cors_origins or origin in self.config.cors_origins

    def may_send(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether the page that sends a request may.

        Browsers send forms to any server without asking first, so it is not enough to keep the
        answer from the page.
        """
        origin = headers.get("origin")
        if origin is None:  # no browser, or no other page
            return method in _SAFE or headers.get("sec-fetch-site") != "cross-site"
        if method in _SAFE or self.allows_page(origin):
            return True
        return _is_of_host(origin, headers)

    def is_own_page(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from a page of this server, which alone may use its cookie.

        What only reads may come without a word about it, as from an address that was typed; what
        changes something must prove it.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and not _is_of_host(origin, headers):
            return False
        if method in _SAFE:
            return site in (None, "same-origin", "none")
        return site in (None, "same-origin") and (origin is not None or site is not None)

    def answer_headers(self, origin: str | None) -> dict[str, str]:
        """Headers that let a page read an answer; none for a page that may not."""
        if not self.config.cors_origins:
            return {}
        if origin is None or not self.allows_page(origin):
            return {"vary": "Origin"}
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": _EXPOSED,
            "vary": "Origin",
        }

    def preflight_headers(self, origin: str) -> dict[str, str]:
        """Headers that answer a browser's question before a request."""
        return {
            **self.answer_headers(origin),
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": _HEADERS,
            "access-control-max-age": "600",
        }


def _is_of_host(origin: str, headers: Mapping[str, str]) -> bool:
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _hostname(host: str) -> str:
    """The name in a Host header, without its port; "" if it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
