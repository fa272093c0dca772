"""Noise levels, guidance and section noise, by their definitions."""

import math

import pytest
import torch

from framepack.sampling.flow import (
    MAX_SHIFT,
    apply_guidance,
    calculate_shift_mu,
    section_noise,
    shifted_sigmas,
    sigmas,
)


def test_sigmas_fall_from_one_to_zero() -> None:
    found = sigmas(10, shift=3)
    assert found.dtype == torch.float32
    assert found.shape == (11,)
    assert (found[0], found[-1]) == (1, 0)
    assert (found.diff() < 0).all()


def test_shift_one_leaves_the_steps_even() -> None:
    torch.testing.assert_close(sigmas(4, shift=1), torch.tensor([1, 0.75, 0.5, 0.25, 0]))


def test_shift_three_by_hand() -> None:
    # 3 / (3 + 1/t - 1) at t = 1/2
    assert sigmas(2, shift=3)[1] == pytest.approx(0.75)


def test_shift_zero_is_the_dynamic_rule() -> None:
    shape = (9, 30, 52)
    assert torch.equal(sigmas(8, latent_shape=shape, shift=0), sigmas(8, latent_shape=shape))


@pytest.mark.parametrize(
    ("tokens", "mu"), [(256, 0.5), (4096, 1.15), (2176, 0.825), (14_040, math.log(7))]
)
def test_dynamic_shift_is_a_capped_line(tokens: int, mu: float) -> None:
    assert calculate_shift_mu(tokens) == pytest.approx(mu)


def test_the_cap_is_a_shift_of_seven() -> None:
    capped = sigmas(25, latent_shape=(9, 60, 104))
    torch.testing.assert_close(capped, sigmas(25, shift=MAX_SHIFT))


def test_shift_at_240_by_416() -> None:
    assert math.exp(calculate_shift_mu(9 * 30 * 52 / 4)) == pytest.approx(2.86, abs=0.005)


def test_shifting_keeps_shape_and_ends() -> None:
    times = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    found = shifted_sigmas(times, math.log(2))
    torch.testing.assert_close(found, torch.tensor([[0.0, 2 / 3], [1.0, 0.4]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_inference_steps": 0, "shift": 3}, "at least 1"),
        ({"num_inference_steps": 4, "shift": -1}, "positive"),
        ({"num_inference_steps": 4}, "latent_shape or shift"),
    ],
    ids=str,
)
def test_impossible_requests_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sigmas(**arguments)  # type: ignore[arg-type]


def test_guidance_of_one_is_the_positive_prediction() -> None:
    positive, negative = torch.randn(2, 2, 3, 4)
    torch.testing.assert_close(apply_guidance(positive, negative, 1.0), positive)


def test_guidance_moves_away_from_the_negative() -> None:
    positive, negative = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    assert apply_guidance(positive, negative, 2.5).item() == 1 + 2.5 * 2


def test_full_rescale_restores_each_samples_contrast() -> None:
    positive, negative = torch.randn(2, 3, 4, 5)
    guided = apply_guidance(positive, negative, 6.0, 1.0)
    torch.testing.assert_close(guided.std((1, 2)), positive.std((1, 2)))


def test_half_rescale_is_halfway() -> None:
    positive, negative = torch.randn(2, 3, 4, 5)
    none, half, full = (apply_guidance(positive, negative, 6.0, share) for share in (0, 0.5, 1))
    torch.testing.assert_close(half, (none + full) / 2)


@pytest.mark.parametrize("shape", [(1, 16, 9, 4, 6), (1, 3, 1, 1, 1)], ids=str)
def test_section_noise_replays_one_generator(shape: tuple[int, ...]) -> None:
    generator = torch.Generator("cpu").manual_seed(7)
    for render_index in range(4):
        drawn = torch.randn(shape, generator=generator)
        assert torch.equal(section_noise(7, render_index, shape), drawn)


def test_section_noise_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    section_noise(1, 2, (4,))
    assert torch.equal(torch.get_rng_state(), before)


def test_section_noise_before_the_first_section_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        section_noise(1, -1, (4,))


def test_the_optimised_scale_takes_the_common_part_out() -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(2, 4, 3, 2, generator=generator)
    # A negative prediction of the same direction at any length changes nothing.
    for length in (0.1, 3.0):
        guided = apply_guidance(positive, length * positive, 5.0, optimised_scale=True)
        assert torch.allclose(guided, positive, atol=1e-6)
    # One at right angles has no part in it at all.
    across = torch.randn(2, 4, 3, 2, generator=generator)
    dims = (1, 2, 3)
    square = positive.square().sum(dims, keepdim=True)
    across -= (across * positive).sum(dims, keepdim=True) / square * positive
    guided = apply_guidance(positive, across, 5.0, optimised_scale=True)
    assert torch.allclose(guided, 5 * positive, atol=1e-5)


def test_the_optimised_scale_is_that_of_each_sample() -> None:
    positive = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    negative = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    together = apply_guidance(positive, negative, 3.0, optimised_scale=True)
    alone = apply_guidance(positive[1:], negative[1:], 3.0, optimised_scale=True)
    assert torch.allclose(together[1:], alone)
    assert not torch.allclose(together, apply_guidance(positive, negative, 3.0))


def test_the_optimised_scale_of_nothing_is_no_nan() -> None:
    positive, nothing = torch.ones(1, 2, 2), torch.zeros(1, 2, 2)
    assert torch.equal(apply_guidance(positive, nothing, 2.0, optimised_scale=True), 2 * positive)
