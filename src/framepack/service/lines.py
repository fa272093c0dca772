"""Objects as lines of JSON, as the worker and its executor exchange them."""

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

__all__ = ["line_of", "read_lines"]


def line_of(said: Mapping[str, Any]) -> bytes:
    """One object as one line; in ASCII, since a path may be no valid UTF-8."""
    return json.dumps(said, separators=(",", ":")).encode("ascii") + b"\n"


def read_lines(source: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Objects until the other side is gone; a last line that was cut short is left out."""
    while True:
        try:
            line = source.readline()
        except (OSError, ValueError):  # closed by another thread
            return
        if not line.endswith(b"\n"):
            return
        yield json.loads(line)
