"""The command line's reference page, made from its own help.

`python -m framepack.cli.reference docs/cli.md` writes it anew.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

import typer

from framepack.cli.main import app
from framepack.domain.events import EVENTS
from framepack.domain.settings import SHARED_VARIABLES, Settings
from framepack.service.options import ServiceConfig

__all__ = ["reference"]

_WIDTH = 88
_SETTINGS = """\
## Settings

What holds for every run on a machine comes from flags, then the environment, then
`settings.toml` in the user's configuration folder, or the file that `FRAMEPACK_SETTINGS` names:
the first that speaks wins. `framepack doctor` names the file.

| in settings.toml | in the environment | |
|---|---|---|"""
_SERVICE = """\
## Settings of the server

The table `[service]` of `settings.toml`; `framepack serve` has options for the first three and for
the key file.

| in `[service]` | default | |
|---|---|---|"""
_EVENTS = """\
## Events

What `--json` writes line by line and `framepack.stream` yields. Each line has the kind under
`event`, and `elapsed_s`, seconds since the run began.

| event | | other fields |
|---|---|---|"""
_RECIPES = """\
## Recipes

A recipe is a file that says what a model is made of; `--model RECIPE.toml` uses it. Only what
differs from the base is written; `framepack models recipe MODEL` prints a whole one.

```toml
base = "i2v"                        # tiny, i2v or f1
title = "my fine-tune"
variants = ["bi-directional"]

[components]                        # owner/repo/subfolder, or a folder that starts with ./
transformer = "./transformer"

[defaults]
num_inference_steps = 20
```
"""
_HEAD = """\
# Command line

`python3 run.py COMMAND ...` from a checkout, `framepack COMMAND ...` or `python -m framepack
COMMAND ...` where it is installed. Results go to standard output; progress, notes and errors to
standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: missing weights, a full disk, a machine without enough memory |
| 2 | bad input; nothing was written |
| 130 | cancelled; the last line says how to go on |

`--json` writes JSON to standard output and nothing else there: `generate` and `resume` one event
per line, the others one document.

<!-- What follows is made by `python -m framepack.cli.reference docs/cli.md`. -->
"""


def reference() -> str:
    """The whole page, Markdown."""
    program = typer.main.get_command(app)
    parts = [_HEAD, _settings(), _service(), _events(), _RECIPES]
    for path, text in _pages(program, "framepack", None):
        parts.append(f"## {path}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _settings() -> str:
    """What ``settings.toml`` and the environment can say."""
    rows = [
        f"| `{name}` | {_shared(name)} | {escape(field.description or '', quote=False)} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([_SETTINGS, *rows, ""])


def _shared(name: str) -> str:
    variables = [f"`FRAMEPACK_{name.upper()}`"]
    if name in SHARED_VARIABLES:
        variables.append(f"`{SHARED_VARIABLES[name]}`")
    return ", ".join(variables)


def _service() -> str:
    """What the table ``[service]`` can say."""
    rows = [
        f"| `{name}` | {_default(field.default)} | {escape(field.description or '', quote=False)} |"
        for name, field in ServiceConfig.model_fields.items()
    ]
    return "\n".join([_SERVICE, *rows, ""])


def _default(value: object) -> str:
    return (
        "" if value in (None, ()) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
    )


def _events() -> str:
    """The events of ``--json`` and of ``framepack.stream``, with their fields."""
    rows = []
    for kind in EVENTS:
        summary = (kind.__doc__ or "").splitlines()[0]
        names = ", ".join(f"`{field.name}`" for field in fields(kind) if field.name != "elapsed_s")
        rows.append(f"| `{kind.__name__}` | {summary} | {names} |")
    return "\n".join([_EVENTS, *rows, ""])


def _pages(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    """The path and the help of a command and of those below it."""
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=_WIDTH
    )
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, help_text.strip()
    for child in getattr(command, "commands", {}) and command.list_commands(context):
        yield from _pages(command.get_command(context, child), child, context)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8", newline="\n")
