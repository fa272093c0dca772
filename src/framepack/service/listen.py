"""The service on a socket: where it listens, and how it stops."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framepack.domain.errors import FramePackError

__all__ = ["address_of", "bind", "listen"]

STREAMS_S = 3
"""How long a stopping server lets answers that are on their way go on, seconds."""

_BACKLOG = 2048
_AT_ONCE = 130
_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")


def bind(host: str, port: int) -> socket.socket:
    """Take an address; connections wait until somebody listens.

    Raises:
        FramePackError: it cannot be had.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise FramePackError(
            f"{host!r} is no address of this machine ({error.strerror}); take 127.0.0.1, or "
            "another that `ip address` shows"
        ) from error
    if os.name == "posix":  # elsewhere it would let two servers have the same port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise FramePackError(
            f"cannot listen at {host or '(all)'}, port {port}: {error.strerror}; stop the program "
            "that has it, or take another with --port (0 finds a free one)"
        ) from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL of a server that listens there, as this machine reaches it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(
    app: FastAPI,
    listener: socket.socket,
    *,
    on_listening: Callable[[], object],
    on_stopping: Callable[[], object],
) -> None:
    """Answer requests until a signal comes.

    The first SIGINT or SIGTERM lets answers end and the step at work be finished; the second ends
    the process at once, which loses nothing either: the next start goes on from the last finished
    section.

    Args:
        app: of the service.
        listener: see :func:`bind`; closed at the end.
        on_listening: called when requests are answered.
        on_stopping: called when no more are taken.

    Raises:
        FramePackError: the service could not be started.
    """
    watched = _Watched(app)
    config = uvicorn.Config(
        watched,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # whoever asks could claim any address
        timeout_graceful_shutdown=STREAMS_S,
        timeout_keep_alive=30,
    )
    server = _Server(config, on_listening, on_stopping)
    try:
        server.run(sockets=[listener])
    except SystemExit as error:
        if watched.refusal is not None:
            raise watched.refusal from error
        raise FramePackError("the server could not be started; its log says why") from error
    finally:
        listener.close()


class _Watched:
    """An application that remembers why it would not start, when that is meant for people."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refusal: FramePackError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        failures: list[Message] = []

        async def sending(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failures.append(message)  # its text is a traceback
            else:
                await send(message)

        try:
            await self._app(scope, receive, sending)
        except FramePackError as error:
            self.refusal = error
            failures = [{"type": "lifespan.startup.failed"}]
            raise
        finally:
            for message in failures:
                await send(message)


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        on_listening: Callable[[], object],
        on_stopping: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._on_listening, self._on_stopping = on_listening, on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, and let what is at work end."""
        self._on_stopping()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals, except those that this process was started to ignore."""
        former: dict[int, Any] = {}
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                former[number] = signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at once, if it was said before."""
        if self.should_exit:
            os._exit(_AT_ONCE)
        self.should_exit = True
