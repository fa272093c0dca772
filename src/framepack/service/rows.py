"""Rows of the jobs' tables as plain values, and back."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from framepack.service.records import Job, JobError, NoSuchJob, Progress, State, WrongState

__all__ = ["CANCELLED", "as_text", "job_of", "log", "must_be", "row_of"]


def as_text(value: Mapping[str, Any]) -> str:
    """A column of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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
    for name in ("request", "plan", "options", "output"):
        values[name] = json.loads(row[name])
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
