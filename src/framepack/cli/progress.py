"""Show a run's events: as a bar, as sparse lines, as JSON, or only the result."""

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

import psutil

from framepack.cli.console import error_console, say, write, write_json
from framepack.domain.events import (
    Event,
    Finished,
    MemoryRanOut,
    Planned,
    SectionDone,
    StageStarted,
    StepDone,
)
from framepack.domain.pace import Pace, clock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["Display", "choose_display", "memory_text", "plan_lines", "summary_line"]

_MODES = {
    "t2v": "text to video",
    "i2v": "start picture to video",
    "flf2v": "start and end picture to video",
    "lf2v": "text to end picture",
}
_STAGES = {
    "load": "loading the model",
    "encode": "encoding prompt and pictures",
    "denoise": "denoising",
    "decode": "decoding",
    "write": "writing",
}
_LINE_EVERY_S = 30.0  # between two lines inside one section, where there is no terminal


class Display(AbstractContextManager["Display"]):
    """Shows events; this base shows only the result."""

    def __exit__(self, *_: object) -> None:
        """End the display."""

    def show(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Finished):
            write(event.path)


class JsonDisplay(Display):
    """One event per line on standard output, and nothing else there."""

    def show(self, event: Event) -> None:
        """Write the event."""
        write_json(event.to_dict())


class LineDisplay(Display):
    """A line per section, and within a slow section one every half minute."""

    def __init__(self, *, is_local: bool = True) -> None:
        self._pace, self._is_local = Pace(), is_local
        self._last_line_s = time.monotonic()

    def show(self, event: Event) -> None:
        """Write a line if the event is worth one."""
        self._pace.add(event)
        due = time.monotonic() - self._last_line_s >= _LINE_EVERY_S
        if isinstance(event, Planned):
            for line in plan_lines(event):
                say(line)
        elif isinstance(event, MemoryRanOut):
            say(memory_line(event))
        elif isinstance(event, StageStarted) and event.stage in ("load", "encode"):
            say(_STAGES[event.stage])
        elif isinstance(event, SectionDone) or (isinstance(event, StepDone) and due):
            say(", ".join(_facts(self._pace, is_local=self._is_local)))
            self._last_line_s = time.monotonic()
        elif isinstance(event, Finished):
            say(summary_line(event))
            super().show(event)


class BarDisplay(Display):
    """A progress bar with section, step, seconds per step, time left and memory."""

    def __init__(self, console: "Console", *, is_local: bool = True) -> None:
        self._pace, self._is_local = Pace(), is_local
        self._stage = ""
        self._console = console
        self._bar, self._task = _make_bar(console)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._bar.stop()

    def refresh(self) -> None:
        """Draw the bar now instead of a moment later."""
        self._bar.refresh()

    def show(self, event: Event) -> None:
        """Update the bar."""
        self._pace.add(event)
        if isinstance(event, Planned):
            for line in plan_lines(event):
                self._console.print(line, soft_wrap=True)
        elif isinstance(event, MemoryRanOut):
            self._console.print(memory_line(event), soft_wrap=True)
        elif isinstance(event, StageStarted):
            self._stage = _STAGES[event.stage]
        elif isinstance(event, Finished):
            self._bar.stop()
            say(summary_line(event))
            super().show(event)
            return
        total = self._pace.num_sections * self._pace.num_steps
        self._bar.update(
            self._task,
            completed=self._pace.steps_done,
            total=total or None,
            description=self._stage,
            facts=", ".join(_facts(self._pace, is_local=self._is_local)),
        )


def choose_display(*, as_json: bool, quiet: bool, is_local: bool = True) -> Display:
    """The display that fits the flags and the terminal; memory is shown of this machine alone."""
    if as_json:
        return JsonDisplay()
    if quiet:
        return Display()
    console = error_console()
    if console.is_terminal:
        return BarDisplay(console, is_local=is_local)
    return LineDisplay(is_local=is_local)


def plan_lines(event: Planned) -> list[str]:
    """What is being made, in one line, and the plan's notes."""
    plan = event.plan
    count = len(plan["sections"])
    seconds = plan["num_frames"] / plan["fps"]
    request, mode = plan["request"], _MODES[plan["mode"]]
    made = f"{plan['num_frames']} frames ({seconds:.2f} s at {plan['fps']:g} fps)"
    if request["one_frame"]:
        mode = mode.replace("to video", "to one picture")
        made = f"at index {request['target_index']}"
    line = (
        f"{mode}, {plan['model']} {plan['variant']}: "
        f"{plan['width']}x{plan['height']}, {made}, {count} section{'s' if count != 1 else ''} of "
        f"{request['num_inference_steps']} steps, seed {plan['seed']}"
    )
    return [line, *plan["notes"]]


def memory_line(event: MemoryRanOut) -> str:
    """One line that says how the run goes on."""
    return f"memory ran out ({event.reason.split('. ')[0]}); going on with: {event.way}"


def summary_line(event: Finished) -> str:
    """One line that says what was made and what it took."""
    stats = event.stats
    memory = f"{stats['peak_host_gb']:.1f} GB"
    if stats["peak_device_gb"] is not None:
        memory += f" and {stats['peak_device_gb']:.1f} GB on the device"
    made = f"{event.num_frames} frames ({event.duration_s:.2f} s)"
    skipped = stats.get("num_skipped_steps", 0)
    steps = f", {skipped} of {stats['num_steps']} steps skipped" if skipped else ""
    return (
        f"{made if event.duration_s else 'One picture'} in {stats['total_s']:.1f} s, "
        f"{stats['step_s']:.2f} s per step{steps}, peak memory {memory}"
    )


def memory_text() -> str:
    """Memory that this process holds now, and that torch holds on the accelerator."""
    text = f"{psutil.Process().memory_info().rss / 1e9:.1f} GB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator().type
        if device in ("cuda", "xpu"):
            text += f" + {torch.accelerator.memory_reserved() / 1e9:.1f} GB {device}"
    return text


def _facts(pace: Pace, *, is_local: bool) -> list[str]:
    facts = []
    if pace.num_sections:
        facts.append(f"section {pace.section}/{pace.num_sections}")
        facts.append(f"step {pace.step}/{pace.num_steps}")
    if pace.step_s is not None:
        facts.append(f"{pace.step_s:.2f} s/step")
    if pace.left_s is not None:
        facts.append(f"{clock(pace.left_s)} left")
    return [*facts, memory_text()] if is_local else facts


def _make_bar(console: "Console") -> tuple["Progress", "TaskID"]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    plain = console.options.ascii_only or console.legacy_windows
    bar = Progress(
        SpinnerColumn("line" if plain else "dots"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[facts]}", markup=False),
        console=console,
        transient=True,
    )
    return bar, bar.add_task("", total=None, facts="")
