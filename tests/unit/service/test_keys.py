"""API keys, and where a server may listen without one."""

from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.service.database import Database
from framepack.service.keys import KeyStore, check_bind, read_key_file

SECRET = "a-key-of-an-operator"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "framepack.db")


def key_file(tmp_path: Path, text: str = SECRET) -> Path:
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_key_is_long_random_and_only_its_hash_is_kept(database: Database) -> None:
    keys = KeyStore(database)
    secrets = {keys.create(f"key {number}")[1] for number in range(20)}

    assert len(secrets) == 20
    assert all(len(secret) >= 43 for secret in secrets)  # 256 bits in base64
    database.close()
    content = database.path.read_bytes()
    for name in ("framepack.db-wal",):
        if (path := database.path.with_name(name)).exists():
            content += path.read_bytes()
    assert not any(secret.encode() in content for secret in secrets)


def test_only_the_right_secret_opens(database: Database) -> None:
    keys = KeyStore(database)
    key, secret = keys.create("phone", max_waiting=3)

    assert keys.check(secret) == key
    assert keys.check(secret[:-1]) is None
    assert keys.check(secret + "x") is None
    assert keys.check("") is None
    assert keys.check("é" * 600) is None
    assert keys.quota(key.id) == 3


def test_a_revoked_key_is_useless_at_once_and_does_not_open_the_server(database: Database) -> None:
    keys = KeyStore(database)
    _, secret = keys.create("phone")

    revoked = keys.revoke("phone")

    assert revoked.revoked_at is not None
    assert keys.check(secret) is None
    assert keys.required
    assert not keys.usable
    with pytest.raises(InvalidRequest, match="no working key is called 'phone'"):
        keys.revoke("phone")


def test_a_key_revoked_by_another_process_works_no_longer_than_a_second(
    database: Database,
) -> None:
    now = [0.0]
    server = KeyStore(database, monotonic=lambda: now[0])
    _, secret = server.create("phone")
    assert server.check(secret)

    KeyStore(Database(database.path)).revoke("phone")
    now[0] += 1.1

    assert server.check(secret) is None


def test_a_name_is_used_once_until_it_is_revoked(database: Database) -> None:
    keys = KeyStore(database)
    keys.create("phone")
    with pytest.raises(InvalidRequest, match="choose another name"):
        keys.create("phone")
    keys.revoke("phone")

    assert keys.create("phone")[0].name == "phone"


def test_a_key_of_the_file_is_an_operators(database: Database, tmp_path: Path) -> None:
    text = f"# the operators\n{SECRET}\n\nanna another-key-of-hers\n"
    keys = KeyStore(database, file=key_file(tmp_path, text))

    assert [key.id for key in keys.list()] == ["file:operator", "file:anna"]
    found = keys.check("another-key-of-hers")
    assert found is not None
    assert found.is_admin
    assert keys.required


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        ("short", "line 1 of key file"),
        ("one two three", "line 1 of key file"),
        (f"{SECRET}\n{SECRET}2", "second key named 'operator'"),
    ],
)
def test_a_key_file_with_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read_key_file(key_file(tmp_path, text))


def test_a_key_file_that_everybody_reads_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.chmod(0o644)

    with pytest.raises(InvalidRequest, match="chmod 600"):
        read_key_file(path)


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="nowhere cannot be read"):
        read_key_file(tmp_path / "nowhere")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_this_machine_needs_no_key(database: Database, host: str) -> None:
    keys = KeyStore(database)
    assert not keys.usable
    check_bind(host, keys)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "studio.example"])
def test_other_machines_are_let_in_with_a_key_only(database: Database, host: str) -> None:
    keys = KeyStore(database)
    with pytest.raises(InvalidRequest, match="there is no API key"):
        check_bind(host, keys)

    keys.create("phone")
    check_bind(host, keys)

    keys.revoke("phone")
    with pytest.raises(InvalidRequest, match="there is no API key"):
        check_bind(host, keys)


def test_a_proxy_lets_others_in_as_an_address_does(database: Database) -> None:
    keys = KeyStore(database)
    check_bind("127.0.0.1", keys, ["localhost"])
    with pytest.raises(InvalidRequest, match=r"host studio\.example lets other machines in"):
        check_bind("127.0.0.1", keys, ["studio.example"])

    keys.create("phone")
    check_bind("127.0.0.1", keys, ["studio.example"])
