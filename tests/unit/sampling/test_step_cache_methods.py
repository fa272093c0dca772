"""The rules of MagCache, TaylorSeer and EasyCache against cases worked out by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from framepack.sampling.caches import EasyCache, MagCache, MagnitudeRatios, StepCache, TaylorSeer

NOTHING = torch.zeros(1, 1, 2)


def tokens(*lengths: float) -> Tensor:
    """[1, n, 2], one token of each length."""
    return torch.tensor([[[0.6 * length, -0.8 * length] for length in lengths]])


def skipped(cache: StepCache, results: list[Tensor]) -> tuple[list[bool], list[Tensor]]:
    """Which calls are skipped, and what all of them add, when running would add these."""
    found, added = [], []
    for result in results:
        again = cache.reuse(NOTHING)
        if again is None:
            cache.keep(result)
        found.append(again is not None)
        added.append(result if again is None else again)
    return found, added


def same(number: int) -> list[Tensor]:
    return [tokens(1.0)] * number


NEW: dict[str, Callable[[int, float], StepCache]] = {
    "magcache": lambda calls, threshold: MagCache(calls, threshold, [1.0] * calls),
    "taylorseer": lambda calls, threshold: TaylorSeer(calls, threshold),
    "easycache": lambda calls, threshold: EasyCache(calls, threshold),
}


@pytest.mark.parametrize("method", NEW)
@pytest.mark.parametrize("num_calls", [1, 2])
def test_one_or_two_calls_leave_nothing_to_skip(method: str, num_calls: int) -> None:
    assert not any(skipped(NEW[method](num_calls, 9.0), same(num_calls))[0])


@pytest.mark.parametrize("method", NEW)
def test_threshold_zero_computes_every_call_even_of_the_same(method: str) -> None:
    assert not any(skipped(NEW[method](8, 0.0), same(8))[0])


@pytest.mark.parametrize("method", NEW)
def test_the_last_call_is_computed_however_eager_the_cache(method: str) -> None:
    found, _ = skipped(NEW[method](8, 9.0), same(8))
    assert found[2]
    assert not found[0]
    assert not found[-1]


# --- MagCache -------------------------------------------------------------------------------------


def test_magcache_adds_up_how_far_the_product_of_ratios_is_from_one() -> None:
    # Products 1.02, 1.0404, 1.061208: errors 0.02, 0.0604, 0.121608.
    ratios = [1.0] + [1.02] * 8
    assert skipped(MagCache(9, 0.061, ratios), same(9))[0] == [
        *(False, True, True, False, True, True, False, True, False)
    ]
    assert skipped(MagCache(5, 0.06, ratios[:5]), same(5))[0] == [False, True, False, True, False]


def test_magcache_skips_up_to_the_error_and_not_beyond() -> None:
    ratios = [1.0, 1.25, 0.75, 1.0]
    assert skipped(MagCache(4, 0.25, ratios), same(4))[0] == [False, True, False, False]
    assert skipped(MagCache(4, 0.2, ratios), same(4))[0] == [False, False, False, False]


def test_a_smaller_ratio_is_an_error_as_well() -> None:
    assert skipped(MagCache(3, 0.1, [1.0, 0.8, 1.0]), same(3))[0] == [False] * 3


def test_magcache_skips_only_so_many_in_a_row() -> None:
    found, _ = skipped(MagCache(9, 1.0, [1.0] * 9, max_skips=2), same(9))
    assert found == [False, True, True, False, True, True, False, True, False]


def test_magcache_computes_its_first_share_and_begins_to_count_after_it() -> None:
    ratios = [1.0, 5.0, 5.0, 1.02, 1.02, 1.02]
    found, _ = skipped(MagCache(6, 0.1, ratios, num_first=3), same(6))
    assert found == [False, False, False, True, True, False]


def test_magcache_adds_what_was_added_last() -> None:
    results = [tokens(float(number)) for number in range(1, 5)]
    _, added = skipped(MagCache(4, 1.0, [1.0] * 4), results)
    assert torch.equal(added[1], results[0])
    assert torch.equal(added[2], results[0])


def test_ratios_are_means_over_tokens_of_lengths() -> None:
    meter = MagnitudeRatios(3)
    found, _ = skipped(meter, [tokens(1.0, 2.0), tokens(2.0, 2.0), tokens(1.0, 3.0)])
    assert not any(found)
    assert meter.ratios == pytest.approx([1.0, (2 + 1) / 2, (0.5 + 1.5) / 2])


def test_ratios_of_what_was_nothing_are_finite() -> None:
    meter = MagnitudeRatios(2)
    skipped(meter, [tokens(0.0, 1.0), tokens(0.0, 1.0)])
    assert meter.ratios == pytest.approx([1.0, 0.5])


# --- TaylorSeer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(1, "CCpCpCpCpC"), (2, "CCpCppCppC"), (3, "CCpCpppCpC"), (9, "CCpCpppppC")],
)
def test_taylorseer_computes_at_intervals(threshold: int, expected: str) -> None:
    found, _ = skipped(TaylorSeer(10, threshold), same(10))
    assert "".join("p" if each else "C" for each in found) == expected


def test_a_higher_order_needs_more_calls_first() -> None:
    found, _ = skipped(TaylorSeer(8, 1, order=2), same(8))
    assert found == [False, False, False, True, False, True, False, False]


@pytest.mark.parametrize("order", [1, 2])
def test_order_one_predicts_what_changes_evenly(order: int) -> None:
    results = [tokens(1.0 + 2.0 * call) for call in range(9)]
    found, added = skipped(TaylorSeer(9, 2, order=order), results)
    assert any(found)
    for predicted, result in zip(added, results, strict=True):
        assert torch.allclose(predicted, result)


def test_the_second_order_is_the_difference_of_differences() -> None:
    # Computed at calls 1, 2, 3 as 0, 1, 4: differences 1 and 3, and 2 between them.
    results = [tokens(float(call**2)) for call in range(8)]
    _, added = skipped(TaylorSeer(8, 1, order=2), results)
    assert torch.allclose(added[3], tokens(4 + 3 + 2 / 2))


def test_order_zero_takes_what_was_added_last() -> None:
    results = [tokens(float(call)) for call in range(6)]
    _, added = skipped(TaylorSeer(6, 1, order=0), results)
    assert torch.equal(added[1], results[0])


def test_the_gap_between_computed_calls_counts() -> None:
    # 3 a call from call 2 to call 4, where 3 was left out, then 1 predicted.
    results = [tokens(each) for each in (0.0, 3.0, 99.0, 9.0, 99.0, 20.0, 99.0, 1.0)]
    _, added = skipped(TaylorSeer(8, 1), results)
    assert torch.allclose(added[4], tokens(9 + (9 - 3) / 2))


# --- EasyCache ------------------------------------------------------------------------------------


def run_easy(threshold: float, inputs: list[float], rate: float = 2.0) -> list[bool]:
    """Which calls are skipped by a network that gives 10 and rate times its input."""
    cache, found = EasyCache(len(inputs), threshold), []
    for value in inputs:
        x = torch.full((1, 2, 3), value)
        added = cache.reuse(x)
        if added is None:
            cache.keep(10 + rate * x - x)
        found.append(added is not None)
    return found


def test_easycache_adds_up_the_expected_relative_change_of_the_output() -> None:
    # The rate is 2. After inputs 1 and 0 the output is 10: each step of -0.5 changes it by 10 %.
    inputs = [1.0, 0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0]
    assert run_easy(0.25, inputs)[:5] == [False, False, True, True, False]
    assert run_easy(0.15, inputs)[:5] == [False, False, True, False, True]
    assert run_easy(0.05, inputs) == [False] * 8


def test_the_rate_and_the_size_are_those_of_the_last_calls_that_were_computed() -> None:
    # Computed at 1, 0 and -1.5, where the output is 7: 0.5 is now a change of 1 / 7.
    inputs = [1.0, 0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0]
    assert run_easy(0.21, inputs) == [False, False, True, True, False, True, False, False]


def test_a_network_that_makes_less_of_a_change_is_skipped_for_longer() -> None:
    inputs = [1.0, 0.0, -0.5, -1.0, -1.5, -2.0]
    assert sum(run_easy(0.15, inputs, rate=0.5)) > sum(run_easy(0.15, inputs, rate=2.0))


def test_a_skipped_call_adds_to_its_input_what_the_last_computed_one_added() -> None:
    cache = EasyCache(5, 1.0)
    for value in (1.0, 0.9):
        x = torch.full((1, 2), value)
        assert cache.reuse(x) is None
        cache.keep(torch.full((1, 2), 3.0 + value))
    added = cache.reuse(torch.full((1, 2), 0.8))
    assert added is not None
    assert torch.allclose(added, torch.full((1, 2), 3.9))
    assert cache.skipped


def test_latents_that_stand_still_are_skipped() -> None:
    assert run_easy(0.1, [1.0] * 5) == [False, False, True, True, False]


def test_latents_that_stood_still_say_nothing_about_a_change() -> None:
    assert run_easy(0.1, [1.0, 1.0, 1.01, 1.01, 1.01]) == [False, False, False, True, False]
