"""Blocks leave when memory is taken and come back when it is free for a while; nothing swings."""

import random

import pytest

from framepack.memory.placement import NetworkSize, held_bytes
from framepack.memory.watermarks import Watermarks, follow

SIZE = NetworkSize("transformer", 100, (10,) * 20, working_bytes=110, tabled_layer_bytes=5)
MARKS = Watermarks.of(SIZE)


class FakeDevice:
    """A device that other programs use too, and the blocks on it."""

    def __init__(self, total: int, resident: tuple[int, ...]) -> None:
        self.total = total
        self.others = 0
        self.resident = resident
        self.calm = 0

    @property
    def free(self) -> int:
        return self.total - self.others - held_bytes(SIZE, self.resident)

    def look(self, times: int = 1) -> list[int]:
        """How many blocks stay after each look."""
        counts = []
        for _ in range(times):
            self.resident, self.calm = follow(SIZE, self.resident, self.free, self.calm, MARKS)
            counts.append(len(self.resident))
        return counts


def device(num_resident: int = 10) -> FakeDevice:
    """One with exactly the working memory of the network free."""
    resident = tuple(range(0, 2 * num_resident, 2))
    return FakeDevice(held_bytes(SIZE, resident) + SIZE.working_bytes, resident)


def test_the_marks_are_a_block_apart_and_around_what_is_reckoned_with() -> None:
    assert (MARKS.low_bytes, MARKS.high_bytes) == (100, 120)
    assert device().look(20) == [10] * 20


def test_just_enough_blocks_leave_when_another_program_takes_memory() -> None:
    small = device()
    small.others = 35
    before = small.resident
    assert small.look() == [6]
    assert set(small.resident) < set(before)
    assert small.free >= MARKS.low_bytes
    assert small.look(20) == [6] * 20


def test_they_come_back_only_after_it_was_free_for_a_while() -> None:
    small = device()
    small.others = 35
    small.look(3)
    small.others = 0
    assert small.look(MARKS.patience) == [6] * (MARKS.patience - 1) + [10]


def test_memory_that_is_free_for_a_moment_brings_nothing_back() -> None:
    small = device()
    small.others = 35
    small.look(3)
    for _ in range(10):
        small.others = 0
        small.look(MARKS.patience - 1)
        small.others = 35
        assert small.look() == [6]


def test_all_may_leave_and_more_may_come_than_there_were() -> None:
    small = device()
    small.others = 1000
    assert small.look() == [0]
    small.others = -1000
    assert small.look(MARKS.patience)[-1] == 20


@pytest.mark.parametrize("seed", range(20))
def test_while_the_others_take_the_same_it_settles_at_once(seed: int) -> None:
    rng = random.Random(seed)
    sizes = tuple(rng.randint(1, 30) for _ in range(rng.randint(2, 30)))
    size = NetworkSize("transformer", 50, sizes, working_bytes=rng.randint(0, 300))
    marks = Watermarks.of(size)
    resident: tuple[int, ...] = tuple(i for i in range(len(sizes) - 1) if rng.random() < 0.5)
    calm = 0
    for _ in range(5):
        total = rng.randint(0, 1000)
        changed_at = []
        for look in range(10 * marks.patience):
            before = resident
            free = total - held_bytes(size, resident)
            resident, calm = follow(size, resident, free, calm, marks)
            if resident != before:
                changed_at.append(look)
        assert len(changed_at) <= 2
        assert all(look <= 2 * marks.patience for look in changed_at)
        assert total - held_bytes(size, resident) >= marks.low_bytes or not resident
