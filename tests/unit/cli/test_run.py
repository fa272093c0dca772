"""Pulling a run: to its end, or until somebody stops it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from framepack.cli.console import say
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


def _run(begin: Callable[[], Iterator[Event]], directory: Path, **options: bool) -> int:
    return run(
        begin, directory, **{"keep_partial": False, "as_json": False, "quiet": True, **options}
    )


def _index(events: Events, kind: type[Event], **fields: object) -> int:
    return next(
        i
        for i, event in enumerate(events)
        if isinstance(event, kind) and all(getattr(event, n) == v for n, v in fields.items())
    )


def test_a_run_to_the_end_is_exit_code_0(events: Events, run_dir: Path) -> None:
    source = _Source(events)
    assert _run(source.begin, run_dir) == 0
    assert source.is_closed


def test_ctrl_c_stops_after_the_step_at_work(
    events: Events, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = _index(events, StepDone, step=2)
    source = _Source(events, stop_after=at)
    assert _run(source.begin, run_dir) == 130
    assert source.num_pulled == at + 1
    assert source.is_closed
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Cancelled. Go on with: framepack resume '{run_dir}'\n"


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (33, "The video has the 33 frames that were finished."),
        (0, "No section was finished, so there is no video yet."),
    ],
)
def test_what_is_finished_is_written_when_asked(
    events: Events,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    said: str,
) -> None:
    saved: list[Path] = []
    monkeypatch.setattr("framepack.api.save_partial", lambda run: saved.append(run) or frames)
    source = _Source(events, stop_after=_index(events, StepDone, step=2))
    assert _run(source.begin, run_dir, keep_partial=True) == 130
    assert saved == [run_dir]
    expected = f"Cancelled. {said} Go on with: framepack resume '{run_dir}'\n"
    assert capsys.readouterr().err == expected


def test_ctrl_c_while_writing_keeps_the_section(events: Events, run_dir: Path) -> None:
    at = _index(events, StageStarted, stage="write", section=0)
    source = _Source(events, stop_after=at)
    assert _run(source.begin, run_dir) == 130
    assert isinstance(events[source.num_pulled - 1], SectionDone)


def test_ctrl_c_in_the_last_write_still_delivers(events: Events, run_dir: Path) -> None:
    source = _Source(events, stop_after=len(events) - 1)
    assert _run(source.begin, run_dir) == 0


def test_ctrl_c_while_loading_stops_at_once(events: Events, run_dir: Path) -> None:
    at = _index(events, StageStarted, stage="encode")
    source = _Source(events, stop_after=at)
    assert _run(source.begin, run_dir) == 130
    assert source.num_pulled == at + 1


def test_ctrl_c_before_the_run_directory_says_that_nothing_was_written(
    events: Events, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _Source(events, stop_after=0)
    assert _run(source.begin, tmp_path / "none") == 130
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
        _run(begin, run_dir)
    assert "\n" not in str(found.value)


def test_a_bug_is_not_taken_for_little_memory(run_dir: Path) -> None:
    def begin() -> Iterator[Event]:
        raise RuntimeError("shapes do not match")
        yield

    with pytest.raises(RuntimeError, match="shapes"):
        _run(begin, run_dir)


def test_a_failed_run_says_how_to_go_on(events: Events, run_dir: Path) -> None:
    class RefusedError(FramePackError):
        exit_code = 7

    def begin() -> Iterator[Event]:
        yield events[0]
        raise RefusedError("the disk is full")

    with pytest.raises(FramePackError, match=r"the disk is full; .* go on with: ") as found:
        _run(begin, run_dir)
    assert str(found.value).endswith(f"framepack resume '{run_dir}'")
    assert found.value.exit_code == 7
    (run_dir / "run.json").unlink()
    with pytest.raises(RefusedError, match=r"^the disk is full$"):
        _run(begin, run_dir)


def test_a_partial_video_that_cannot_be_written_does_not_hide_the_way_on(
    events: Events,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(run: Path) -> int:
        raise FramePackError("out.mp4 is in use")

    monkeypatch.setattr("framepack.api.save_partial", refuse)
    source = _Source(events, stop_after=_index(events, StepDone, step=2))
    assert _run(source.begin, run_dir, keep_partial=True) == 130
    said = capsys.readouterr().err
    assert said.startswith("Cancelled. There is no partial video: out.mp4 is in use. Go on with: ")


def test_before_the_work_begins_it_is_said_where_it_is_found_again(
    events: Events, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(_Source(events).begin, run_dir, quiet=False)
    assert f"If it is killed, go on with: framepack resume '{run_dir}'" in capsys.readouterr().err


def test_hints_name_the_program_as_it_was_started(
    events: Events,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRAMEPACK_PROGRAM", "python3 run.py")
    source = _Source(events, stop_after=_index(events, StepDone, step=2))
    _run(source.begin, run_dir)
    said = capsys.readouterr().err
    assert said == f"Cancelled. Go on with: python3 run.py resume '{run_dir}'\n"
    say("use `framepack models download i2v` or the framepack package")
    assert capsys.readouterr().err == (
        "use `python3 run.py models download i2v` or the framepack package\n"
    )
