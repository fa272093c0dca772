"""How much one may send, and how often."""

from collections import OrderedDict

__all__ = ["Buckets"]

_MOST = 10_000
"""Callers that are remembered; the one that was quiet for longest is forgotten first."""


class Buckets:
    """A bucket of tokens for each caller; a request takes one, and time brings them back.

    Args:
        per_minute: requests that a caller may make in the long run.
        burst: requests that it may make at once; a tenth of a minute's, at least 20, unless given.
    """

    def __init__(self, per_minute: float, burst: float | None = None) -> None:
        self._per_s = per_minute / 60
        self._most = max(per_minute / 10, 20.0) if burst is None else burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Take a token.

        Args:
            name: whose.
            now: seconds that only ever grow.

        Returns:
            Seconds until there is one; 0 if it was taken.
        """
        tokens, at = self._buckets.get(name, (self._most, now))
        tokens = min(self._most, tokens + max(now - at, 0.0) * self._per_s)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._buckets[name] = (tokens - 1 if not wait else tokens, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return wait
