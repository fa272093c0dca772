"""Errors of libraries and of the system are told apart by what helps against them."""

import errno

import pytest

from framepack.domain.errors import (
    DiskFull,
    FramePackError,
    WorkspaceError,
    is_disk_full,
    is_out_of_memory,
)


def _caused_by(cause: Exception) -> WorkspaceError:
    error = WorkspaceError("cannot write")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        DiskFull("12 MB free"),
        OSError(errno.ENOSPC, "No space left on device"),
        _caused_by(OSError(errno.EDQUOT, "Disk quota exceeded")),
        _caused_by(RuntimeError("Error while serializing: I/O error: (os error 28)")),
        _caused_by(_caused_by(OSError(errno.EFBIG, "File too large"))),
    ],
)
def test_a_full_disk_is_seen_however_deep_it_lies(error: Exception) -> None:
    assert is_disk_full(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied"),
        _caused_by(RuntimeError("I/O error: Permission denied (os error 13)")),
        FramePackError("the disk is round"),
    ],
)
def test_other_errors_are_no_full_disk(error: Exception) -> None:
    assert not is_disk_full(error)


@pytest.mark.timeout(10)
def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    error = WorkspaceError("cannot write")
    error.__cause__ = error  # as `raise error from error` has it

    assert not is_disk_full(error)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
    ],
)  # fmt: skip
def test_memory_that_ran_out_is_seen(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_a_broken_device_is_not_short_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was met"))
