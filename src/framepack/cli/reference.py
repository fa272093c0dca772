"""The command line's reference page, made from its own help.

`python -m framepack.cli.reference docs/cli.md` writes it anew.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from framepack.cli.main import app

__all__ = ["reference"]

_WIDTH = 88
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

Settings such as the outputs folder come from flags, then `FRAMEPACK_<NAME>` in the
environment, then `OUTPUTS_DIR`, `LOCAL_MODELS_DIR`, `HF_HOME`, `HF_HUB_CACHE` and
`HF_HUB_OFFLINE`, then `settings.toml` in the user's configuration folder, or the file that
`FRAMEPACK_SETTINGS` names.

<!-- What follows is made by `python -m framepack.cli.reference docs/cli.md`. -->
"""


def reference() -> str:
    """The whole page, Markdown."""
    program = typer.main.get_command(app)
    parts = [_HEAD]
    for path, text in _pages(program, "framepack", None):
        parts.append(f"## {path}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


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
