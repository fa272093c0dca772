"""The framepack program: its commands, its exit codes, and errors as one line.

Exit codes: 0 done, 1 failed, 2 bad input, 130 cancelled.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from framepack import __version__
from framepack.cli import (
    bench,
    clip,
    codecs,
    doctor,
    drift,
    encode,
    evaluate,
    extend,
    follow,
    generate,
    inspect,
    jobs,
    keys,
    lora,
    models,
    plan,
    redo,
    resume,
    serve,
    submit,
    train,
    upscale,
)
from framepack.cli.console import make_output_safe, one_line, say, write
from framepack.cli.stop import CANCELLED
from framepack.cli.usage import Command, Group, UsageError, usage_line
from framepack.domain.errors import FramePackError
from framepack.domain.library_logs import hush_libraries

__all__ = ["app", "main"]

_ORDER = (
    "generate",
    "plan",
    "resume",
    "redo",
    "extend",
    "inspect",
    "clip",
    "upscale",
    "drift",
    "encode",
    "codecs",
    "serve",
    "keys",
    "submit",
    "follow",
    "jobs",
    "cancel",
    "models",
    "lora",
    "train",
    "eval",
    "doctor",
    "bench",
)


class _Program(Group):
    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands in the order in which people come to need them."""
        return list(_ORDER)


app = typer.Typer(
    name="framepack",
    cls=_Program,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", show_default=False)
    ] = False,
) -> None:
    """A picture and a sentence become a video."""
    if version:
        write(f"framepack {__version__}")
    elif context.invoked_subcommand is None:
        write(context.get_help())


for _name, _module in (
    ("generate", generate),
    ("plan", plan),
    ("resume", resume),
    ("redo", redo),
    ("extend", extend),
    ("inspect", inspect),
    ("clip", clip),
    ("upscale", upscale),
    ("drift", drift),
    ("encode", encode),
    ("codecs", codecs),
    ("eval", evaluate),
    ("doctor", doctor),
    ("bench", bench),
    ("serve", serve),
    ("submit", submit),
    ("follow", follow),
):
    app.command(_name, cls=Command)(_module.command)
app.command("jobs", cls=Command)(jobs.jobs)
app.command("cancel", cls=Command)(jobs.cancel)
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(lora.app, name="lora")
app.add_typer(train.app, name="train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: the command line without the program's name; that of the process when None.

    Returns:
        The exit code.
    """
    make_output_safe()
    hush_libraries()
    try:
        # Given explicitly, because typer expands * and ? of prompts on Windows otherwise.
        given = list(sys.argv[1:] if arguments is None else arguments)
        code: Any = app(args=given, prog_name="framepack", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except FramePackError as error:
        return _fail(str(error), error.exit_code)
    except UsageError as error:
        return _fail(usage_line(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("cancelled", CANCELLED)
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, MemoryError) as error:
        return _fail(f"{str(error) or 'out of memory'} ({type(error).__name__})", 1)


def _fail(text: str, code: int) -> int:
    say(f"Error: {one_line(text)}")
    return code
