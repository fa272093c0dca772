"""Signed words that stand for a key in a browser, which cannot send headers with every request."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

from framepack.service.keys import ApiKey, KeyStore

__all__ = ["LASTS_S", "Sessions"]

LASTS_S = 14 * 86400.0
"""A browser is asked for its key again after so long."""


class Sessions:
    """Makes words for keys, and knows its own as long as the key works and is the same.

    Args:
        secret: of this server; who has it can sign.
        keys: who may come in.
        clock: Unix time in seconds.
    """

    def __init__(
        self, secret: bytes, keys: KeyStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._keys = keys
        self._clock = clock
        # A browser sends the cookies of a host to every port: servers must not share a name.
        self.cookie = f"framepack_{self._sign('cookie', '', '')[:12]}"

    def begin(self, key: ApiKey) -> str:
        """A word that stands for a key for a while."""
        known = self._keys.working(key.id)
        assert known is not None, "the key was checked just now"
        expires = str(int(self._clock() + LASTS_S))
        name = base64.urlsafe_b64encode(key.id.encode()).decode().rstrip("=")
        return f"{expires}.{self._sign(key.id, expires, known[0])}.{name}"

    def check(self, word: str) -> ApiKey | None:
        """The key that a word stands for, if the word is whole and the key still works."""
        expires, _, rest = word.partition(".")
        signature, _, name = rest.partition(".")
        try:
            key_id = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except ValueError:  # it is none of ours
            return None
        known = self._keys.working(key_id)
        if known is None:
            return None
        kept, key = known
        wanted = self._sign(key_id, expires, kept)
        if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
            return None
        return key if self._clock() < int(expires) else None  # signed, and so a number of ours

    def _sign(self, key_id: str, expires: str, kept: str) -> str:
        # Signed links begin with a digit: neither is ever taken for the other.
        text = f"session {len(key_id)}:{key_id} {expires} {kept}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
