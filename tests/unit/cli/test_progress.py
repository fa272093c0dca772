"""Each display shows a run in its own way, results on standard output and nothing else there."""

import io
import json

import pytest
from rich.console import Console

from framepack.cli.progress import (
    BarDisplay,
    Display,
    JsonDisplay,
    LineDisplay,
    choose_display,
    memory_text,
)
from framepack.domain.events import Event, Finished, MemoryRanOut

Events = list[Event]


def _show(display: Display, events: Events) -> None:
    with display:
        for event in events:
            display.show(event)


def _path(events: Events) -> str:
    assert isinstance(events[-1], Finished)
    return events[-1].path


def test_json_is_one_event_per_line_and_nothing_else(
    events: Events, capsys: pytest.CaptureFixture[str]
) -> None:
    _show(JsonDisplay(), events)
    out, err = capsys.readouterr()
    assert [Event.from_dict(json.loads(line)) for line in out.splitlines()] == events
    assert err == ""


def test_quiet_prints_the_path_alone(events: Events, capsys: pytest.CaptureFixture[str]) -> None:
    _show(Display(), events)
    assert capsys.readouterr() == (f"{_path(events)}\n", "")


def test_lines_are_sparse_and_say_what_matters(
    events: Events, capsys: pytest.CaptureFixture[str]
) -> None:
    _show(LineDisplay(), events)
    out, err = capsys.readouterr()
    assert out == f"{_path(events)}\n"
    lines = err.splitlines()
    assert len(lines) == 7
    assert lines[0] == (
        "start picture to video, tiny bi-directional: 128x96, 60 frames (2.00 s at 30 fps), "
        "2 sections of 3 steps, seed 7"
    )
    assert lines[4].startswith("section 1/2, step 3/3, 1.00 s/step, 0:04 left, ")
    assert lines[1] == "True length: 60 frames."
    assert lines[6] == "60 frames (2.00 s) in 8.0 s, 1.00 s per step, peak memory 1.2 GB"


def test_a_run_that_goes_on_with_less_memory_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    met = MemoryRanOut(
        elapsed_s=1.0, way="smaller tiles", reason="CUDA out of memory. Tried 2 GiB.", section=1
    )
    line = "memory ran out (CUDA out of memory); going on with: smaller tiles"
    _show(LineDisplay(), [met])
    assert capsys.readouterr().err == f"{line}\n"
    screen = io.StringIO()
    _show(BarDisplay(Console(file=screen, force_terminal=True, highlight=False)), [met])
    assert line in screen.getvalue()


def test_a_slow_section_gets_a_line_every_half_minute(
    events: Events, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 100_000, 31))
    monkeypatch.setattr("framepack.cli.progress.time.monotonic", lambda: float(next(now)))
    _show(LineDisplay(), events)
    assert "section 1/2, step 1/3, 1.00 s/step" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_bar_shows_section_step_pace_and_memory_on_any_terminal(
    encoding: str, events: Events
) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    console = Console(file=stream, force_terminal=True, width=120, markup=False, highlight=False)
    display = BarDisplay(console)
    with display:
        for event in events[:-1]:
            display.show(event)
            display.refresh()
    shown = raw.getvalue().decode(encoding)
    for part in ("denoising", "section 2/2", "step 3/3", "1.00 s/step", "left", " GB"):
        assert part in shown


def test_display_follows_the_flags() -> None:
    assert type(choose_display(as_json=True, quiet=False)) is JsonDisplay
    assert type(choose_display(as_json=False, quiet=True)) is Display
    # pytest's standard error is no terminal.
    assert type(choose_display(as_json=False, quiet=False)) is LineDisplay


def test_memory_is_measured() -> None:
    figure, unit = memory_text().split()[:2]
    assert float(figure) > 0
    assert unit == "GB"
