"""``framepack codecs``: which video encoders there are and which work here."""

from typing import Annotated

import typer

from framepack.cli.console import write, write_json
from framepack.cli.options import JsonFlag

__all__ = ["command"]


def command(
    as_json: JsonFlag = False,
    every: Annotated[
        bool,
        typer.Option("--all", show_default=False, help="Show those that do not work here too."),
    ] = False,
) -> None:
    """List the video encoders, hardware ones first, each tried by opening it."""
    from dataclasses import asdict

    from framepack.media.codecs import list_encoders

    found = [encoder for encoder in list_encoders() if every or encoder.works]
    if as_json:
        write_json([asdict(encoder) for encoder in found], indent=2)
        return
    width = max(len(encoder.name) for encoder in found)
    for encoder in found:
        kind = "hardware" if encoder.is_hardware else "software"
        state = "" if encoder.works else "  (does not work on this machine)"
        write(f"{encoder.name:<{width}}  {kind}  {encoder.description}{state}")
