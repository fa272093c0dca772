"""Let one process at a time work in a run directory.

The operating system holds the lock and drops it when the process dies, however it dies,
so a killed run never blocks its own resume. The file also names its holder, for the
message, and as the only evidence on file systems that cannot lock.
"""

import errno
import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any, Self

import psutil

from framepack.domain.errors import RunInUse, WorkspaceError

__all__ = ["RunLock"]

logger = logging.getLogger(__name__)

_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_SAME_START_S = 2.0  # clocks of some systems tick once a second


class RunLock:
    """An exclusive lock on one file. Not re-entrant.

    Args:
        path: the lock file; made if absent, kept afterwards, because removing a locked
            file lets two processes hold different files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or say who has it.

        Raises:
            RunInUse: another live process works here.
            WorkspaceError: the file cannot be locked.
        """
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            if _lock(self._descriptor):
                os.ftruncate(self._descriptor, 0)
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, json.dumps(_this_process()).encode())
                return
        except OSError as error:
            self._close()
            raise WorkspaceError(
                f"cannot lock {self.path}: {error.strerror or error}; "
                "use a run directory on a local disk that you may write to"
            ) from error
        self._close()
        raise RunInUse(self._in_use(_read_holder(self.path)))

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _in_use(self, holder: dict[str, Any]) -> str:
        who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
        return (
            f"{self.path.parent} is in use by {who}; wait until it ends or stop it, "
            "or use another run directory"
        )


def _lock(descriptor: int) -> bool:
    """Ask the operating system for the lock; False when another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # Far past the text, which other processes must be able to read.
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        logger.warning("no file locks here (%s); trusting the recorded process", error)
        return not _is_alive(_parse_holder(os.read(descriptor, 4096)))
    return True


def _this_process() -> dict[str, Any]:
    process = psutil.Process()
    return {
        "pid": process.pid,
        "started": process.create_time(),
        "host": socket.gethostname(),
    }


def _is_alive(holder: dict[str, Any]) -> bool:
    """Whether the recorded process still runs; a reused process number does not count."""
    if not holder or holder["host"] != socket.gethostname():
        return False
    try:
        started = psutil.Process(holder["pid"]).create_time()
    except psutil.NoSuchProcess:
        return False
    return bool(abs(started - holder["started"]) < _SAME_START_S)


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        return _parse_holder(path.read_bytes())
    except OSError:
        return {}


def _parse_holder(text: bytes) -> dict[str, Any]:
    """Return the recorded holder; empty when the record was cut short by a crash."""
    try:
        holder = json.loads(text)
        return {
            "pid": int(holder["pid"]),
            "started": float(holder["started"]),
            "host": str(holder["host"]),
        }
    except (ValueError, KeyError, TypeError):
        return {}
