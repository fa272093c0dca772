"""The database file: ordered migrations, one truth, errors in words."""

import sqlite3
from pathlib import Path

import pytest
from tests.helpers.jobs import House

from framepack.domain.errors import FramePackError
from framepack.service import database
from framepack.service.database import MIGRATIONS, Database
from framepack.service.records import StoreBusy, StoreFull


def test_it_is_made_with_write_ahead_log_and_its_version(tmp_path: Path) -> None:
    made = Database(tmp_path / "jobs.db")
    with made.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)


def test_migrations_are_applied_once_each_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Database(tmp_path / "jobs.db")
    with first.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('kept', 'yes')")
    first.close()
    added = "ALTER TABLE facts ADD COLUMN since REAL; CREATE TABLE later (x INTEGER) STRICT"
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, added))
    for _ in range(2):
        again = Database(tmp_path / "jobs.db")
        with again.reading() as connection:
            row = connection.execute("SELECT name, value, since FROM facts").fetchone()
            assert tuple(row) == ("kept", "yes", None)
        again.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(tmp_path / "jobs.db").close()
    broken = "CREATE TABLE later (x INTEGER) STRICT; CREATE TABLE later (x INTEGER) STRICT"
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(FramePackError, match="already exists"):
            Database(tmp_path / "jobs.db")
    with Database(tmp_path / "jobs.db").reading() as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'later'")
        assert tables.fetchall() == []


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(FramePackError, match=r"newer FramePack Studio.*update the program"):
        Database(path)


def test_what_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"this is a letter to somebody" * 100)
    with pytest.raises(FramePackError, match="cannot be used: file is not a database"):
        Database(path)


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    made = Database(tmp_path / "jobs.db")

    def half() -> None:
        with made.transaction() as connection:
            connection.execute("INSERT INTO facts VALUES ('half', 'done')")
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        half()
    with made.reading() as connection:
        assert connection.execute("SELECT * FROM facts").fetchall() == []


def test_another_program_that_holds_it_is_busy_and_later_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    made = Database(tmp_path / "jobs.db")
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="in use by another program"), made.transaction():
        pass
    other.execute("ROLLBACK")
    other.close()
    with made.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('a', 'b')")


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    made = Database(tmp_path / "jobs.db")
    with made.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('kept', 'yes')")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    with made.reading() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages}")  # as if no page were left
    with pytest.raises(StoreFull, match="no space is left"), made.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('large', ?)", ("x" * 100_000,))
    with made.reading() as connection:
        assert connection.execute("SELECT name FROM facts").fetchall()[0][0] == "kept"


def test_removing_a_job_removes_its_log_and_its_idempotency_key(tmp_path: Path) -> None:
    house = House(tmp_path)
    sent = {"idempotency_key": "k", "fingerprint": "f"}
    job, _ = house.store.create("video_1", {}, {}, **sent)
    house.store.cancel(job.id)
    house.store.delete(job.id)
    with house.database.reading() as connection:
        for table in ("events", "idempotency"):
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 0
    assert house.store.create("video_2", {}, {}, **sent)[1]
