"""The service's SQLite file: opening it, ordered migrations, transactions, its errors in words."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framepack.domain.errors import FramePackError
from framepack.service.records import StoreBusy, StoreFull

__all__ = ["MIGRATIONS", "Database"]

BUSY_TIMEOUT_S = 5.0

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        state TEXT NOT NULL,
        request TEXT NOT NULL,
        plan TEXT NOT NULL,
        options TEXT NOT NULL,
        owner TEXT NOT NULL,
        priority INTEGER NOT NULL,
        position REAL NOT NULL,
        created_at REAL NOT NULL,
        available_at REAL NOT NULL,
        started_at REAL,
        finished_at REAL,
        expires_at REAL,
        attempts INTEGER NOT NULL DEFAULT 0,
        max_attempts INTEGER NOT NULL,
        progress TEXT NOT NULL DEFAULT '{}',
        output TEXT NOT NULL DEFAULT '{}',
        error TEXT,
        parent TEXT,
        wanted TEXT,
        lease TEXT,
        heartbeat_at REAL,
        last_seq INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX jobs_by_turn ON jobs (state, priority DESC, position, number);
    CREATE INDEX jobs_by_owner ON jobs (owner, number);
    CREATE INDEX jobs_by_expiry ON jobs (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE events (
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (job, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE idempotency (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        created_at REAL NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        created_at REAL NOT NULL,
        revoked_at REAL,
        max_waiting INTEGER
    ) STRICT;
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        tool TEXT NOT NULL,
        title TEXT NOT NULL,
        state TEXT NOT NULL,
        owner TEXT NOT NULL,
        given TEXT NOT NULL,
        files TEXT NOT NULL,
        progress REAL NOT NULL DEFAULT 0,
        message TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL,
        started_at REAL,
        finished_at REAL,
        output TEXT NOT NULL DEFAULT '{}',
        error TEXT
    ) STRICT;
    CREATE INDEX tasks_by_turn ON tasks (state, number);
    """,
    """
    CREATE TABLE preferences (owner TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
)
"""Each is applied once, in this order; new ones are appended, none is ever changed."""


class Database:
    """One connection, used by any thread, one at a time.

    Args:
        path: the file; made if missing, its folder must be there.

    Raises:
        FramePackError: the file is no database of ours, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with _in_words(path):
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.create_function("folded", 1, str.casefold, deterministic=True)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
        self._migrate()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; other processes wait.

        Raises:
            StoreBusy: another program kept the database for too long.
            StoreFull: no space is left.
        """
        with self._lock, _in_words(self.path), self._connection:  # which commits, or rolls back
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Reads need no transaction: each statement sees what was committed before it."""
        with self._lock, _in_words(self.path):
            yield self._connection

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def _migrate(self) -> None:
        with self.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise FramePackError(
                    f"{self.path} is of a newer FramePack Studio (database version {version}, this "
                    f"program knows {len(MIGRATIONS)}); update the program or name another folder"
                )
            for migration in MIGRATIONS[version:]:
                for statement in migration.split(";"):
                    if statement.strip():
                        connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise StoreBusy(
                f"{path} is in use by another program; close it, or try again in a moment"
            ) from error
        if "full" in text:
            raise StoreFull(f"no space is left for {path}; free some") from error
        raise FramePackError(f"{path} cannot be used: {text}; check the file and its folder") from (
            error
        )
    except sqlite3.DatabaseError as error:
        raise FramePackError(
            f"{path} cannot be used: {error}; restore it from a copy, or move it away"
        ) from error
