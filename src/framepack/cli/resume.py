"""``framepack resume``: finish a stopped or killed run."""

from pathlib import Path
from typing import Annotated

import typer

from framepack.cli.options import (
    AttentionBackend,
    CompileMode,
    Device,
    DtypeName,
    JsonFlag,
    KeepPartial,
    ModelsDir,
    OffloadMode,
    Quantize,
    Quiet,
    VramBudget,
    VramReserve,
)
from framepack.domain.errors import InvalidRequest

__all__ = ["command"]


def command(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR", show_default=False, help="The directory of the stopped run."
        ),
    ],
    device: Device = None,
    dtype: DtypeName = None,
    attention: AttentionBackend = None,
    compile: CompileMode = None,
    models_dir: ModelsDir = None,
    offload: OffloadMode = None,
    vram_budget: VramBudget = None,
    vram_reserve: VramReserve = None,
    quantize: Quantize = None,
    keep_partial: KeepPartial = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> int:
    """Finish a stopped or killed run and write its video.

    It goes on after the last finished section; the frames are those of an undisturbed run.
    """
    from framepack.domain.settings import Settings

    settings = Settings.load(
        device=device,
        dtype=dtype,
        attention=attention,
        compile=compile,
        models_dir=models_dir,
        offload=offload,
        vram_budget=vram_budget,
        vram_reserve=vram_reserve,
        quantize=quantize or None,
    )
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
