"""What ``framepack doctor`` finds on this machine, asked of a process of its own and kept a while.

It imports torch and looks for devices, which a server must not.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings
from framepack.service.processes import environment, how_it_ended

__all__ = ["Examination"]

_COMMAND = (sys.executable, "-m", "framepack", "doctor", "--json")
_PATIENCE_S = 180.0
KEPT_S = 300.0
"""What was found is told for so long before it is looked for again."""


class Examination:
    """Looks at the machine, once for all who ask at the same time.

    Args:
        settings: of this machine, asked each time.
        clock: Unix time in seconds.
        command: what looks.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        clock: Callable[[], float] = time.time,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._command = tuple(command)
        self._lock = threading.Lock()
        self._found: dict[str, Any] | None = None
        self._of: Settings | None = None

    def found(self, *, refresh: bool = False) -> dict[str, Any]:
        """``ok``, ``findings`` and ``machine`` as ``doctor --json`` says, and ``checked_at``.

        Args:
            refresh: look again although what is known is of a moment ago.

        Raises:
            InvalidRequest: the settings name a device that is not there, or the like.
        """
        asked = self._clock()
        with self._lock:
            settings = self._settings()
            known = self._found if self._of is settings else None
            if known is not None and known["checked_at"] >= (asked if refresh else asked - KEPT_S):
                return known
            self._found = {**self._looked(settings), "checked_at": self._clock()}
            self._of = settings
            return self._found

    def _looked(self, settings: Settings) -> dict[str, Any]:
        given = ["--device", settings.device, "--dtype", settings.dtype]
        given += ["--attention", settings.attention]
        if settings.models_dir is not None:
            given += ["--models-dir", str(settings.models_dir)]
        try:
            done = subprocess.run(
                [*self._command, *given],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment(),
                timeout=_PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _problem(f"the machine was not looked at within {_PATIENCE_S:g} s")
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            if done.returncode == InvalidRequest.exit_code and said:
                return _problem(said[-1])
            return _problem(f"what looks at the machine ended {how_it_ended(done.returncode)}")
        return found


def _problem(text: str) -> dict[str, Any]:
    """What is told where the machine cannot be looked at."""
    advice = "`framepack doctor` on the server's machine says more"
    finding = {"topic": "examination", "level": "problem", "text": text, "advice": advice}
    return {"ok": False, "findings": [finding], "machine": None}
