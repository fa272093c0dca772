"""Between a call and the wire: what is sent, what an answer means, when to try again."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from framepack import __version__
from framepack.client.calls import Call
from framepack.client.errors import (
    AccessDenied,
    BadAnswer,
    ClientError,
    DownloadFailed,
    NotFound,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    ServerUnreachable,
    WrongMoment,
)
from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings

__all__ = [
    "Access",
    "Patience",
    "arguments",
    "broken",
    "ended_early",
    "error_of",
    "options",
    "read_answer",
]

T = TypeVar("T")

CONNECT_S, TRANSFER_S = 10.0, 120.0
EVENTS_S = 60.0
"""Without a word, not even a comment, for so long, a stream is taken for dead."""

_FULL = ("queue_full", "quota_exceeded")
"""Videos must end before there is room, which may take hours."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
_KINDS: dict[int, type[ClientError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    409: WrongMoment,
    410: NotFound,
    429: ServerBusy,
    503: ServerBusy,
}


class Access:
    """Where the server is and what opens it.

    Args:
        url: its address; None for the settings', ``FRAMEPACK_URL`` among them.
        api_key: None for the settings', ``FRAMEPACK_API_KEY`` among them.

    Raises:
        InvalidRequest: the address is none.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        settings = Settings.load() if url is None or api_key is None else None
        if url is None and settings is not None:
            url = settings.url
        if api_key is None and settings is not None and settings.api_key is not None:
            api_key = settings.api_key.get_secret_value()
        self.url = _checked(url or "")
        self.api_key = api_key or ""


def options(access: Access) -> dict[str, Any]:
    """What both clients of httpx2 are made with."""
    headers = {"User-Agent": f"framepack-client/{__version__}", "Accept": "application/json"}
    if access.api_key:
        headers["Authorization"] = f"Bearer {access.api_key}"
    return {
        "base_url": access.url,
        "headers": headers,
        "timeout": httpx2.Timeout(TRANSFER_S, connect=CONNECT_S),
        "follow_redirects": False,
    }


def arguments(call: Call[Any], files: ExitStack) -> dict[str, Any]:
    """What ``request`` of httpx2 takes; opened files are closed with ``files``."""
    sent: dict[str, Any] = {"method": call.method, "url": call.path, "headers": dict(call.headers)}
    sent["params"] = {name: value for name, value in call.params.items() if value is not None}
    if call.body is not None:
        sent["json"] = call.body
    if call.file is not None:
        content = call.file.content
        opened = files.enter_context(content.open("rb")) if isinstance(content, Path) else content
        sent["files"] = {"file": (call.file.name, opened)}
    return sent


def read_answer(call: Call[T], answer: httpx2.Response) -> T:
    """The value that an answer, read whole, stands for.

    Raises:
        ClientError: the server refused, failed, or is none of ours.
    """
    if not answer.is_success and answer.status_code not in call.fine:
        raise error_of(answer)
    try:
        values = answer.json()
    except ValueError as error:
        raise BadAnswer(
            f"{answer.url} answered {answer.status_code} without JSON; is a FramePack server there?"
        ) from error
    return call.read(values)


def error_of(answer: httpx2.Response) -> ClientError:
    """What an answer that is no success means."""
    status = answer.status_code
    told = _error_object(answer)
    message = str(told.get("message") or "").strip()
    kind = _KINDS.get(status, ServerFailed if status >= 500 else RequestRefused)
    if not message:
        kind = kind if status in _KINDS or status >= 500 else BadAnswer
        message = f"{answer.url} answered {status} {answer.reason_phrase}"
        if kind is BadAnswer:
            message += "; is a FramePack server there?"
    if status == 401:
        message += "; name the key with FRAMEPACK_API_KEY or --api-key-file"
    return kind(
        message,
        status=status,
        code=told.get("code"),
        param=told.get("param"),
        retry_after_s=_retry_after(answer.headers),
    )


def broken(url: str, error: httpx2.TransportError) -> ClientError:
    """What a connection that failed means."""
    refused = isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout))
    if isinstance(error, httpx2.SSEError):
        return BadAnswer(f"{url} sent no stream of events: {error}")
    if refused:
        text = (
            f"no server answers at {url} ({str(error) or type(error).__name__}); start one with "
            "`framepack serve`, or name its address with --url or FRAMEPACK_URL"
        )
    else:
        text = f"the connection to {url} broke ({str(error) or type(error).__name__}); try again"
    return ServerUnreachable(text, was_sent=not refused)


def ended_early(url: str, video_id: str) -> ServerUnreachable:
    """What a stream of events means that ended before its video."""
    return ServerUnreachable(
        f"{url} ended the events of {video_id} before the video had ended; follow it again"
    )


class Patience:
    """How long a call that failed is tried again.

    Args:
        limit_s: seconds, counted from the last sign of life.
        is_repeatable: whether the server may have got the request already.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        is_repeatable: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s, self._is_repeatable, self._clock = limit_s, is_repeatable, clock
        self.renew()

    def renew(self) -> None:
        """Something came: count anew."""
        self._until = self._clock() + self._limit_s
        self._wait_s = _FIRST_WAIT_S

    def wait_s(self, error: ClientError, *, was_reached: bool = True) -> float:
        """Seconds until the next try.

        Args:
            error: how the last one failed.
            was_reached: whether the server ever answered; one that never did is not waited for.

        Raises:
            ClientError: the same; there is no point in trying again.
        """
        wait = self._wait_s if error.retry_after_s is None else error.retry_after_s
        is_gone = isinstance(error, ServerUnreachable) and not was_reached
        if is_gone or not self._may_repeat(error) or self._clock() + wait > self._until:
            raise error
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
        return wait

    def _may_repeat(self, error: ClientError) -> bool:
        if isinstance(error, ServerBusy):  # it did nothing, and may say when it will
            has_moment = error.status == 503 or error.retry_after_s is not None
            return has_moment and error.code not in _FULL
        if isinstance(error, ServerUnreachable):
            return self._is_repeatable or not error.was_sent
        return isinstance(error, DownloadFailed)


def _checked(url: str) -> str:
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise InvalidRequest(f"the server's address {url!r} is none: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise InvalidRequest(
            f"the server's address is {url!r}; needed is one such as http://127.0.0.1:7860"
        )
    return url.rstrip("/") + "/"


def _error_object(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        values = answer.json()
    except ValueError:
        return {}
    told = values.get("error") if isinstance(values, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        return max(float(headers["retry-after"]), 0.0)
    except (KeyError, ValueError):
        return None
