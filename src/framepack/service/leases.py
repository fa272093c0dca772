"""The jobs as those see them who work on them.

A job is taken with a lease, a random word. Whoever works on it names the lease with everything he
tells; one whose lease is not the job's any more is not listened to. So however processes die and
come back, a job has one end.
"""

import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from framepack.service.records import ENDED, Job, JobError, Progress, State
from framepack.service.rows import CANCELLED, Jobs, as_text, job_of, log, row_of

__all__ = ["Leases"]

FARTHEST_RETRY_S = 3600.0
"""A job that is to wait for longer than this waits because a clock was changed, and is due."""


class Leases(Jobs):
    """Takes jobs from the queue, and brings them to their end."""

    def claim(self) -> Job | None:
        """Take the job whose turn it is, under a new lease; None if none is due."""
        now = self._clock()
        with self._database.transaction() as connection:
            paused = connection.execute("SELECT value FROM facts WHERE name = 'paused'").fetchone()
            if paused is not None and paused[0] == "yes":
                return None
            row = connection.execute(
                "SELECT id, started_at FROM jobs WHERE state = 'queued' "
                "AND (available_at <= ? OR available_at > ?) "
                "ORDER BY priority DESC, position, number LIMIT 1",
                (now, now + FARTHEST_RETRY_S),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET state = 'running', lease = ?, heartbeat_at = ?, "
                "started_at = IFNULL(started_at, ?) WHERE id = ?",
                (secrets.token_hex(8), now, now, row["id"]),
            )
            log(
                connection,
                row["id"],
                "Resumed" if row["started_at"] else "Started",
                {},
                self._clock(),
            )
            job = job_of(row_of(connection, row["id"]))
        self._on_change(job.id)
        return job

    def heartbeat(self, job_id: str, lease: str) -> bool:
        """Say that the job is worked on; False if it is not the lease's any more."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE jobs SET heartbeat_at = ? WHERE id = ? AND lease = ?",
                    (self._clock(), job_id, lease),
                ).rowcount
                == 1
            )

    def record(
        self, job_id: str, lease: str, kind: str, data: Mapping[str, Any], progress: Progress
    ) -> bool:
        """Append what happened; False, and nothing is kept, if the lease is not the job's.

        A finished section means that trying helps: attempts are counted from there on.
        """
        with self._database.transaction() as connection:
            if not _holds(connection, job_id, lease):
                return False
            connection.execute(
                "UPDATE jobs SET progress = ?, heartbeat_at = ?, "
                "attempts = iif(?, 0, attempts) WHERE id = ?",
                (as_text(asdict(progress)), self._clock(), kind == "SectionDone", job_id),
            )
            log(connection, job_id, kind, data, self._clock())
        self._on_change(job_id)
        return True

    def complete(
        self, job_id: str, lease: str, output: Mapping[str, Any], *, keep_s: float | None = None
    ) -> bool:
        """End a job well.

        Args:
            job_id: the job.
            lease: under which it was made.
            output: see ``Job.output``.
            keep_s: seconds until its files may be removed; None to keep them.

        Returns:
            False, and nothing is changed, if the lease is not the job's.
        """
        now = self._clock()
        expires = None if keep_s is None else now + keep_s
        return self._end(
            job_id,
            lease,
            "completed",
            "Completed",
            output,
            "output = ?, expires_at = ?, error = NULL, progress = json_set(progress, '$.fraction', "
            "1.0, '$.seconds_left', 0.0)",
            (as_text(output), expires),
        )

    def fail(self, job_id: str, lease: str, error: JobError) -> bool:
        """End a job badly, for good; see :meth:`complete`."""
        told = asdict(error)
        return self._end(
            job_id, lease, "failed", "Failed", told, "attempts = attempts + 1, error = ?",
            (as_text(told),),
        )  # fmt: skip

    def stopped(self, job_id: str, lease: str, state: State) -> bool:
        """Say that a job that was to be cancelled or paused has stopped; see :meth:`complete`."""
        kind = {"cancelled": "Cancelled", "paused": "Paused"}[state]
        error = CANCELLED if state == "cancelled" else None
        return self._end(job_id, lease, state, kind, {}, "error = ?", (error,))

    def release(
        self,
        job_id: str,
        lease: str,
        error: JobError | None = None,
        *,
        wait_s: float = 0.0,
        counts: bool = True,
    ) -> bool:
        """Put a job back that could not be finished now.

        Args:
            job_id: the job.
            lease: under which it was tried.
            error: what went wrong, which counts as an attempt; None for a shutdown, which does not.
            wait_s: seconds until it may be tried again.
            counts: False for an error that does not count either: it is tried in another way.

        Returns:
            False, and nothing is changed, if the lease is not the job's.
        """
        now = self._clock()
        told = {} if error is None else asdict(error)
        return self._end(
            job_id,
            lease,
            "queued",
            "Queued" if error is None else "Retried",
            {**told, "wait_s": wait_s} if told else {},
            "attempts = attempts + ?, available_at = ?",
            (int(error is not None and counts), now + wait_s),
        )

    def release_all(self) -> tuple[str, ...]:
        """Put every running job back: whoever worked on them is gone. Returns their ids."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, lease FROM jobs WHERE state = 'running'"
            ).fetchall()
        return tuple(row["id"] for row in rows if self.release(row["id"], row["lease"]))

    def note_partial(self, job_id: str, made: Mapping[str, Any]) -> bool:
        """Say what was made of a job that has stopped; False if it goes on again.

        Args:
            job_id: the job.
            made: "partial", "partial_frames" and "partial_error" of ``Job.output``.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE jobs SET output = json_patch(json_remove(output, '$.partial', "
                "'$.partial_frames', '$.partial_error'), ?) "
                "WHERE id = ? AND state IN ('paused', 'cancelled', 'failed')",
                (as_text(made), job_id),
            )
            if row.rowcount != 1:
                return False
            log(connection, job_id, "Partial", made, self._clock())
        self._on_change(job_id)
        return True

    def expire(self, job_id: str) -> None:
        """Say that the files of a job that has ended were removed; its figures stay."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET expires_at = NULL, output = json_remove(output, '$.video', "
                "'$.thumbnail', '$.raw', '$.frames', '$.partial') WHERE id = ?",
                (job_id,),
            )
            log(connection, job_id, "Expired", {}, self._clock())
        self._on_change(job_id)

    def shift(self, by_s: float) -> None:
        """Move what is still to come along with a clock that was changed.

        Args:
            by_s: seconds by which the clock jumped; negative when it was set back.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET available_at = available_at + ? "
                "WHERE state IN ('queued', 'paused') AND available_at > ?",
                (by_s, self._clock() - by_s),
            )
            connection.execute(
                "UPDATE jobs SET expires_at = expires_at + ? WHERE expires_at IS NOT NULL", (by_s,)
            )

    def num_out_of_memory(self, job_id: str) -> int:
        """How often memory ran out since the job was sent, or sent again after it had failed."""
        with self._database.reading() as connection:
            (number,) = connection.execute(
                "SELECT COUNT(*) FROM events WHERE job = :job AND kind = 'Retried' "
                "AND json_extract(data, '$.code') = 'out_of_memory' AND seq > "
                "(SELECT IFNULL(MAX(seq), 0) FROM events WHERE job = :job AND kind = 'Failed')",
                {"job": job_id},
            ).fetchone()
        return int(number)

    def sections_done(self, job_id: str) -> frozenset[int]:
        """Render indices of the sections that the job's log has."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT json_extract(data, '$.render_index') FROM events "
                "WHERE job = ? AND kind = 'SectionDone'",
                (job_id,),
            ).fetchall()
        return frozenset(int(row[0]) for row in rows)

    def _end(
        self,
        job_id: str,
        lease: str,
        state: State,
        kind: str,
        told: Mapping[str, Any],
        changes: str,
        values: tuple[Any, ...],
    ) -> bool:
        """Take a running job from its lease; what was wanted of it meanwhile is honoured."""
        with self._database.transaction() as connection:
            if not _holds(connection, job_id, lease):
                return False
            if state == "queued":
                wanted = connection.execute(
                    "SELECT wanted FROM jobs WHERE id = ?", (job_id,)
                ).fetchone()[0]
                states: dict[str, tuple[State, str]] = {
                    "cancel": ("cancelled", "Cancelled"),
                    "pause": ("paused", "Paused"),
                }
                state, kind = states.get(wanted, (state, kind))
            ended = self._clock() if state in ENDED else None
            connection.execute(
                f"UPDATE jobs SET {changes}, state = ?, finished_at = ?, wanted = NULL, "
                "lease = NULL WHERE id = ?",
                (*values, state, ended, job_id),
            )
            if state == "cancelled":
                connection.execute("UPDATE jobs SET error = ? WHERE id = ?", (CANCELLED, job_id))
            log(connection, job_id, kind, told, self._clock())
        self._on_change(job_id)
        return True


def _holds(connection: sqlite3.Connection, job_id: str, lease: str) -> bool:
    row = connection.execute("SELECT lease FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row is not None and row["lease"] == lease
