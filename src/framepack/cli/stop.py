"""Ctrl-C and SIGTERM: the first asks to stop after the step at work, the second stops at once."""

import signal
from types import FrameType
from typing import Any, Self

__all__ = ["CANCELLED", "StopRequest"]

CANCELLED = 130
"""Exit code of what was stopped."""


class StopRequest:
    """While its ``with`` block runs, signals become a flag that is looked at between steps.

    A signal that this process was started to ignore (``nohup``, a background job of a script)
    stays ignored. Only the main thread can use it.

    Attributes:
        requested: somebody asked to stop.
        at_once: raise KeyboardInterrupt at the first signal already; set it while there is
            nothing to lose and no step to wait for.
    """

    def __init__(self) -> None:
        self.requested = False
        self.at_once = True
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested or self.at_once:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True
