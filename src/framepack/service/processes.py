"""Processes that the service starts: how they find this package, speak, and end."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import framepack
from framepack.service.lines import line_of, read_lines

__all__ = ["Channel", "environment", "how_it_ended"]


class Channel:
    """A process's own pipes, out of reach of libraries that print or read."""

    def __init__(self) -> None:
        self._input: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._output: BinaryIO = os.fdopen(os.dup(1), "wb")
        self._lock = threading.Lock()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def say(self, said: Mapping[str, Any]) -> None:
        """Send one object; ends the process if nobody reads."""
        try:
            with self._lock:
                self._output.write(line_of(said))
                self._output.flush()
        except OSError:
            os._exit(0)

    def listen(
        self, hear: Callable[[Mapping[str, Any]], object], abandon: Callable[[], object]
    ) -> None:
        """Hand over everything that comes, then say that there is no more."""
        for said in read_lines(self._input):
            hear(said)
        abandon()


def environment() -> dict[str, str]:
    """This process's, with this very package where another Python finds it."""
    here = str(Path(framepack.__file__).parents[1])
    path = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}


def how_it_ended(code: int) -> str:
    """The exit code of a process as the end of a sentence."""
    if code >= 0:
        return f"with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = "; systems do that to programs when memory runs out" if name == "SIGKILL" else ""
    return f"by {name}{hint}"
