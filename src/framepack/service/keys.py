"""API keys: random, shown once, kept as hashes; and where a server may listen without one."""

import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.service.database import Database

__all__ = ["ApiKey", "KeyStore", "check_bind", "is_loopback", "read_key_file"]

_PREFIX = "fp_"
_SHORTEST = 16
_LONGEST = 512
_FRESH_S = 1.0
"""A key that another process revokes works no longer than this."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        id: "key_" and 12 hexadecimal digits, or "file:" and a name for one of the key file; the
            owner of the jobs that are sent with it.
        name: given by people.
        created_at: Unix time in seconds; 0 for one of the key file.
        revoked_at: when it stopped working, or None.
        max_waiting: jobs of this key that may wait or run; None for the server's own limit.
        is_admin: it sees and changes everybody's jobs; so do those of the key file.
    """

    id: str
    name: str
    created_at: float
    revoked_at: float | None = None
    max_waiting: int | None = None
    is_admin: bool = False


class KeyStore:
    """Keys of the database and of the key file.

    Args:
        database: holds hashes of keys that were made here.
        file: one key on each line, alone or after its name; read now.
        clock: Unix time in seconds.
        monotonic: seconds that only ever grow.

    Raises:
        InvalidRequest: the file cannot be read, or holds a line that is no key.
    """

    def __init__(
        self,
        database: Database,
        *,
        file: Path | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._of_file = read_key_file(file) if file is not None else ()
        self._read: tuple[tuple[str, ApiKey], ...] = ()
        self._read_at: float | None = None

    @property
    def required(self) -> bool:
        """Whether requests need a key. Revoking the last one does not open the server."""
        return bool(self._of_file or self._kept())

    @property
    def usable(self) -> bool:
        """Whether there is a key that works."""
        return bool(self._of_file) or any(key.revoked_at is None for _, key in self._kept())

    def create(self, name: str, *, max_waiting: int | None = None) -> tuple[ApiKey, str]:
        """Make a key.

        Args:
            name: for people; no other working key may have it.
            max_waiting: jobs of this key that may wait or run.

        Returns:
            The key, and its secret, which nobody can read later.

        Raises:
            InvalidRequest: the name is empty or taken, or the limit is below 1.
        """
        name = name.strip()
        if not name or len(name) > 100 or not name.isprintable():
            raise InvalidRequest(f"a key is named {name!r}; give 1 to 100 printable characters")
        if max_waiting is not None and max_waiting < 1:
            raise InvalidRequest(f"a key may have {max_waiting} jobs waiting; give 1 or more")
        secret = _PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(f"key_{secrets.token_hex(6)}", name, self._clock(), max_waiting=max_waiting)
        with self._database.transaction() as connection:
            taken = connection.execute(
                "SELECT id FROM keys WHERE name = ? AND revoked_at IS NULL", (name,)
            ).fetchone()
            if taken is not None:
                raise InvalidRequest(
                    f"there is a key named {name!r} ({taken[0]}); choose another name, or revoke it"
                )
            connection.execute(
                "INSERT INTO keys (id, name, hash, created_at, max_waiting) VALUES (?, ?, ?, ?, ?)",
                (key.id, name, _hash(secret), key.created_at, max_waiting),
            )
        self._read_at = None
        return key, secret

    def revoke(self, name: str) -> ApiKey:
        """Make a key useless, by its id or name. Its jobs stay.

        Raises:
            InvalidRequest: no working key is called so.
        """
        now = self._clock()
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE keys SET revoked_at = ? WHERE (id = ? OR name = ?) AND revoked_at IS NULL "
                "RETURNING id",
                (now, name, name),
            ).fetchone()
        self._read_at = None
        if row is None:
            raise InvalidRequest(
                f"no working key is called {name!r}; list the keys to see what there is, and take "
                "those of the key file out of it"
            )
        return next(key for key in self.list() if key.id == row["id"])

    def list(self) -> tuple[ApiKey, ...]:
        """Every key, those of the file first."""
        self._read_at = None
        return tuple(key for _, key in (*self._of_file, *self._kept()))

    def check(self, secret: str) -> ApiKey | None:
        """The key with this secret, if it works.

        The hash is compared with every other in constant time, so that the time an answer takes
        says nothing about how near a guess was.
        """
        if not 0 < len(secret) <= _LONGEST:
            return None
        given, found = _hash(secret), None
        for kept, key in (*self._of_file, *self._kept()):
            if hmac.compare_digest(given, kept) and key.revoked_at is None:
                found = key
        return found

    def working(self, key_id: str) -> tuple[str, ApiKey] | None:
        """The hash of a key and the key, by its id, if it works."""
        known = (*self._of_file, *self._kept())
        return next(
            (each for each in known if each[1].id == key_id and each[1].revoked_at is None), None
        )

    def quota(self, owner: str) -> int | None:
        """Jobs of an owner that may wait or run, if his key has a limit of its own."""
        return next((key.max_waiting for _, key in self._kept() if key.id == owner), None)

    def _kept(self) -> tuple[tuple[str, ApiKey], ...]:
        now = self._monotonic()
        if self._read_at is None or now - self._read_at > _FRESH_S:
            with self._database.reading() as connection:
                rows = connection.execute(
                    "SELECT id, name, hash, created_at, revoked_at, max_waiting FROM keys "
                    "ORDER BY created_at, id"
                ).fetchall()
            self._read = tuple(
                (
                    row["hash"],
                    ApiKey(
                        row["id"],
                        row["name"],
                        row["created_at"],
                        row["revoked_at"],
                        row["max_waiting"],
                    ),
                )
                for row in rows
            )
            self._read_at = now
        return self._read


def read_key_file(path: Path) -> tuple[tuple[str, ApiKey], ...]:
    """Read a key file: ``KEY`` or ``NAME KEY`` on each line; lines with # are for people.

    Returns:
        Hashes and keys.

    Raises:
        InvalidRequest: it cannot be read or others may, has no key, a short one, or a name twice.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        mode = path.expanduser().stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InvalidRequest(f"key file {path} cannot be read: {reason}; check the path") from error
    if os.name == "posix" and mode & 0o007:
        raise InvalidRequest(
            f"key file {path} can be read by everybody on this machine (mode {mode & 0o777:o}); "
            f"run: chmod 600 {path}"
        )
    found: dict[str, tuple[str, ApiKey]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name = words[0] if len(words) == 2 else "operator"
        if len(words) > 2 or not _SHORTEST <= len(words[-1]) <= _LONGEST:
            raise InvalidRequest(
                f"line {number} of key file {path} is no key; write KEY or NAME KEY, with a key of "
                f"{_SHORTEST} to {_LONGEST} characters without spaces"
            )
        if name in found:
            raise InvalidRequest(
                f"line {number} of key file {path} is a second key named {name!r}; write another "
                "name before it"
            )
        found[name] = _hash(words[-1]), ApiKey(f"file:{name}", name, 0.0, is_admin=True)
    if not found:
        raise InvalidRequest(f"key file {path} holds no key; write one on a line")
    return tuple(found.values())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, which may mean any address
        return False


def check_bind(host: str, keys: KeyStore, names: Iterable[str] = ()) -> None:
    """Refuse to let others reach a server that asks nobody for a key.

    Args:
        host: address to listen on.
        keys: of the server.
        names: under which it is asked for besides, by way of a proxy.

    Raises:
        InvalidRequest: the address or a name is not this machine's own, and no key works.
    """
    far = next((each for each in (host, *names) if not is_loopback(each)), None)
    if far is not None and not keys.usable:
        raise InvalidRequest(
            f"host {far or '(all)'} lets other machines in, and there is no API key; make one "
            "with `framepack keys create NAME`, name a file with --api-key-file, or listen on "
            "127.0.0.1"
        )


def _hash(secret: str) -> str:
    """Of a random key one round of SHA-256 is enough: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()
