"""Solvers against a flow whose exact path is known."""

import itertools

import pytest
import torch
from torch import Tensor

from framepack.sampling.flow import sigmas
from framepack.sampling.solvers import SOLVERS, StepState, sample

SPREAD = 0.5
"""Standard deviation of the data that the known model was 'trained' on."""

NOISE = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def known_model(x: Tensor, sigma: Tensor) -> Tensor:
    """The best x0 prediction for independent normal data of that spread."""
    signal = (1 - sigma) * SPREAD**2
    return x * signal / ((1 - sigma) * signal + sigma**2)


def exact_latents(sigma: float) -> Tensor:
    """Where the flow of the known model takes NOISE at that level."""
    return NOISE * ((1 - sigma) ** 2 * SPREAD**2 + sigma**2) ** 0.5


def error(solver: str, steps: int, done: float = 0.75) -> float:
    """How far the prediction is off the exact one after that share of the steps."""
    levels = sigmas(steps, shift=3.0)
    step = round(steps * done)
    state = next(itertools.islice(sample(known_model, NOISE, levels, solver), step, None))
    exact = known_model(exact_latents(levels[step].item()), levels[step])
    return float((state.x0 - exact).abs().max())


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_prediction_is_the_result(solver: str, steps: int) -> None:
    goal = torch.full_like(NOISE, 0.25)
    *_, last = sample(lambda x, sigma: goal, NOISE, sigmas(steps, shift=3), solver)
    torch.testing.assert_close(last.x0, goal)


@pytest.mark.parametrize("solver", SOLVERS)
def test_latents_stay_on_the_line_to_a_constant_prediction(solver: str) -> None:
    goal = torch.full_like(NOISE, 0.25)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        torch.testing.assert_close(x, (1 - sigma) * goal + sigma * NOISE)
        return goal

    assert len(list(sample(denoise, NOISE, sigmas(8, shift=3), solver))) == 8


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("unipc", 3)])
def test_error_falls_by_the_solvers_order(solver: str, order: int) -> None:
    assert error(solver, 24) < error(solver, 12) / 2 ** (order - 0.3)


def test_unipc_is_far_nearer_than_euler() -> None:
    assert error("unipc", 12) < 0.05 * error("euler", 12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_network_runs_once_per_step_and_never_at_zero(solver: str) -> None:
    levels = sigmas(5, shift=3)
    seen: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(sigma)
        return known_model(x, sigma)

    list(sample(denoise, NOISE, levels, solver))
    assert torch.equal(torch.stack(seen), levels[:-1])


@pytest.mark.parametrize("solver", SOLVERS)
def test_states_count_the_steps(solver: str) -> None:
    states = list(sample(known_model, NOISE, sigmas(3, shift=3), solver))
    assert [(state.step, state.num_steps) for state in states] == [(1, 3), (2, 3), (3, 3)]
    assert [state.is_last for state in states] == [False, False, True]


def test_unipc_returns_its_last_prediction() -> None:
    predictions: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        predictions.append(known_model(x, sigma))
        return predictions[-1]

    *_, last = sample(denoise, NOISE, sigmas(6, shift=3), "unipc")
    assert last.x0 is predictions[-1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_noise_is_left_unchanged(solver: str) -> None:
    noise = NOISE.clone()
    list(sample(known_model, noise, sigmas(4, shift=3), solver))
    assert torch.equal(noise, NOISE)


@pytest.mark.parametrize("solver", SOLVERS)
def test_stopping_early_runs_no_further_step(solver: str) -> None:
    calls: list[int] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(1)
        return x

    states = sample(denoise, NOISE, sigmas(9, shift=3), solver)
    taken: list[StepState] = list(itertools.islice(states, 2))
    assert len(taken) == len(calls) == 2


@pytest.mark.parametrize("solver", SOLVERS)
def test_inference_mode_does_not_leak_between_steps(solver: str) -> None:
    modes: list[bool] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        modes.append(torch.is_inference_mode_enabled())
        return x

    states = sample(denoise, NOISE, sigmas(3, shift=3), solver)
    next(states)
    assert not torch.is_inference_mode_enabled()
    next(states)
    assert modes == [True, True]


def test_many_small_steps_stay_stable() -> None:
    assert error("unipc", 1000) < 2e-6


def test_an_unknown_solver_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'heun', there are: unipc, euler"):
        sample(known_model, NOISE, sigmas(3, shift=3), "heun")


@pytest.mark.parametrize("levels", [[1.0], [1.0, 0.5], [0.5, 1.0, 0.0]], ids=str)
def test_levels_that_do_not_fall_to_zero_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="falling levels that end in 0"):
        sample(known_model, NOISE, torch.tensor(levels))
