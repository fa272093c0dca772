"""Bars for what has no sections: frames of a finished video, and parts of a measurement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from framepack.cli.console import error_console

__all__ = ["frames_bar", "stage_bar"]


@contextmanager
def frames_bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar where there is a terminal; yields what is told frames done and frames in all."""
    from rich.progress import Progress

    console = error_console()
    bar = Progress(
        console=console, disable=quiet or not console.is_terminal, transient=True
    )  # started by the first frame, so that what is refused shows no bar
    task = bar.add_task("frames", total=None)

    def show(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def stage_bar(*, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Show a bar where there is a terminal; yields what is told what is done, and the share."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = error_console()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
    task = bar.add_task("", total=1.0)
    with bar:
        yield lambda what, share: bar.update(task, description=what, completed=share)
