"""Work on tasks by a thread of the test, in the place of a worker's process."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from framepack.domain.settings import Settings
from framepack.service.executor import Message, Task

__all__ = ["ThreadExecutor"]


class ThreadExecutor(ABC):
    """Works on one task at a time.

    Attributes:
        settings: what it was told to use last.
        model: what it was told to read; networks are read when they are needed.
    """

    settings: Settings

    def __init__(self) -> None:
        self.model: str | None = None
        self._said: list[Message] = []
        self._news = threading.Condition()
        self._stopped: set[str] = set()
        self._thread: threading.Thread | None = None

    @property
    def capacity(self) -> int:
        return 0 if self._thread is not None and self._thread.is_alive() else 1

    def submit(self, task: Task) -> None:
        self._thread = threading.Thread(target=self._work, args=(task,), daemon=True)
        self._thread.start()

    def stop(self, lease: str) -> None:
        self._stopped.add(lease)

    def use(self, settings: Settings) -> None:
        self.settings = settings

    def messages(self, timeout_s: float) -> list[Message]:
        with self._news:
            if not self._said:
                self._news.wait(timeout_s)
            said, self._said = self._said, []
        return said

    def facts(self) -> Mapping[str, Any]:
        return {"alive": True, "busy": self.capacity == 0}

    def load(self, model: str) -> None:
        self.model = model

    def unload(self) -> None:
        self.model = None

    def close(self, timeout_s: float) -> None:
        self._stopped.add("all")
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _is_stopped(self, lease: str) -> bool:
        return bool(self._stopped & {lease, "all"})

    def _say(self, message: Message) -> None:
        with self._news:
            self._said.append(message)
            self._news.notify_all()

    @abstractmethod
    def _work(self, task: Task) -> None:
        """Do a task, and say what becomes of it."""
