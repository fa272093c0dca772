"""``framepack train``: make models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from framepack.cli.console import say, write
from framepack.cli.options import Quiet, check_at_least
from framepack.cli.stop import CANCELLED
from framepack.cli.usage import Command, Group

__all__ = ["app"]

app = typer.Typer(cls=Group)

_TrainingDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        show_default=False,
        help="Where to train: auto, cpu, cuda, ...; default: auto.",
    ),
]
_Seed = Annotated[
    int,
    typer.Option(metavar="N", show_default=False, help="Everything random follows; default: 0."),
]
_Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        show_default=False,
        help="Stop, resumably, after so long; default: train to the end.",
    ),
]
_STOPPED = "Stopped. The same command goes on from the last checkpoint."
_OUT_OF_TIME = "Stopped when the time was over; the same command goes on."


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Train models."""
    if context.invoked_subcommand is None:
        write(context.get_help())


@app.command("tiny", cls=Command)
def tiny(
    run_dir: Annotated[
        str,
        typer.Option(
            "--run-dir",
            metavar="DIR",
            help="Checkpoints, logs and sample sheets; the same directory goes on. Default: "
            "runs/tiny.",
            show_default=False,
        ),
    ] = "runs/tiny",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            show_default=False,
            help="Folder for the finished model; default: RUN_DIR/model.",
        ),
    ] = None,
    device: _TrainingDevice = "auto",
    vae_steps: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, help="Steps of the VAE."),
    ] = None,
    transformer_steps: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, help="Steps of the transformer."),
    ] = None,
    seed: _Seed = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            show_default=False,
            help="Stop each stage, resumably, after so long; default: train to the end.",
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage",
            metavar="NAME",
            show_default=False,
            help="vae, transformer or export; may be given again; default: all. The first two "
            "can train at the same time, in two commands on one directory.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Train the embedded model from nothing: procedural clips, VAE, encoders, transformer.

    Stopped at any time, the same command goes on from the last checkpoint, at most two
    minutes old.
    """
    for option, steps in (("--vae-steps", vae_steps), ("--transformer-steps", transformer_steps)):
        check_at_least(option, steps, 1)
    check_at_least("--seed", seed, 0)
    check_at_least("--minutes", minutes, 0)

    from framepack.training.tiny.recipe import STAGES, train

    directory = Path(run_dir)
    try:
        complete = train(
            directory,
            device=device,
            vae_steps=vae_steps,
            transformer_steps=transformer_steps,
            seed=seed,
            minutes=minutes,
            stages=tuple(stage) if stage else STAGES,
            output=Path(output) if output is not None else None,
            on_log=None if quiet else _say_row,
        )
    except KeyboardInterrupt:
        say(_STOPPED)
        return CANCELLED
    if complete and "export" in (stage or STAGES):
        write(str(output or directory / "model"))
    elif complete and not quiet:
        say(f"Finished: {', '.join(stage or ())}.")
    elif not quiet:
        say(_OUT_OF_TIME)
    return 0


@app.command("rife", cls=Command)
def rife(
    run_dir: Annotated[
        str,
        typer.Option(
            "--run-dir",
            metavar="DIR",
            help="Checkpoint and log; the same directory goes on. Default: runs/rife.",
            show_default=False,
        ),
    ] = "runs/rife",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            show_default=False,
            help="Folder for the finished weights; default: RUN_DIR/model.",
        ),
    ] = None,
    device: _TrainingDevice = "auto",
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, help="Optimiser steps; default: 4000."),
    ] = None,
    seed: _Seed = 0,
    minutes: _Minutes = None,
    quiet: Quiet = False,
) -> int:
    """Train the network that `--interpolation rife` uses, on clips whose motion is known.

    Stopped at any time, the same command goes on from the last checkpoint, at most two
    minutes old.
    """
    check_at_least("--steps", steps, 1)
    check_at_least("--seed", seed, 0)
    check_at_least("--minutes", minutes, 0)

    from framepack.training.rife.recipe import train

    directory = Path(run_dir)
    try:
        complete = train(
            directory,
            device=device,
            steps=steps,
            seed=seed,
            minutes=minutes,
            output=Path(output) if output is not None else None,
            on_log=None if quiet else _say_row,
        )
    except KeyboardInterrupt:
        say(_STOPPED)
        return CANCELLED
    if complete:
        write(str(Path(output or directory / "model") / "model.safetensors"))
    elif not quiet:
        say(_OUT_OF_TIME)
    return 0


def _say_row(stage: str, row: Mapping[str, float]) -> None:
    """One line of training figures."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
    say(f"{stage} step {row['step']:.0f}: {figures}")
