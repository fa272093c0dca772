"""Wakes those who wait for news of a job, from whatever thread the news comes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Changes", "Listener"]


class Listener:
    """Somebody who waits for news of a job, on the event loop where he was made.

    News that came while nobody waited are not lost: the next :meth:`wait` returns at once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._is_called = False
        self._lock = threading.Lock()

    def call(self) -> None:
        """Say that there is news; from any thread, and cheap however often."""
        with self._lock:
            if self._is_called:
                return
            self._is_called = True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the loop is closed, and with it whoever waited
            return

    async def wait(self, timeout_s: float) -> bool:
        """Whether there was news since the last call, or came within some seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        with self._lock:
            self._is_called = False
        return True


class Changes:
    """Who waits for what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, set[Listener]] = {}
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the server stops, so that nobody should wait any longer."""
        return self._is_over

    def end(self) -> None:
        """Wake everybody who waits: the server stops."""
        with self._lock:
            self._is_over = True
            called = [listener for waiting in self._listeners.values() for listener in waiting]
        for listener in called:
            listener.call()

    def publish(self, job_id: str) -> None:
        """Say that something about a job was committed; "" is the queue as a whole."""
        with self._lock:
            called = tuple(self._listeners.get(job_id, ()))
        for listener in called:
            listener.call()

    @contextmanager
    def listening(self, job_id: str) -> Iterator[Listener]:
        """Collect news of a job while the block runs. Read what there is inside the block."""
        listener = Listener()
        with self._lock:
            self._listeners.setdefault(job_id, set()).add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                others = self._listeners[job_id]
                others.discard(listener)
                if not others:
                    del self._listeners[job_id]

    async def wait(self, job_id: str, timeout_s: float) -> bool:
        """Whether news of a job came within some seconds, from now on."""
        with self.listening(job_id) as listener:
            return await listener.wait(timeout_s)
