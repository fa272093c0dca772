"""Every error a user can meet. A message says what was found, what was needed, what to do."""

# ruff: noqa: N818 - the names say what is wrong; an "Error" at the end would add nothing

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "CheckpointError",
    "DiskFull",
    "FramePackError",
    "HistoryTooShort",
    "InvalidRequest",
    "LicenceNotAccepted",
    "MissingWeights",
    "RunInUse",
    "WorkspaceError",
    "as_bad_input",
    "is_disk_full",
    "is_out_of_memory",
]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class FramePackError(Exception):
    """Base of all errors meant for people; the command line prints it as one line."""

    exit_code = 1


class InvalidRequest(FramePackError):
    """The input asks for something impossible; nothing was loaded or written."""

    exit_code = 2


class MissingWeights(FramePackError):
    """Weights are not on this machine; the text says where they come from and how to get them."""


class LicenceNotAccepted(FramePackError):
    """The weights' licence must be accepted before they may be downloaded."""


class CheckpointError(FramePackError):
    """A weights file is damaged, incomplete or does not fit the network it is loaded into."""


class WorkspaceError(FramePackError):
    """A run directory cannot be written, read or resumed."""


class RunInUse(WorkspaceError):
    """Another process works in the run directory."""


class DiskFull(WorkspaceError):
    """The disk cannot hold what is to be written."""


class HistoryTooShort(FramePackError):
    """A section was asked to see more latent frames than the history holds."""


@contextmanager
def as_bad_input() -> Iterator[None]:
    """Let a weights file at fault count as bad input inside the block: the request names it."""
    try:
        yield
    except CheckpointError as error:
        error.exit_code = InvalidRequest.exit_code
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or of Python means that memory did not suffice."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _MEMORY_WORDS)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that it came from, means that a disk or a quota is full."""
    cause: BaseException | None = error
    seen = set[int]()
    while cause is not None and id(cause) not in seen:  # an error can be its own cause
        seen.add(id(cause))
        number = cause.errno if isinstance(cause, OSError) else _number_in(str(cause))
        if isinstance(cause, DiskFull) or number in _FULL:
            return True
        cause = cause.__cause__
    return False


def _number_in(text: str) -> int | None:
    """The system's number of an error of which safetensors gives the words alone."""
    found = re.search(r"os error (\d+)", text)
    return int(found[1]) if found else None
