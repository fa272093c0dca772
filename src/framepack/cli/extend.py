"""``framepack extend``: a run's video, longer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.cli.machine_options import machine_options
from framepack.cli.options import JsonFlag, KeepPartial, Output, Quiet, RunDir

__all__ = ["command"]


@machine_options
def command(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR", show_default=False, help="The directory of a kept forward-only run."
        ),
    ],
    *,
    by_s: Annotated[
        float,
        typer.Option("--by", metavar="S", show_default=False, help="Seconds to add; default: 4."),
    ] = 4.0,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            show_default=False,
            help="What happens in the new sections, as a section prompt says it; default: what "
            "happened in the last one.",
        ),
    ] = None,
    output: Output = None,
    run_dir: RunDir = None,
    keep_partial: KeepPartial = False,
    machine: Mapping[str, Any],
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> int:
    """Go on after the last section of a run; what is there stays, bit by bit.

    Writes the whole longer video. Any other video is extended by `generate --extend VIDEO`.
    """
    from framepack.api import new_run_dir
    from framepack.cli.asked import new_output
    from framepack.cli.run import run
    from framepack.domain.settings import Settings
    from framepack.sequels import stream_extend

    settings = Settings.load(**machine)
    target = Path(output) if output is not None else new_output(settings)
    take_dir = Path(run_dir) if run_dir is not None else new_run_dir(settings, target)
    return run(
        lambda: stream_extend(
            directory,
            by_s=by_s,
            output=target,
            prompt=prompt,
            take_dir=take_dir,
            settings=settings,
        ),
        take_dir,
        keep_partial=keep_partial,
        as_json=as_json,
        quiet=quiet,
    )
