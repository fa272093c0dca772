"""The process that makes videos: the one part of the service that reaches torch.

It is started as ``python -m framepack.service.worker`` and speaks JSON lines over its own pipes,
one object a line:

    in   {"do": "settings", "settings": {...}, "log_level": 20}
                                                 first: what holds on this machine
         {"do": "run", "lease": ..., ...}        a task; see ``framepack.service.executor.Task``
         {"do": "stop", "lease": ...}            stop a task within a step
         {"do": "load", "model": ...}            read a model's networks
    out  {"say": "started", "lease": ...}
         {"say": "event", "lease": ..., "event": {...}}
         {"say": "ended", "lease": ..., "outcome": ..., "output": {...}, "error": {...} or null,
          "leaves": bool}                        whether the process ends now
         {"say": "facts", "device": ..., "device_memory_gb": ..., "model": ...}
         {"say": "loaded", "error": ... or null}

When its input ends, whoever started it is gone: it finishes a section that is being decoded, drops
what else it does, and ends. Nothing is lost, since a run directory can be resumed at any moment.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from framepack.service.logs import about_job, configure_logs
from framepack.service.processes import Channel
from framepack.service.tasks import TaskRunner, settings_of

__all__ = ["Worker", "main"]

Say = Callable[[Mapping[str, Any]], None]


class Worker:
    """Does what its inbox says, one task after the other.

    Args:
        say: sends an object to whoever started the process.
        leave: ends the process at once, from any thread.
        log: has what is logged written, from a level on.
    """

    def __init__(self, say: Say, leave: Callable[[], object], log: Callable[[int], object]) -> None:
        self._say = say
        self._leave = leave
        self._log = log
        # Not Queue: a signal's handler must not wait for a lock that the same thread holds.
        self._inbox: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._runner: TaskRunner | None = None
        self._stopped: set[str] = set()
        self._is_closing = False

    def hear(self, said: Mapping[str, Any]) -> None:
        """Take in one object; from any thread."""
        if said["do"] == "stop":
            self._stopped.add(said["lease"])
        else:
            self._inbox.put(said)

    def close(self) -> None:
        """Stop the task at work and take no other; from any thread."""
        self._is_closing = True
        self._inbox.put(None)

    def abandon(self) -> None:
        """Nobody listens any more: end now, or as soon as what is decoded is on the disk."""
        self.close()
        if self._runner is None or not self._runner.is_worth_waiting:
            self._leave()

    def work(self) -> None:
        """Do tasks until it is closed, or a task leaves the process in a doubtful state."""
        while (said := self._inbox.get()) is not None and not self._is_closing:
            if said["do"] == "settings":
                self._log(said["log_level"])
                self._runner = TaskRunner(settings_of(said["settings"]))
            elif said["do"] == "load":
                self._load(str(said["model"]))
            elif self._run(said):
                return

    def _load(self, model: str) -> None:
        assert self._runner is not None, "settings come first"
        error = self._runner.load(model)
        self._say({"say": "facts", **self._runner.facts()})
        self._say({"say": "loaded", "error": error})

    def _run(self, task: Mapping[str, Any]) -> bool:
        """Do one task; return whether the process had better end."""
        assert self._runner is not None, "settings come first"
        lease = str(task["lease"])
        self._say({"say": "started", "lease": lease})
        runner = self._runner

        def on_event(event: Mapping[str, Any]) -> None:
            self._say({"say": "event", "lease": lease, "event": event})
            if event["event"] == "SectionDone":
                self._say({"say": "facts", **runner.facts()})

        with about_job(task["job_id"]):
            end = runner.run(
                task,
                on_event=on_event,
                is_stopped=lambda: self._is_closing or lease in self._stopped,
            )
        self._stopped.discard(lease)
        self._say({"say": "facts", **runner.facts()})
        self._say({"say": "ended", "lease": lease, **end.to_dict()})
        return end.leaves


def main() -> None:
    """Work until the input ends."""
    channel = Channel()
    worker = Worker(
        channel.say,
        leave=lambda: os._exit(0),
        log=lambda level: configure_logs(level=level),
    )

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        worker.close()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server
    signal.signal(signal.SIGTERM, on_sigterm)
    threading.Thread(target=channel.listen, args=(worker.hear, worker.abandon), daemon=True).start()
    from framepack.pipeline.device import keep_freed_memory  # torch: takes seconds

    keep_freed_memory()
    worker.work()
    # Not a return: the thread that reads would keep the interpreter from ending.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
