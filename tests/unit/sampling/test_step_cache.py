"""When step caches skip, and when they must not."""

import pytest
import torch
from torch import Tensor

from framepack.sampling.caches import FirstBlockCache, StepCache, TeaCache, relative_change

ADDED = torch.ones(1, 2, 3)


def signal(value: float) -> Tensor:
    return torch.full((1, 4, 3), value)


def skips(cache: StepCache, values: list[float]) -> list[bool]:
    """Which calls are skipped when the signal takes these values."""
    found = []
    for value in values:
        added = cache.reuse(signal(value))
        if added is None:
            cache.keep(ADDED)
        else:
            assert added is ADDED
        assert cache.skipped == (added is not None)
        found.append(added is not None)
    return found


def test_change_is_relative_to_what_was_before() -> None:
    assert relative_change(signal(-1.1), signal(-1.0)) == pytest.approx(0.1)
    assert relative_change(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0])) == 0.75


def test_change_of_bf16_is_summed_in_fp32() -> None:
    before = torch.ones(1, 30_000, dtype=torch.bfloat16)
    assert relative_change(before * 1.5, before) == 0.5  # a sum in bf16 stops growing at 256


@pytest.mark.parametrize("kind", [TeaCache, FirstBlockCache])
def test_first_and_last_call_are_computed_however_alike(kind: type[StepCache]) -> None:
    assert skips(kind(5, 9.0), [1.0] * 5) == [False, True, True, True, False]


@pytest.mark.parametrize("kind", [TeaCache, FirstBlockCache])
@pytest.mark.parametrize("num_calls", [1, 2])
def test_one_or_two_calls_leave_nothing_to_skip(kind: type[StepCache], num_calls: int) -> None:
    assert not any(skips(kind(num_calls, 9.0), [1.0] * num_calls))


@pytest.mark.parametrize("kind", [TeaCache, FirstBlockCache])
def test_threshold_zero_computes_every_call_even_of_the_same(kind: type[StepCache]) -> None:
    assert not any(skips(kind(6, 0.0), [1.0] * 6))


@pytest.mark.parametrize("kind", [TeaCache, FirstBlockCache])
def test_a_change_from_nothing_is_computed(kind: type[StepCache]) -> None:
    """Of zeros no change is known, and what is not known is not skipped."""
    assert skips(kind(6, 0.5), [0.0] * 6) == [False] * 6
    assert skips(kind(6, 0.5), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]) == [*[False] * 3, True, True, False]


@pytest.mark.parametrize("kind", [TeaCache, FirstBlockCache])
def test_a_sudden_change_is_computed(kind: type[StepCache]) -> None:
    values = [1.0, 1.0, 5.0, 5.0, 5.0]
    assert skips(kind(5, 0.5), values) == [False, True, False, True, False]


def test_teacache_adds_up_small_changes_until_they_reach_the_threshold() -> None:
    values = [1.0]
    for _ in range(8):
        values.append(values[-1] * 1.1)
    # 0.1 a call: the third of them brings the sum to 0.3.
    expected = [False, True, True, False, True, True, False, True, False]
    assert skips(TeaCache(9, 0.29), values) == expected


def test_teacache_puts_changes_through_the_polynomial() -> None:
    # 2 r^2 + 3 r + 0.25 of r = 0.5 is 2.25.
    values = [1.0, 1.5, 1.5]
    assert skips(TeaCache(3, 2.2, (2.0, 3.0, 0.25)), values)[1] is False
    assert skips(TeaCache(3, 2.3, (2.0, 3.0, 0.25)), values)[1] is True


def test_the_constant_of_the_polynomial_counts_every_call() -> None:
    """As the published one does: even steps that do not change at all are computed now and then."""
    found = skips(TeaCache(7, 0.25, (1.0, 0.1)), [1.0] * 7)
    assert found == [False, True, True, False, True, True, False]


def test_first_block_compares_with_the_last_call_that_was_computed() -> None:
    # Each call is near the one before, and ever further from the first.
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    assert skips(FirstBlockCache(6, 0.25), values) == [False, True, True, False, True, False]


def test_caches_do_not_share_what_they_know() -> None:
    one, other = TeaCache(5, 0.5), TeaCache(5, 0.5)
    assert skips(one, [1.0, 1.0]) == [False, True]
    assert other.reuse(signal(1.0)) is None
