"""``framepack generate``: the main job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framepack.cli.machine_options import machine_options
from framepack.cli.options import (
    AudioFile,
    FramesDir,
    FramesFormat,
    FromVideo,
    JsonFlag,
    KeepPartial,
    KeepRun,
    NoMetadata,
    NoThumbnail,
    Output,
    Quiet,
    RawFile,
    RunDir,
    request_options,
)

__all__ = ["command"]


@request_options
@machine_options
def command(
    *,
    source: FromVideo = None,
    output: Output = None,
    frames_dir: FramesDir = None,
    frames_format: FramesFormat = "png",
    raw: RawFile = None,
    audio: AudioFile = None,
    no_metadata: NoMetadata = False,
    no_thumbnail: NoThumbnail = False,
    run_dir: RunDir = None,
    keep_run: KeepRun = False,
    keep_partial: KeepPartial = False,
    machine: Mapping[str, Any],
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    **fields: Any,
) -> int:
    """Make a video from a prompt, a picture, or both.

    Prints the path of the video; with --json one event per line. Ctrl-C stops within one
    step and keeps what `resume` needs.
    """
    from framepack.api import new_run_dir, stream
    from framepack.cli.asked import asked_request, new_output
    from framepack.cli.run import run
    from framepack.domain.settings import Settings

    settings = Settings.load(**machine)
    with asked_request(fields, source, output) as request:
        target = Path(output or new_output(settings, one_frame=request.one_frame))
        directory = Path(run_dir) if run_dir is not None else new_run_dir(settings, target)
        return run(
            lambda: stream(
                request,
                output=target,
                run_dir=directory,
                keep_run=True if keep_run else None,
                embed=not no_metadata,
                thumbnail=not no_thumbnail,
                frames_dir=frames_dir,
                frames_format=frames_format,
                raw=raw,
                audio=audio,
                settings=settings,
            ),
            directory,
            keep_partial=keep_partial,
            as_json=as_json,
            quiet=quiet,
        )
