"""Rows of the jobs' tables as plain values, and back."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from framepack.service.database import Database
from framepack.service.records import Job, JobError, NoSuchJob, Progress, State, WrongState

__all__ = ["CANCELLED", "Jobs", "Stored", "as_text", "job_of", "log", "must_be", "row_of"]


def as_text(value: Mapping[str, Any]) -> str:
    """A column of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Stored(Mapping[str, Any]):
    """An object that is read from its JSON when it is first looked into.

    The plan of a long video has a megabyte of sections, and who asks how far it is needs none.
    """

    __slots__ = ("_text", "_values")

    def __init__(self, text: str) -> None:
        self._text = text
        self._values: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"Stored({self._text[:60]!r})"

    def _read(self) -> dict[str, Any]:
        if self._values is None:
            self._values = json.loads(self._text)
        return self._values


CANCELLED = as_text({"code": "cancelled", "message": "the job was cancelled"})


def row_of(connection: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    """The row of a job.

    Raises:
        NoSuchJob: there is none.
    """
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE id = ?", (job_id,)
    ).fetchone()
    if row is None:
        raise NoSuchJob(f"there is no video {job_id}; list yours to see what there is")
    return row


def must_be(connection: sqlite3.Connection, job_id: str, states: Sequence[State]) -> sqlite3.Row:
    """The row of a job in one of some states.

    Raises:
        NoSuchJob: there is none.
        WrongState: it is in another state.
    """
    row = row_of(connection, job_id)
    if row["state"] not in states:
        raise WrongState(f"{job_id} is {row['state']}; needed: {' or '.join(states)}")
    return row


def job_of(row: sqlite3.Row) -> Job:
    """The job that a row holds."""
    values = {name: row[name] for name in Job.__slots__ if name in row.keys()}  # noqa: SIM118
    for name in ("request", "options", "output"):
        values[name] = json.loads(row[name])
    values["plan"] = Stored(row["plan"])
    values["progress"] = Progress(**json.loads(row["progress"]))
    values["error"] = JobError(**json.loads(row["error"])) if row["error"] else None
    return Job(**values)


def log(
    connection: sqlite3.Connection, job_id: str, kind: str, data: Mapping[str, Any], now: float
) -> None:
    """Append an event to a job's log."""
    (seq,) = connection.execute(
        "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = ? RETURNING last_seq", (job_id,)
    ).fetchone()
    connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?)", (job_id, seq, now, kind, as_text(data))
    )


class Jobs:
    """What the two views of the jobs share: the database, the time, and word of changes.

    Args:
        database: where they are.
        clock: Unix time in seconds.
        on_change: called with a job's id after anything about it was committed.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[str], object] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_change = on_change or (lambda _: None)
