"""``framepack resume``: finish a stopped or killed run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.cli.machine_options import machine_options
from framepack.cli.options import JsonFlag, KeepPartial, Quiet
from framepack.domain.errors import InvalidRequest

__all__ = ["command"]


@machine_options
def command(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR", show_default=False, help="The directory of the stopped run."
        ),
    ],
    *,
    machine: Mapping[str, Any],
    keep_partial: KeepPartial = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> int:
    """Finish a stopped or killed run and write its video.

    It goes on after the last finished section; the frames are those of an undisturbed run.
    """
    from framepack.domain.settings import Settings

    settings = Settings.load(**machine)
    run_dir = Path(directory)
    if not (run_dir / "run.json").is_file():  # found before torch is imported, which takes seconds
        raise InvalidRequest(
            f"{run_dir} holds no run (no run.json); give the directory that the stopped "
            "run named, runs that succeeded have removed theirs"
        )

    from framepack.api import stream_resume
    from framepack.cli.run import run

    return run(
        lambda: stream_resume(run_dir, settings=settings),
        run_dir,
        keep_partial=keep_partial,
        as_json=as_json,
        quiet=quiet,
    )
