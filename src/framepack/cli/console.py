"""What is written to the terminal: results to standard output, all else to standard error."""

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["error_console", "make_output_safe", "one_line", "say", "write", "write_json"]


def make_output_safe() -> None:
    """Make writing never fail on a letter that the terminal's encoding lacks (Windows cp1252)."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def write(text: str) -> None:
    """Write a result line to standard output."""
    print(_as_started(text), flush=True)


def write_json(document: Any, *, indent: int | None = None) -> None:
    """Write JSON to standard output, in ASCII, which every terminal and pipe keeps."""
    print(json.dumps(document, indent=indent, allow_nan=False), flush=True)


def say(text: str) -> None:
    """Write a line for people to standard error."""
    print(_as_started(text), file=sys.stderr, flush=True)


def _as_started(text: str) -> str:
    """Name the commands in a hint as they must be typed: ``run.py`` says how it was started."""
    program = os.environ.get("FRAMEPACK_PROGRAM")
    if not program:
        return text
    return re.sub(r"(`|with: )framepack (?=[a-z])", lambda found: f"{found[1]}{program} ", text)


def one_line(text: str) -> str:
    """The text without line breaks and control characters."""
    joined = " ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in joined)


def error_console() -> "Console":
    """A Rich console on standard error that takes text as it is."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False)
