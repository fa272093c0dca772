"""``framepack extend``: a run's video, longer."""

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
    Output,
    Quantize,
    Quiet,
    RunDir,
    VramBudget,
    VramReserve,
)

__all__ = ["command"]


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
    device: Device = None,
    dtype: DtypeName = None,
    attention: AttentionBackend = None,
    compile: CompileMode = None,
    models_dir: ModelsDir = None,
    offload: OffloadMode = None,
    vram_budget: VramBudget = None,
    vram_reserve: VramReserve = None,
    quantize: Quantize = None,
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
