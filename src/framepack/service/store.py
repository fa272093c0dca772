"""The jobs as users see them, durably: SQLite owns the truth. ``leases`` has those who work."""

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from framepack.service.records import (
    ENDED,
    IdempotencyConflict,
    Job,
    JobEvent,
    NoSuchJob,
    Page,
    QueueFull,
    QuotaExceeded,
    State,
    WrongState,
)
from framepack.service.rows import CANCELLED, Jobs, as_text, job_of, log, must_be, row_of
from framepack.service.searching import JobFilter

__all__ = ["JobStore", "new_job_id"]


def new_job_id() -> str:
    """An id that nobody can guess."""
    return f"video_{secrets.token_hex(12)}"


class JobStore(Jobs):
    """Every job, its log and its place in the queue."""

    def create(
        self,
        job_id: str,
        request: Mapping[str, Any],
        plan: Mapping[str, Any],
        *,
        options: Mapping[str, Any] | None = None,
        owner: str = "",
        priority: int = 0,
        parent: str | None = None,
        max_attempts: int = 3,
        max_waiting: int | None = None,
        owner_max_waiting: int | None = None,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> tuple[Job, bool]:
        """Queue a job.

        Args:
            job_id: from ``new_job_id``.
            request: ``GenerationRequest.to_dict()``.
            plan: ``Plan.to_dict()``.
            options: ``JobOptions`` as values.
            owner: id of the key that it was sent with.
            priority: the higher go first.
            parent: the job that it goes on from.
            max_attempts: then it fails for good.
            max_waiting: jobs that may wait; None for any number.
            owner_max_waiting: jobs of this owner that may wait or run.
            idempotency_key: with it, the same request again is the same job.
            fingerprint: of what was asked; another one with the same key is a conflict.

        Returns:
            The job, and whether it is new.

        Raises:
            QueueFull, QuotaExceeded: nothing was queued.
            IdempotencyConflict: the key was used for something else.
        """
        now = self._clock()
        with self._database.transaction() as connection:
            if idempotency_key is not None:
                known = _asked_before(connection, owner, idempotency_key, fingerprint)
                if known is not None:
                    return known, False
            _check_room(connection, owner, max_waiting, owner_max_waiting)
            number = connection.execute("SELECT IFNULL(MAX(number), 0) + 1 FROM jobs").fetchone()[0]
            connection.execute(
                "INSERT INTO jobs (id, number, state, request, plan, options, owner, priority, "
                "position, created_at, available_at, max_attempts, parent) "
                "VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    number,
                    as_text(request),
                    as_text(plan),
                    as_text(options or {}),
                    owner,
                    priority,
                    float(number),
                    now,
                    now,
                    max_attempts,
                    parent,
                ),
            )
            if idempotency_key is not None:
                connection.execute(
                    "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)",
                    (owner, idempotency_key, fingerprint, job_id, now),
                )
            log(connection, job_id, "Queued", {}, self._clock())
            job = job_of(row_of(connection, job_id))
        self._on_change(job_id)
        return job, True

    def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """Read a job.

        Args:
            job_id: its id.
            owner: whose it must be; None for anybody's.

        Raises:
            NoSuchJob: there is none, or it is somebody else's.
        """
        with self._database.reading() as connection:
            row = row_of(connection, job_id)
        if owner is not None and row["owner"] != owner:
            raise NoSuchJob(f"there is no video {job_id}; list yours to see what there is")
        return job_of(row)

    def page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        owner: str | None = None,
        states: Sequence[State] | None = None,
        group: str | None = None,
        search: str = "",
    ) -> Page:
        """Read jobs in the order in which they were sent.

        Args:
            after: id of the last job of the page before.
            limit: jobs at most.
            newest_first: or oldest first.
            owner, states, group, search: see :class:`framepack.service.searching.JobFilter`.

        Raises:
            NoSuchJob: ``after`` is no job.
        """
        clauses, values = JobFilter(owner, states, group, search).conditions()
        with self._database.reading() as connection:
            if after is not None:
                clauses.append(f"number {'<' if newest_first else '>'} ?")
                values.append(row_of(connection, after)["number"])
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE {' AND '.join(clauses)} "
                f"ORDER BY number {'DESC' if newest_first else 'ASC'} LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        return Page(tuple(job_of(row) for row in rows[:limit]), has_more=len(rows) > limit)

    def queue(self) -> tuple[Job, ...]:
        """Waiting jobs in the order in which they are to be taken."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM jobs WHERE state = 'queued' ORDER BY priority DESC, position, number"
            ).fetchall()
        return tuple(job_of(row) for row in rows)

    def waiting(self, *, owner: str | None = None) -> tuple[str, ...]:
        """Ids of waiting jobs in the order in which they are to be taken; see :meth:`page`."""
        clauses, values = JobFilter(owner, ("queued",)).conditions()
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT id FROM jobs WHERE {' AND '.join(clauses)} "
                "ORDER BY priority DESC, position, number",
                values,
            ).fetchall()
        return tuple(row["id"] for row in rows)

    def counts(self) -> dict[State, int]:
        """Number of jobs by state."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall()
        return dict(rows)

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> tuple[JobEvent, ...]:
        """Read a job's log from the event after number ``after`` on."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT seq, at, kind, data FROM events WHERE job = ? AND seq > ? "
                "ORDER BY seq LIMIT ?",
                (job_id, after, limit),
            ).fetchall()
        return tuple(
            JobEvent(row["seq"], row["at"], row["kind"], json.loads(row["data"])) for row in rows
        )

    def cancel(self, job_id: str) -> Job:
        """Have a job end. One that runs stops within a step; one that has ended stays as it is."""
        return self._ask(job_id, "cancel", {"queued": "cancelled", "paused": "cancelled"})

    def pause(self, job_id: str) -> Job:
        """Have a job wait. One that runs stops within a step and later goes on from there.

        Raises:
            WrongState: it has ended.
        """
        return self._ask(job_id, "pause", {"queued": "paused"})

    def unpause(self, job_id: str) -> Job:
        """Let a paused job go on.

        Raises:
            WrongState: it is not paused.
        """
        return self._requeue(job_id, ("paused",), "Queued", "")

    def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again; it goes on where it stopped.

        Raises:
            WrongState: it did not fail and was not cancelled.
        """
        fresh = ", attempts = 0, error = NULL, finished_at = NULL, expires_at = NULL"
        return self._requeue(job_id, ("failed", "cancelled"), "Queued", fresh)

    def move(self, job_id: str, *, priority: int | None = None, before: str | None = None) -> Job:
        """Change a waiting job's turn.

        Args:
            job_id: the job.
            priority: its new priority; it goes behind others of the same.
            before: the waiting job that it is to go ahead of, whose priority it gets.

        Raises:
            WrongState: one of the two does not wait.
        """
        with self._database.transaction() as connection:
            must_be(connection, job_id, ("queued", "paused"))
            if before is not None:
                row = must_be(connection, before, ("queued", "paused"))
                priority = row["priority"]
                (lower,) = connection.execute(
                    "SELECT MAX(position) FROM jobs WHERE state IN ('queued', 'paused') "
                    "AND priority = ? AND position < ? AND id != ?",
                    (priority, row["position"], job_id),
                ).fetchone()
                position = (row["position"] + (row["position"] - 2 if lower is None else lower)) / 2
            else:
                (position,) = connection.execute(
                    "SELECT IFNULL(MAX(position), 0) + 1 FROM jobs"
                ).fetchone()
            connection.execute(
                "UPDATE jobs SET priority = IFNULL(?, priority), position = ? WHERE id = ?",
                (priority, position, job_id),
            )
            job = job_of(row_of(connection, job_id))
        self._on_change(job_id)
        return job

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, with its log.

        Raises:
            WrongState: it has not ended; cancel it first.
        """
        with self._database.transaction() as connection:
            must_be(connection, job_id, (*ENDED, "paused", "queued"))
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        self._on_change(job_id)

    @property
    def is_paused(self) -> bool:
        """Whether no job is to be begun."""
        return self.fact("paused") == "yes"

    def pause_queue(self, paused: bool) -> None:
        """Begin no more jobs, or begin them again; those that run go on."""
        self.set_fact("paused", "yes" if paused else "no")
        self._on_change("")

    def fact(self, name: str) -> str | None:
        """A value that outlives the process, or None."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Keep a value."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def expired(self, now: float) -> tuple[Job, ...]:
        """Completed jobs whose files may be removed at a time."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM jobs WHERE expires_at IS NOT NULL AND expires_at <= ? "
                "ORDER BY expires_at",
                (now,),
            ).fetchall()
        return tuple(job_of(row) for row in rows)

    # --- Inside --------------------------------------------------------------------------------

    def _ask(self, job_id: str, wanted: str, at_once: Mapping[State, State]) -> Job:
        """Change a job that does not run at once, and leave word with one that does."""
        with self._database.transaction() as connection:
            row = row_of(connection, job_id)
            state = row["state"]
            if state in at_once:
                now = self._clock() if at_once[state] in ENDED else None
                error = CANCELLED if at_once[state] == "cancelled" else None
                connection.execute(
                    "UPDATE jobs SET state = ?, finished_at = ?, error = ? WHERE id = ?",
                    (at_once[state], now, error, job_id),
                )
                log(connection, job_id, at_once[state].capitalize(), {}, self._clock())
            elif state == "running" and row["wanted"] != "cancel":
                connection.execute("UPDATE jobs SET wanted = ? WHERE id = ?", (wanted, job_id))
            elif wanted == "pause" and state in ENDED:
                raise WrongState(f"{job_id} is {state} and cannot be paused")
            job = job_of(row_of(connection, job_id))
        self._on_change(job_id)
        return job

    def _requeue(self, job_id: str, states: Sequence[State], kind: str, also: str) -> Job:
        now = self._clock()
        with self._database.transaction() as connection:
            must_be(connection, job_id, states)
            connection.execute(
                f"UPDATE jobs SET state = 'queued', available_at = ?, wanted = NULL{also} "
                "WHERE id = ?",
                (now, job_id),
            )
            log(connection, job_id, kind, {}, self._clock())
            job = job_of(row_of(connection, job_id))
        self._on_change(job_id)
        return job


def _asked_before(
    connection: sqlite3.Connection, owner: str, key: str, fingerprint: str
) -> Job | None:
    """The job that an idempotency key stands for, if there is one."""
    known = connection.execute(
        "SELECT job, fingerprint FROM idempotency WHERE owner = ? AND key = ?", (owner, key)
    ).fetchone()
    if known is None:
        return None
    if known["fingerprint"] != fingerprint:
        raise IdempotencyConflict(
            f"Idempotency-Key {key!r} was used for another request, which became "
            f"{known['job']}; send a new key with a new request"
        )
    return job_of(row_of(connection, known["job"]))


def _check_room(
    connection: sqlite3.Connection, owner: str, most: int | None, owners_most: int | None
) -> None:
    (waiting,) = connection.execute(
        "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'paused')"
    ).fetchone()
    if most is not None and waiting >= most:
        raise QueueFull(f"{waiting} jobs wait, which is as many as may; try again later")
    (own,) = connection.execute(
        "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'paused', 'running') AND owner = ?",
        (owner,),
    ).fetchone()
    if owners_most is not None and own >= owners_most:
        raise QuotaExceeded(
            f"this key has {own} jobs waiting or running, which is as many as it may; wait for one "
            "to end, or cancel one"
        )
