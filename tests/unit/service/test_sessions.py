"""A word for a key works as long as the key does, here and nowhere else."""

from pathlib import Path

import pytest

from framepack.service.database import Database
from framepack.service.keys import KeyStore
from framepack.service.sessions import LASTS_S, Sessions

SECRET = b"s" * 32


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(Database(tmp_path / "service.db"))


def test_a_word_stands_for_its_key_until_it_expires(keys: KeyStore) -> None:
    now = [1000.0]
    sessions = Sessions(SECRET, keys, clock=lambda: now[0])
    key, _ = keys.create("Zoë")
    word = sessions.begin(key)
    assert sessions.check(word) == key
    now[0] += LASTS_S - 1
    assert sessions.check(word) == key
    now[0] += 1
    assert sessions.check(word) is None


def test_it_dies_with_the_key(keys: KeyStore) -> None:
    sessions = Sessions(SECRET, keys)
    word = sessions.begin(keys.create("one")[0])
    keys.revoke("one")
    assert sessions.check(word) is None


def test_a_changed_key_of_the_file_ends_its_sessions(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    database = Database(tmp_path / "service.db")
    path.write_text("ann a-first-secret-of-ann")
    before = KeyStore(database, file=path)
    word = Sessions(SECRET, before).begin(before.list()[0])
    assert Sessions(SECRET, KeyStore(database, file=path)).check(word) is not None
    path.write_text("ann a-second-secret-of-ann")
    assert Sessions(SECRET, KeyStore(database, file=path)).check(word) is None


def test_words_of_others_and_changed_ones_are_none(keys: KeyStore) -> None:
    sessions = Sessions(SECRET, keys)
    word = sessions.begin(keys.create("one")[0])
    expires, signature, name = word.split(".")
    assert Sessions(b"t" * 32, keys).check(word) is None
    other = Sessions(SECRET, keys).begin(keys.create("two")[0]).split(".")[2]
    for forged in (
        f"{int(expires) + 1}.{signature}.{name}",
        f"{expires}.{signature[:-1]}x.{name}",
        f"{expires}.{signature}.{other}",
        f"{expires}.é.{name}",
        "",
        "a.b",
        "..",
        "9.9.====",
        "9.9.\xff",
    ):
        assert sessions.check(forged) is None, forged


def test_servers_on_one_host_do_not_share_a_cookie(keys: KeyStore) -> None:
    assert Sessions(SECRET, keys).cookie != Sessions(b"t" * 32, keys).cookie
