"""Which video encoders work on this machine, tried in a process of its own.

To try an encoder is to open it, and drivers of hardware have crashed at that; the server must not.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from framepack.domain.errors import FramePackError
from framepack.service.allowed import CODECS
from framepack.service.processes import environment, how_it_ended

__all__ = ["Encoder", "Encoders"]

_COMMAND = (sys.executable, "-m", "framepack", "codecs", "--json", "--all")
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Encoder:
    """One video encoder.

    Attributes:
        id: libav's name, which requests give as ``codec``.
        title: for people.
        is_hardware: it needs hardware of its own.
        works: it could be opened on this machine.
        is_accepted: requests may name it.
    """

    id: str
    title: str
    is_hardware: bool
    works: bool
    is_accepted: bool


class Encoders:
    """Tries the encoders once, when somebody asks first.

    Args:
        command: what lists them, as ``framepack codecs --json --all`` does.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = tuple(command)
        self._lock = threading.Lock()
        self._found: tuple[Encoder, ...] | None = None

    def found(self) -> tuple[Encoder, ...]:
        """Every encoder, hardware ones first.

        Raises:
            FramePackError: they could not be tried.
        """
        with self._lock:
            if self._found is None:
                self._found = self._tried()
            return self._found

    def _tried(self) -> tuple[Encoder, ...]:
        try:
            done = subprocess.run(
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment(),
                timeout=_PATIENCE_S,
                check=False,
            )
            if done.returncode:
                how = how_it_ended(done.returncode)
                raise FramePackError(f"the process that tries the encoders ended {how}")
            return tuple(
                Encoder(
                    each["name"],
                    each["description"],
                    each["is_hardware"],
                    each["works"],
                    each["name"] in CODECS,
                )
                for each in json.loads(done.stdout)
            )
        except subprocess.TimeoutExpired as error:
            raise FramePackError(f"the encoders took longer than {_PATIENCE_S:g} s") from error
