"""Pulling a run: to its end, or until somebody stops it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepack.cli.run import run
from framepack.domain.errors import FramePackError
from framepack.domain.events import Event, SectionDone, StageStarted, StepDone

Events = list[Event]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "a run"
    directory.mkdir()
    (directory / "run.json").touch()
    return directory


class _Source:
    """Yields events, sends a signal after one of them, and remembers how it ended."""

    def __init__(self, events: Events, stop_after: int | None = None) -> None:
        self.events, self.stop_after = events, stop_after
        self.num_pulled = 0
        self.is_closed = False

    def begin(self) -> Iterator[Event]:
        try:
            for i, event in enumerate(self.events):
                self.num_pulled += 1
                if i == self.stop_after:
                    signal.raise_signal(signal.SIGINT)
                yield event
        finally:
            self.is_closed = True


def _index(events: Events, kind: type[Event], **fields: object) -> int:
    return next(
        i
        for i, event in enumerate(events)
        if isinstance(event, kind) and all(getattr(event, n) == v for n, v in fields.items())
    )


def test_a_run_to_the_end_is_exit_code_0(events: Events, run_dir: Path) -> None:
    source = _Source(events)
    assert run(source.begin, run_dir, as_json=False, quiet=True) == 0
    assert source.is_closed


def test_ctrl_c_stops_after_the_step_at_work(
    events: Events, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = _index(events, StepDone, step=2)
    source = _Source(events, stop_after=at)
    assert run(source.begin, run_dir, as_json=False, quiet=True) == 130
    assert source.num_pulled == at + 1
    assert source.is_closed
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Cancelled. Go on with: framepack resume '{run_dir}'\n"


def test_ctrl_c_while_writing_keeps_the_section(events: Events, run_dir: Path) -> None:
    at = _index(events, StageStarted, stage="write", section=0)
    source = _Source(events, stop_after=at)
    assert run(source.begin, run_dir, as_json=False, quiet=True) == 130
    assert isinstance(events[source.num_pulled - 1], SectionDone)


def test_ctrl_c_in_the_last_write_still_delivers(events: Events, run_dir: Path) -> None:
    source = _Source(events, stop_after=len(events) - 1)
    assert run(source.begin, run_dir, as_json=False, quiet=True) == 0


def test_ctrl_c_while_loading_stops_at_once(events: Events, run_dir: Path) -> None:
    at = _index(events, StageStarted, stage="encode")
    source = _Source(events, stop_after=at)
    assert run(source.begin, run_dir, as_json=False, quiet=True) == 130
    assert source.num_pulled == at + 1


def test_ctrl_c_before_the_run_directory_says_that_nothing_was_written(
    events: Events, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _Source(events, stop_after=0)
    assert run(source.begin, tmp_path / "none", as_json=False, quiet=True) == 130
    assert capsys.readouterr().err == "Cancelled. Nothing was written.\n"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has ..."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_line_with_advice(error: Exception, run_dir: Path) -> None:
    def begin() -> Iterator[Event]:
        raise error
        yield

    with pytest.raises(FramePackError, match="smaller --resolution") as found:
        run(begin, run_dir, as_json=False, quiet=True)
    assert "\n" not in str(found.value)


def test_a_bug_is_not_taken_for_little_memory(run_dir: Path) -> None:
    def begin() -> Iterator[Event]:
        raise RuntimeError("shapes do not match")
        yield

    with pytest.raises(RuntimeError, match="shapes"):
        run(begin, run_dir, as_json=False, quiet=True)
