"""The tasks, durably: a table beside that of the jobs."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from framepack.service.database import Database
from framepack.service.records import (
    JobError,
    NoSuchJob,
    QueueFull,
    QuotaExceeded,
    WrongState,
)
from framepack.service.rows import as_text
from framepack.service.tools.records import DONE, TaskPage, TaskState, ToolTask

__all__ = ["TaskStore", "new_task_id"]


def new_task_id() -> str:
    """An id that nobody can guess."""
    return f"task_{secrets.token_hex(12)}"


class TaskStore:
    """Every task and its place in the queue.

    Args:
        database: where they are.
        on_change: called with a task's id after anything about it was committed.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_change: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._on_change = on_change or (lambda _: None)
        self._clock = clock

    def create(
        self,
        task_id: str,
        tool: str,
        title: str,
        *,
        values: Mapping[str, Any],
        files: Mapping[str, Sequence[tuple[str, str]]],
        owner: str = "",
        max_waiting: int | None = None,
        owner_max_waiting: int | None = None,
    ) -> ToolTask:
        """Queue a task.

        Args:
            task_id: from ``new_task_id``.
            tool: its tool's id.
            title: for people.
            values: fields of the tool.
            files: by field, names in the task's inputs with what the sender calls them.
            owner: id of the key that it was sent with.
            max_waiting: tasks that may wait; None for any number.
            owner_max_waiting: the owner's tasks that may wait or run; None for any number.

        Raises:
            QueueFull, QuotaExceeded: nothing was queued.
        """
        with self._database.transaction() as connection:
            _check_room(connection, owner, max_waiting, owner_max_waiting)
            connection.execute(
                "INSERT INTO tasks (id, number, tool, title, state, owner, given, files, "
                "created_at) SELECT ?, IFNULL(MAX(number), 0) + 1, ?, ?, 'queued', ?, ?, ?, ? "
                "FROM tasks",
                (
                    task_id,
                    tool,
                    title,
                    owner,
                    as_text(values),
                    as_text({name: list(given) for name, given in files.items()}),
                    self._clock(),
                ),
            )
            task = _task_of(_row(connection, task_id))
        self._on_change(task_id)
        return task

    def get(self, task_id: str, *, owner: str | None = None) -> ToolTask:
        """Read a task.

        Args:
            task_id: its id.
            owner: whose it must be; None for anybody's.

        Raises:
            NoSuchJob: there is none, or it is somebody else's.
        """
        with self._database.reading() as connection:
            row = _row(connection, task_id)
        if owner is not None and row["owner"] != owner:
            raise _no_such_task(task_id)
        return _task_of(row)

    def page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        owner: str | None = None,
        states: Sequence[TaskState] = (),
        tool: str | None = None,
    ) -> TaskPage:
        """Read tasks, the newest first.

        Args:
            after: id of the last task of the page before.
            limit: tasks at most.
            owner: whose; None for all.
            states: in one of these; none for all.
            tool: of this tool alone.

        Raises:
            NoSuchJob: there is no task ``after``.
        """
        where, given = ["1"], list[Any]()
        if owner is not None:
            where.append("owner = ?")
            given.append(owner)
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            given += states
        if tool is not None:
            where.append("tool = ?")
            given.append(tool)
        with self._database.reading() as connection:
            if after is not None:
                where.append("number < ?")
                given.append(_row(connection, after)["number"])
            rows = connection.execute(
                f"SELECT * FROM tasks WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?",
                (*given, limit + 1),
            ).fetchall()
        return TaskPage(tuple(map(_task_of, rows[:limit])), len(rows) > limit)

    def claim(self, tools: Sequence[str]) -> ToolTask | None:
        """Take the oldest that waits of some tools; None if none does."""
        marks = ", ".join("?" * len(tools))
        with self._database.transaction() as connection:
            row = connection.execute(
                f"SELECT id FROM tasks WHERE state = 'queued' AND tool IN ({marks}) "
                "ORDER BY number LIMIT 1",
                tuple(tools),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE tasks SET state = 'running', progress = 0, message = '', started_at = ? "
                "WHERE id = ?",
                (self._clock(), row["id"]),
            )
            task = _task_of(_row(connection, row["id"]))
        self._on_change(task.id)
        return task

    def record(self, task_id: str, progress: float, message: str) -> None:
        """Say how far a running task is."""
        self._update(task_id, ("running",), progress=progress, message=message)

    def end(
        self,
        task_id: str,
        state: TaskState,
        *,
        output: Mapping[str, Any] | None = None,
        error: JobError | None = None,
    ) -> bool:
        """Bring a task to its end; False if it had come to one already, or is gone."""
        done = {"progress": 1.0} if state == "completed" else {}
        return self._update(
            task_id,
            ("queued", "running"),
            state=state,
            message="",
            finished_at=self._clock(),
            output=as_text(output or {}),
            error=as_text(asdict(error)) if error else None,
            **done,
        )

    def put_back(self, task_id: str) -> None:
        """Let a running task wait again."""
        self._update(task_id, ("running",), state="queued", progress=0.0, message="")

    def put_back_all(self) -> None:
        """Let everything wait again that a server that is gone worked on."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE tasks SET state = 'queued', progress = 0, message = '' "
                "WHERE state = 'running'"
            )

    def ended_before(self, when: float) -> tuple[str, ...]:
        """Ids of tasks that came to their end before a time."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id FROM tasks WHERE finished_at < ?", (when,))
            return tuple(row["id"] for row in rows.fetchall())

    def delete(self, task_id: str) -> None:
        """Forget a task.

        Raises:
            NoSuchJob: there is none.
            WrongState: it waits or is worked on.
        """
        with self._database.transaction() as connection:
            row = _row(connection, task_id)
            if row["state"] not in DONE:
                raise WrongState(f"{task_id} is {row['state']}; cancel it first")
            connection.execute("DELETE FROM tasks WHERE id = ?", (task_id,))
        self._on_change(task_id)

    def _update(self, task_id: str, states: Sequence[TaskState], **values: Any) -> bool:
        columns = ", ".join(f"{name} = ?" for name in values)
        marks = ", ".join("?" * len(states))
        with self._database.transaction() as connection:
            changed = connection.execute(
                f"UPDATE tasks SET {columns} WHERE id = ? AND state IN ({marks})",
                (*values.values(), task_id, *states),
            ).rowcount
        if changed:
            self._on_change(task_id)
        return changed == 1


def _check_room(
    connection: sqlite3.Connection, owner: str, most: int | None, owners_most: int | None
) -> None:
    (waiting,) = connection.execute("SELECT COUNT(*) FROM tasks WHERE state = 'queued'").fetchone()
    if most is not None and waiting >= most:
        raise QueueFull(f"{waiting} tasks wait, as many as may; try again later")
    (own,) = connection.execute(
        "SELECT COUNT(*) FROM tasks WHERE state IN ('queued', 'running') AND owner = ?", (owner,)
    ).fetchone()
    if owners_most is not None and own >= owners_most:
        raise QuotaExceeded(
            f"this key has {own} tasks waiting or running, which is as many as it may; wait for "
            "one to end, or cancel one"
        )


def _row(connection: sqlite3.Connection, task_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM tasks WHERE id = ?", (task_id,)
    ).fetchone()
    if row is None:
        raise _no_such_task(task_id)
    return row


def _no_such_task(task_id: str) -> NoSuchJob:
    return NoSuchJob(f"there is no task {task_id[:60]}; list yours to see what there is")


def _task_of(row: sqlite3.Row) -> ToolTask:
    error = json.loads(row["error"]) if row["error"] else None
    files = json.loads(row["files"])
    return ToolTask(
        id=row["id"],
        tool=row["tool"],
        title=row["title"],
        state=row["state"],
        owner=row["owner"],
        values=json.loads(row["given"]),
        files={name: [(each[0], each[1]) for each in given] for name, given in files.items()},
        created_at=row["created_at"],
        progress=row["progress"],
        message=row["message"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        output=json.loads(row["output"]),
        error=JobError(**error) if error else None,
    )
