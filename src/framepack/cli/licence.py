"""``framepack models licence``: the terms of a model's weights."""

from framepack.cli.console import write
from framepack.cli.options import ModelName

__all__ = ["command"]


def command(model: ModelName) -> None:
    """Show the terms of a model's weights."""
    from framepack.models.spec import resolve_spec

    for line in resolve_spec(model).licence_lines():
        write(line)
