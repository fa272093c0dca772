"""Wakes those who wait for news of a job or of anything, from whatever thread the news comes."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Changes", "Listener", "Watcher"]

T = TypeVar("T")


@dataclass
class _Audience:
    """All who wait for news of one job.

    Attributes:
        listeners: each of them.
        version: grows with the news.
        reads: what is being read for several of them, by what they have had and the version.
    """

    listeners: set["Listener"] = field(default_factory=set)
    version: int = 0
    reads: dict[tuple[Any, int], asyncio.Future[Any]] = field(default_factory=dict)


class Listener:
    """Somebody who waits for news of a job, on the event loop where he was made.

    News that came while nobody waited are not lost: the next :meth:`wait` returns at once.
    """

    def __init__(self, audience: _Audience) -> None:
        self._audience = audience
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

    async def read(self, seen: Hashable, work: Callable[[], T]) -> T:
        """What a function returns, in a thread, once for all who need the same at the same time.

        Args:
            seen: what the listener has had; those who have had the same need the same.
            work: reads what there is.
        """
        # Nobody joins those who began to read before the news that woke him.
        key, reads = (seen, self._audience.version), self._audience.reads
        if key not in reads:
            reads[key] = asyncio.ensure_future(asyncio.to_thread(work))
            reads[key].add_done_callback(lambda _: reads.pop(key, None))
        found: T = await asyncio.shield(reads[key])
        return found


class Watcher(Listener):
    """Somebody who waits for news of anything, and hears what they are of."""

    def __init__(self) -> None:
        super().__init__(_Audience())
        self._names: set[str] = set()

    def note(self, name: str) -> None:
        """Say what there is news of; from any thread."""
        with self._lock:
            self._names.add(name)
        self.call()

    async def news(self, timeout_s: float) -> set[str]:
        """What there was news of since the last call, or of what first came within some seconds."""
        await self.wait(timeout_s)
        with self._lock:
            names, self._names = self._names, set()
        return names


class Changes:
    """Who waits for what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._audiences: dict[str, _Audience] = {}
        self._watchers: set[Watcher] = set()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the server stops, so that nobody should wait any longer."""
        return self._is_over

    def end(self) -> None:
        """Wake everybody who waits: the server stops."""
        with self._lock:
            self._is_over = True
            called = [each for audience in self._audiences.values() for each in audience.listeners]
            called += self._watchers
        for listener in called:
            listener.call()

    def publish(self, name: str) -> None:
        """Say that something was committed.

        Args:
            name: id of a job or a task; "" is the queue as a whole, "worker" the worker.
        """
        with self._lock:
            watchers = tuple(self._watchers)
            audience = self._audiences.get(name)
            called: tuple[Listener, ...] = ()
            if audience is not None:
                audience.version += 1
                called = tuple(audience.listeners)
        for watcher in watchers:
            watcher.note(name)
        for listener in called:
            listener.call()

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Collect news of everything while the block runs."""
        watcher = Watcher()
        with self._lock:
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    @contextmanager
    def listening(self, job_id: str) -> Iterator[Listener]:
        """Collect news of a job while the block runs. Read what there is inside the block."""
        with self._lock:
            audience = self._audiences.setdefault(job_id, _Audience())
            listener = Listener(audience)
            audience.listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                audience.listeners.discard(listener)
                if not audience.listeners:
                    del self._audiences[job_id]

    async def wait(self, job_id: str, timeout_s: float) -> bool:
        """Whether news of a job came within some seconds, from now on."""
        with self.listening(job_id) as listener:
            return await listener.wait(timeout_s)
