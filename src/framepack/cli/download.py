"""``framepack models download``: consent, then files with a progress bar."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from framepack.cli.console import error_console, say, write
from framepack.cli.options import ModelName, ModelsDir, Quiet
from framepack.cli.stop import CANCELLED
from framepack.domain.errors import LicenceNotAccepted

if TYPE_CHECKING:
    from rich.console import Console

    from framepack.domain.settings import Settings
    from framepack.models.spec import ModelSpec
    from framepack.weights.download import DownloadProgress

    Report = Callable[[DownloadProgress], None]

__all__ = ["command"]

_LINE_EVERY_S = 30.0  # between two lines where there is no terminal


def command(
    model: ModelName,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence",
            "--accept-license",
            show_default=False,
            help="Accept the terms that `framepack models licence` shows; asked for on a "
            "terminal, needed elsewhere.",
        ),
    ] = False,
    models_dir: ModelsDir = None,
    quiet: Quiet = False,
) -> int:
    """Get a model's weights, after its licence is accepted.

    Goes on where an earlier download stopped, compares every file with its checksum, and
    prints the folders. With offline set it only compares what is here.
    """
    from framepack.domain.settings import Settings
    from framepack.models.spec import resolve_spec

    spec = resolve_spec(model)
    settings = Settings.load(models_dir=models_dir, accept_licence=accept_licence or None)
    if not spec.repos:
        write(f"{spec.key} needs no download: {spec.title}")
        return 0
    if not settings.offline:
        settings = _with_consent(spec, settings, quiet=quiet)

    from framepack.weights.download import download

    try:
        with _progress(quiet=quiet) as report:
            done = download(spec, settings, report)
    except KeyboardInterrupt:
        say("Stopped. The same command goes on where it was.")
        return CANCELLED
    if not quiet:
        say(f"{done.num_files} files compared, {done.fetched_bytes / 1e9:.2f} GB fetched")
    for folder in done.folders.values():
        write(str(folder))
    return 0


def _with_consent(spec: "ModelSpec", settings: "Settings", *, quiet: bool) -> "Settings":
    """Show the terms and get an answer, unless it was given before."""
    from framepack.weights.consent import is_licence_accepted

    terms = spec.licence
    if terms is None or is_licence_accepted(terms):
        return settings
    is_asked = not settings.accept_licence and sys.stdin.isatty()
    if is_asked or (settings.accept_licence and not quiet):
        for line in spec.licence_lines():
            say(line)
    if not is_asked:
        return settings  # accepted by flag or settings, or refused by the download itself
    if not typer.confirm("Do you accept these terms?", default=False, err=True):
        raise LicenceNotAccepted("the terms were not accepted; nothing was downloaded")
    return settings.model_copy(update={"accept_licence": True})


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Report]":
    """What shows a download: nothing, a bar, or a line every half minute."""
    console = error_console()
    if quiet:
        yield lambda state: None
    elif console.is_terminal:
        with _bar(console) as report:
            yield report
    else:
        yield _Lines()


@contextmanager
def _bar(console: "Console") -> "Iterator[Report]":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("", total=None)

        def report(state: "DownloadProgress") -> None:
            bar.update(
                task,
                completed=state.done_bytes,
                total=state.total_bytes,
                description=f"{state.stage} {state.file.rsplit('/', 1)[-1]}",
            )

        yield report


class _Lines:
    """Reports for a log file: when a new file begins, and every half minute."""

    def __init__(self) -> None:
        self._file = ""
        self._last_s = 0.0

    def __call__(self, state: "DownloadProgress") -> None:
        now = time.monotonic()
        if state.file == self._file and now - self._last_s < _LINE_EVERY_S:
            return
        self._file, self._last_s = state.file, now
        share = state.done_bytes / state.total_bytes if state.total_bytes else 1.0
        say(f"{share:4.0%} of {state.total_bytes / 1e9:.1f} GB, {state.stage} {state.file}")
