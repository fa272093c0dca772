"""A bar that shows how many frames of a finished video are done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from framepack.cli.console import error_console

__all__ = ["frames_bar"]


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
