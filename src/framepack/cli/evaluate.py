"""``framepack eval``: measure the embedded model."""

from pathlib import Path
from typing import Annotated

import typer

from framepack.cli.console import say, write, write_json
from framepack.cli.options import JsonFlag, Quiet, check_at_least

__all__ = ["command"]


def command(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="DIR",
            show_default=False,
            help="Folder of a trained model; default: the embedded one.",
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            show_default=False,
            help="Folder for figures and sheets; default: runs/eval.",
        ),
    ] = "runs/eval",
    quick: Annotated[
        bool, typer.Option("--quick", show_default=False, help="Few samples, for a first look.")
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            show_default=False,
            help="The cases follow from it; default: 1000.",
        ),
    ] = 1000,
    no_photographs: Annotated[
        bool,
        typer.Option(
            "--no-photographs",
            show_default=False,
            help="Measure on generated pictures only; photographs need the test extra.",
        ),
    ] = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Measure how well the embedded model does what it promises.

    Writes figures and contact sheets to the folder and prints the figures.
    """
    check_at_least("--seed", seed, 0)

    from framepack.training.tiny.evaluate import evaluate
    from framepack.training.tiny.report import markdown

    summary = evaluate(
        Path(model) if model is not None else None,
        output=Path(output),
        quick=quick,
        seed=seed,
        photographs=not no_photographs,
        on_progress=None if quiet else _say_progress,
    )
    if as_json:
        write_json(summary, indent=2)
    else:
        write(markdown(summary).rstrip())


def _say_progress(done: int, number: int, what: str) -> None:
    say(f"{done}/{number} {what}")
