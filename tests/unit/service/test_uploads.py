"""Uploads belong to whoever sent them, expire, and have a limit together."""

from pathlib import Path

import pytest

from framepack.service.records import NoSuchJob, QuotaExceeded
from framepack.service.uploads import Uploads


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(tmp_path: Path, clock: Clock) -> Uploads:
    (tmp_path / "uploads").mkdir()
    return Uploads(tmp_path / "uploads", keep_s=100, most_bytes=1000, clock=clock)


def a_file(folder: Path, size: int = 10) -> Path:
    path = folder / "sent"
    path.write_bytes(b"x" * size)
    return path


def test_an_upload_is_kept_under_its_id(uploads: Uploads, tmp_path: Path) -> None:
    upload = uploads.keep(a_file(tmp_path), name="dog.png", owner="k1")
    given = uploads.input(upload.id, sees="k1")
    assert (given.name, given.path.read_bytes(), given.is_ours) == ("dog.png", b"x" * 10, False)
    assert not (tmp_path / "sent").exists()


def test_nobody_else_sees_it(uploads: Uploads, tmp_path: Path) -> None:
    upload = uploads.keep(a_file(tmp_path), name="a", owner="k1")
    with pytest.raises(NoSuchJob, match="there is no upload"):
        uploads.get(upload.id, sees="k2")
    assert uploads.list(sees="k2") == ()
    assert uploads.get(upload.id, sees=None) == upload


def test_it_expires(uploads: Uploads, tmp_path: Path, clock: Clock) -> None:
    upload = uploads.keep(a_file(tmp_path), name="a", owner="")
    clock.now += 101
    with pytest.raises(NoSuchJob):
        uploads.get(upload.id, sees="")
    uploads.sweep()
    assert list((tmp_path / "uploads").iterdir()) == []


def test_all_together_have_a_limit(uploads: Uploads, tmp_path: Path) -> None:
    uploads.keep(a_file(tmp_path, 600), name="a", owner="")
    with pytest.raises(QuotaExceeded, match="delete some"):
        uploads.keep(a_file(tmp_path, 600), name="b", owner="")


@pytest.mark.parametrize("name", ["../secret", "upload_", f"upload_{'0' * 23}/", "", "a" * 999])
def test_an_id_leads_nowhere_else(uploads: Uploads, name: str) -> None:
    with pytest.raises(NoSuchJob):
        uploads.get(name, sees=None)


def test_a_note_that_is_damaged_hides_the_upload(uploads: Uploads, tmp_path: Path) -> None:
    upload = uploads.keep(a_file(tmp_path), name="a", owner="")
    (tmp_path / "uploads" / f"{upload.id}.json").write_text("{")
    with pytest.raises(NoSuchJob):
        uploads.get(upload.id, sees=None)
