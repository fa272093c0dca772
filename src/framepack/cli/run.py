"""Pull a run's events, show them, and stop between two steps when asked to."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from framepack.cli.console import say
from framepack.cli.progress import choose_display
from framepack.cli.stop import CANCELLED, StopRequest
from framepack.domain.errors import FramePackError, is_out_of_memory
from framepack.domain.events import Event, Finished, Planned, StageStarted

__all__ = ["run"]


def run(
    begin: Callable[[], Iterator[Event]],
    directory: Path,
    *,
    keep_partial: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run to the end, or until somebody stops it.

    Args:
        begin: checks the input and returns the events.
        directory: the run directory, for the line that says how to go on.
        keep_partial: when stopped, write the video as far as it is finished.
        as_json: write events instead of progress.
        quiet: write the result alone.

    Returns:
        The exit code.

    Raises:
        FramePackError: the run failed, memory that did not suffice included.
    """
    with StopRequest() as stop:
        try:
            if _finishes(begin(), directory, stop, as_json=as_json, quiet=quiet):
                return 0
        except KeyboardInterrupt:
            pass
        except FramePackError as error:
            raise _with_way_on(error, directory) from error
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise _with_way_on(FramePackError(_advice(error)), directory) from error
            raise
    if (directory / "run.json").is_file():
        kept = _keep_partial(directory) if keep_partial else ""
        say(f"Cancelled. {kept}Go on with: framepack resume {_quoted(directory)}")
    else:
        say("Cancelled. Nothing was written.")
    return CANCELLED


def _with_way_on(error: FramePackError, directory: Path) -> FramePackError:
    """The error with the command that goes on, where something was computed."""
    if not (directory / "run.json").is_file() or "framepack resume" in str(error):
        return error
    way_on = f"what is finished is kept, go on with: framepack resume {_quoted(directory)}"
    longer = FramePackError(f"{error}; {way_on}")
    longer.exit_code = error.exit_code
    return longer


def _keep_partial(directory: Path) -> str:
    """Write what is finished; return the sentence that says so."""
    from framepack.api import save_partial

    try:
        number = save_partial(directory)
    except FramePackError as error:
        return f"There is no partial video: {error}. "
    if number == 0:
        return "No section was finished, so there is no video yet. "
    return f"The video has the {number} frames that were finished. "


def _finishes(
    events: Iterator[Event], directory: Path, stop: StopRequest, *, as_json: bool, quiet: bool
) -> bool:
    """Show events until the last one, or until a stop is asked for and costs little."""
    try:
        with choose_display(as_json=as_json, quiet=quiet) as display:
            for event in events:
                display.show(event)
                if isinstance(event, Planned) and not quiet:  # a killed process says nothing more
                    say(f"If it is killed, go on with: framepack resume {_quoted(directory)}")
                if isinstance(event, Finished):
                    return True
                stage = event.stage if isinstance(event, StageStarted) else None
                if stage is not None:
                    stop.at_once = stage in ("load", "encode")
                if stop.requested and stage != "write":  # what is decoded is soon written
                    return False
        return False
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _advice(error: BaseException) -> str:
    detail = (str(error).strip() or "no memory left").splitlines()[0].split(". ")[0]
    return (
        f"this machine's memory does not suffice ({detail}); use a smaller --resolution or "
        "--latent-window-size, --offload group or sequential, close other programs, or --model "
        "tiny; `framepack doctor` says what fits"
    )


def _quoted(path: Path) -> str:
    """The path as the shell at hand takes it."""
    if sys.platform == "win32":
        return subprocess.list2cmdline([str(path)])
    return shlex.quote(str(path))
