"""The process that does one task: ``python -m framepack.service.tools.worker``.

It speaks JSON lines over its own pipes, one object a line:

    in   {"tool": ..., "values": {...}, "files": {...}, "output": ..., "settings": {...}, ...}
    out  {"say": "progress", "share": 0.4, "message": ...}
         {"say": "ended", "output": {...} or null, "error": {"code", "message"} or null}

When its input ends, whoever started it is gone, and so is the process.
"""

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from framepack.domain.errors import FramePackError
from framepack.service.logs import about_job, configure_logs
from framepack.service.processes import Channel
from framepack.service.tasks import settings_of
from framepack.service.tools.work import WORK, Assignment, error_of

__all__ = ["main"]

logger = logging.getLogger(__name__)

_TELL_EVERY_S = 0.25


class _Teller:
    """Says how far it is, often enough for people."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next_s = 0.0

    def __call__(self, share: float, message: str) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + _TELL_EVERY_S
            self._channel.say({"say": "progress", "share": share, "message": message})


def main() -> None:
    """Do the one task that comes."""
    channel = Channel()
    inbox: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server
    listening = (inbox.put, lambda: os._exit(0))
    threading.Thread(target=channel.listen, args=listening, daemon=True).start()
    told = inbox.get()
    configure_logs(level=int(told["log_level"]))
    with about_job(str(told["id"])):
        channel.say({"say": "ended", **_done(told, _Teller(channel))})
    sys.stderr.flush()
    os._exit(0)  # the thread that reads would keep the interpreter from ending


def _done(told: Mapping[str, Any], tell: _Teller) -> dict[str, Any]:
    """Do a task; every error becomes an outcome."""
    try:
        task = Assignment(
            tool=told["tool"],
            values=told["values"],
            files={name: list(map(Path, paths)) for name, paths in told["files"].items()},
            output=Path(told["output"]),
            settings=settings_of(told["settings"]),
            max_duration_s=told["max_duration_s"],
            max_pixels=told["max_pixels"],
        )
        task.output.mkdir(parents=True, exist_ok=True)
        return {"output": WORK[task.tool](task, tell), "error": None}
    except Exception as error:
        if not isinstance(error, FramePackError):
            logger.error("a task failed", exc_info=error)
        return {"output": None, "error": asdict(error_of(error))}


if __name__ == "__main__":
    main()
