"""``framepack eval``: measure the embedded model."""

from pathlib import Path
from typing import Annotated

import typer

from framepack.cli.console import write_json
from framepack.cli.options import JsonFlag

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
    as_json: JsonFlag = False,
) -> None:
    """Measure how well the embedded model does what it promises."""
    from framepack.training.tiny.evaluate import evaluate

    figures = evaluate(Path(model) if model is not None else None, output=Path(output), quick=quick)
    write_json(figures, indent=None if as_json else 2)
