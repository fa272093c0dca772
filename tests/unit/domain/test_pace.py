"""Time left follows from the events."""

import pytest

from framepack.domain.events import Event, SectionDone, StageStarted, StepDone
from framepack.domain.pace import Pace, clock


def _step(step: int, *, section: int = 0, seconds: float = 1.0) -> StepDone:
    return StepDone(
        elapsed_s=0,
        section=9,
        render_index=section,
        num_sections=3,
        step=step,
        num_steps=4,
        seconds=seconds,
    )


def _done(section: int, seconds: float) -> SectionDone:
    return SectionDone(
        elapsed_s=0, section=9, render_index=section, num_sections=3, seconds=seconds
    )


def _after(*events: Event) -> Pace:
    pace = Pace()
    for event in events:
        pace.add(event)
    return pace


def test_nothing_is_known_before_the_first_step() -> None:
    pace = _after(StageStarted(elapsed_s=0, stage="load"))
    assert pace.left_s is None
    assert pace.steps_done == 0


def test_time_left_counts_steps_before_a_section_is_finished() -> None:
    assert _after(_step(1)).left_s == pytest.approx(11.0)


def test_time_left_adds_what_decoding_took() -> None:
    first = [*(_step(i) for i in range(1, 5)), _done(0, seconds=6.0)]
    assert _after(*first).left_s == pytest.approx(2 * (4 + 2))
    assert _after(*first, _step(1, section=1)).left_s == pytest.approx(3 + 2 + 4 + 2)


def test_nothing_is_left_after_the_last_section() -> None:
    pace = _after(*(_step(i, section=2) for i in range(1, 5)), _done(2, seconds=5.0))
    assert pace.left_s == pytest.approx(0.0)
    assert pace.num_done == 3


def test_a_resumed_run_starts_where_it_was() -> None:
    pace = _after(_step(2, section=1))
    assert (pace.section, pace.steps_done) == (2, 6)


def test_a_section_may_be_told_while_the_next_one_is_at_work() -> None:
    in_turn = [*(_step(i) for i in range(1, 5)), _done(0, seconds=6.0), _step(1, section=1)]
    late = [*in_turn[:4], _step(1, section=1), _done(0, seconds=6.0)]
    assert _after(*late[:-1]).num_done == 0
    assert _after(*late) == _after(*in_turn)
    assert _after(*late, _step(2, section=1)).left_s == pytest.approx(2 + 2 + 4 + 2)


def test_newer_steps_count_more() -> None:
    slow = _after(_step(1), _step(2), _step(3, seconds=11.0)).step_s
    assert slow is not None
    assert 2.9 < slow < 11.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3661, "1:01:01")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
