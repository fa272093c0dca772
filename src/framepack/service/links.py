"""Links that work for a while, for whoever has them: signed with a secret of this server."""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, urlencode

from framepack.domain.errors import FramePackError

__all__ = ["Links", "load_secret"]

_SIGNED = ("expires", "signature")


class Links:
    """Signs addresses of files, and knows its own signatures.

    Args:
        secret: of this server; who has it can sign.
        clock: Unix time in seconds.
    """

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, path: str, *, lasts_s: float, query: Iterable[tuple[str, str]] = ()) -> str:
        """An address that can be read without a key for a while.

        Args:
            path: as the server sees it, decoded, such as "/v1/videos/video_1/content".
            lasts_s: seconds until it stops working.
            query: further parameters, which cannot be changed later.

        Returns:
            Path and query; what goes before them depends on how the server is reached.
        """
        pairs = sorted(query)
        expires = str(int(self._clock() + lasts_s))
        signed = [*pairs, ("expires", expires), ("signature", self._sign(path, pairs, expires))]
        return f"{quote(path)}?{urlencode(signed)}"

    def check(self, path: str, query: Iterable[tuple[str, str]]) -> bool:
        """Whether an address was signed here, is as it was then, and still works."""
        pairs = list(query)
        expires, signature = (
            [value for name, value in pairs if name == signed] for signed in _SIGNED
        )
        if len(expires) != 1 or len(signature) != 1:
            return False
        rest = sorted(pair for pair in pairs if pair[0] not in _SIGNED)
        wanted = self._sign(path, rest, expires[0])
        if not hmac.compare_digest(wanted.encode(), signature[0].encode("utf-8", "replace")):
            return False
        return self._clock() < int(expires[0])  # signed, and so a number of ours

    def _sign(self, path: str, query: list[tuple[str, str]], expires: str) -> str:
        # Lengths before the parts: no two addresses have the same text.
        parts = [path, *(part for pair in query for part in pair), expires]
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(
            self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()


def load_secret(path: Path) -> bytes:
    """Read the secret of this server, or make one that only its user can read.

    Raises:
        FramePackError: the file is damaged, others can read it, or the folder cannot be written.
    """
    try:
        if not path.exists():
            _write_secret(path)
        secret, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise FramePackError(
            f"{path} cannot be used: {error.strerror}; check the folder's permissions"
        ) from error
    if len(secret) != 32:
        raise FramePackError(
            f"{path} has {len(secret)} bytes, 32 are needed; remove it, and links that were "
            "signed with it stop working"
        )
    if os.name == "posix" and mode & 0o077:
        raise FramePackError(
            f"{path} can be read by others (mode {mode & 0o777:o}), who could sign links; remove "
            "it, and a new one is made"
        )
    return secret


def _write_secret(path: Path) -> None:
    """Under another name first: a server that starts at the same time sees none or all of it."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
    except FileExistsError:  # the other server was faster
        pass
    except OSError:  # a file system without links
        partial.replace(path)
        return
    partial.unlink()
