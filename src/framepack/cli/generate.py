"""``framepack generate``: the main job."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.cli.console import say
from framepack.cli.options import (
    Device,
    DtypeName,
    FramesDir,
    FramesFormat,
    JsonFlag,
    KeepPartial,
    KeepRun,
    ModelsDir,
    NoMetadata,
    NoThumbnail,
    Output,
    Quiet,
    RawFile,
    RunDir,
    request_options,
)

if TYPE_CHECKING:
    from framepack.cli.asked import Asked

__all__ = ["command"]


@request_options
def command(
    *,
    output: Output = None,
    frames_dir: FramesDir = None,
    frames_format: FramesFormat = "png",
    raw: RawFile = None,
    no_metadata: NoMetadata = False,
    no_thumbnail: NoThumbnail = False,
    run_dir: RunDir = None,
    keep_run: KeepRun = False,
    keep_partial: KeepPartial = False,
    device: Device = None,
    dtype: DtypeName = None,
    models_dir: ModelsDir = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    **fields: Any,
) -> int:
    """Make a video from a prompt, a picture, or both.

    Prints the path of the video; with --json one event per line. Ctrl-C stops within one
    step and keeps what `resume` needs.
    """
    from framepack.api import new_run_dir
    from framepack.cli.asked import Asked, new_output
    from framepack.domain.settings import Settings

    settings = Settings.load(device=device, dtype=dtype, models_dir=models_dir)
    asked = Asked.read(fields, settings, ask_torch=True)
    asked.request.require_subject()
    target = Path(output) if output is not None else new_output(settings)
    forms: dict[str, Any] = {
        "frames_dir": Path(frames_dir) if frames_dir is not None else None,
        "frames_format": frames_format,
        "raw": Path(raw) if raw is not None else None,
    }
    _check(asked, target, forms)
    if not quiet:
        say(asked.choice)
    directory = Path(run_dir) if run_dir is not None else new_run_dir(settings, target)

    from framepack.api import stream
    from framepack.cli.run import run

    return run(
        lambda: stream(
            asked.request,
            output=target,
            run_dir=directory,
            keep_run=True if keep_run else None,
            embed=not no_metadata,
            thumbnail=not no_thumbnail,
            **forms,
            settings=settings,
        ),
        directory,
        keep_partial=keep_partial,
        as_json=as_json,
        quiet=quiet,
    )


def _check(asked: "Asked", target: Path, forms: dict[str, Any]) -> None:
    """Find what is wrong before torch is imported, which takes seconds."""
    from framepack.media.outputs import Outputs, settle_codec
    from framepack.weights.locate import locate_all
    from framepack.weights.lora_paths import find_loras

    Outputs(target, **forms).check(asked.request.codec)
    settle_codec(asked.request, target)
    find_loras(asked.request.loras, asked.settings)
    asked.plan()
    locate_all(asked.spec, asked.settings)
