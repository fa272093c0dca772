"""Logs for machines: a line of JSON each, with the job and the request that it is about."""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from framepack.domain.library_logs import hush_libraries

__all__ = [
    "AuditLog",
    "JsonFormatter",
    "about_job",
    "about_request",
    "configure_logs",
    "job_in",
]

_job: ContextVar[str | None] = ContextVar("framepack_job", default=None)
_request: ContextVar[str | None] = ContextVar("framepack_request", default=None)

_JOB = re.compile(r"\bvideo_[0-9a-f]{24}\b")
_AUDIT_BYTES = 10_000_000
_AUDIT_FILES = 5


@contextmanager
def about_job(job_id: str | None) -> Iterator[None]:
    """Put a job's id on every line that is logged in the block, in its tasks too."""
    with _set(_job, job_id):
        yield


@contextmanager
def about_request(request_id: str | None) -> Iterator[None]:
    """Put a request's id on every line that is logged in the block."""
    with _set(_request, request_id):
        yield


@contextmanager
def _set(variable: ContextVar[str | None], value: str | None) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def job_in(text: str) -> str | None:
    """The id of a job in a text, such as the path of a request; None if there is none."""
    found = _JOB.search(text)
    return found[0] if found else None


class JsonFormatter(logging.Formatter):
    """Lines with at, level, logger and message; job, request and error where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message has in it."""
        line: dict[str, Any] = {
            "at": _stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _job.get() or job_in(line["message"]):
            line["job"] = job
        if request := _request.get():
            line["request"] = request
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # ASCII: some readers end lines at U+2028


def configure_logs(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Have everything that is logged written to a stream, standard error unless given.

    uvicorn's access log is silenced: the audit file has the requests, without the queries of
    signed links.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    hush_libraries()
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


class AuditLog:
    """A line for each request: who, what, when and how it ended; never what was in it.

    Args:
        path: the file; at ``most_bytes`` it becomes ``path.1``, and so on up to ``path.5``.
        most_bytes: size of a file.
    """

    def __init__(self, path: Path, *, most_bytes: int = _AUDIT_BYTES) -> None:
        self._handler = _PrivateFile(
            path, maxBytes=most_bytes, backupCount=_AUDIT_FILES, encoding="utf-8", delay=True
        )
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, **values: Any) -> None:
        """Append a line; an unwritable file is reported and stops no request."""
        text = json.dumps({"at": _stamp(time.time()), **values}, default=str)
        self._handler.handle(
            logging.LogRecord("framepack.audit", logging.INFO, "", 0, text, None, None)
        )

    def close(self) -> None:
        """Release the file."""
        self._handler.close()


class _PrivateFile(RotatingFileHandler):
    """A log that only its user can read."""

    def _open(self) -> Any:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
