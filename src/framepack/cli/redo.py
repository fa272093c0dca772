"""``framepack redo``: one section of a run again, and what depends on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.cli.machine_options import machine_options
from framepack.cli.options import JsonFlag, KeepPartial, Output, Quiet, RunDir, whole_number
from framepack.domain.choices import MAX_SEED

__all__ = ["command"]


@machine_options
def command(
    directory: Annotated[
        str,
        typer.Argument(metavar="RUN_DIR", show_default=False, help="The directory of a kept run."),
    ],
    *,
    section: Annotated[
        str,
        typer.Option(
            "--section", metavar="N", show_default=False, help="0 is the first, -1 the last."
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            show_default=False,
            help="What happens in the section, as a section prompt says it; default: as it was.",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="PATH",
            show_default=False,
            help="Picture that stands for the start picture in the section; default: as it was.",
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(
            "--seed",
            metavar="N",
            show_default=False,
            help="Seed of the section's noise; default: a fresh one if nothing else changes.",
        ),
    ] = None,
    output: Output = None,
    run_dir: RunDir = None,
    keep_partial: KeepPartial = False,
    machine: Mapping[str, Any],
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> int:
    """Make one section of a run again, and the sections that were rendered after it.

    The run stays as it is (keep runs with `generate --keep-run`). The new take has a run
    directory of its own, from which further takes can be made.
    """
    from framepack.api import new_run_dir
    from framepack.cli.asked import new_output
    from framepack.cli.run import run
    from framepack.domain.settings import Settings
    from framepack.sequels import stream_redo

    number = whole_number(
        "--section", section, "a whole number: 0 is the first section, -1 the last"
    )
    seed_number = None
    if seed is not None:
        needed = f"a whole number from 0 to {MAX_SEED}"
        seed_number = whole_number("--seed", seed, needed, lowest=0, highest=MAX_SEED)
    settings = Settings.load(**machine)
    target = Path(output) if output is not None else new_output(settings)
    take_dir = Path(run_dir) if run_dir is not None else new_run_dir(settings, target)
    return run(
        lambda: stream_redo(
            directory,
            section=number,
            output=target,
            prompt=prompt,
            image=image,
            seed=seed_number,
            take_dir=take_dir,
            settings=settings,
        ),
        take_dir,
        keep_partial=keep_partial,
        as_json=as_json,
        quiet=quiet,
    )
