"""Claims about a camera that sways: where latents go, and that the sampling follows."""

import pytest
import torch
from torch import Tensor

from framepack.sampling.flow import sigmas
from framepack.sampling.solvers import SOLVERS, Nudge, sample
from framepack.sampling.sway import shifted, sway, sway_offsets, sway_step

LATENTS = torch.randn(1, 4, 8, 3, 12, generator=torch.Generator().manual_seed(0))


def test_whole_shifts_move_pixels_and_mirror_the_edge() -> None:
    found = shifted(LATENTS, [0, 3, -3, 0, 0, 0, 0, 0])
    torch.testing.assert_close(found[:, :, 0], LATENTS[:, :, 0])
    torch.testing.assert_close(found[:, :, 1, :, 3:], LATENTS[:, :, 1, :, :-3])
    torch.testing.assert_close(found[:, :, 1, :, :3], LATENTS[:, :, 1, :, :3].flip(-1))
    torch.testing.assert_close(found[:, :, 2, :, :-3], LATENTS[:, :, 2, :, 3:])
    torch.testing.assert_close(found[:, :, 2, :, -3:], LATENTS[:, :, 2, :, -3:].flip(-1))


def test_shifts_follow_one_sine_over_the_section() -> None:
    assert sway_offsets(8, 16, 1) == [0, 3, 4, 3, 0, -3, -4, -3]
    assert sway_offsets(8, 16, 0.5) == [0, 1, 2, 1, 0, -1, -2, -1]
    assert sway_offsets(1, 16, 1) == [0]
    assert torch.equal(sway(LATENTS, 0), LATENTS)
    assert torch.equal(sway(LATENTS, 1), shifted(LATENTS, sway_offsets(8, 12, 1)))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [2, 3, 5, 10])
def test_sampling_goes_on_as_if_everything_had_been_shifted_before(solver: str, steps: int) -> None:
    """With a network that treats all places alike, when the latents shift does not matter."""

    def network(x: Tensor, sigma: Tensor) -> Tensor:
        return x * (0.3 + 0.2 * sigma) + 0.1

    def change(x: Tensor) -> Tensor:
        return shifted(x, [2] * 8)

    def result(noise: Tensor, nudge: Nudge | None = None) -> Tensor:
        return list(sample(network, noise, sigmas(steps, shift=3), solver, nudge=nudge))[-1].x0

    wanted = result(change(LATENTS))
    for after in range(1, steps):
        torch.testing.assert_close(result(LATENTS, Nudge(after, change)), wanted)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("after", [0, 4, 5])
def test_a_nudge_that_no_step_follows_is_refused(solver: str, after: int) -> None:
    with pytest.raises(ValueError, match=f"after step {after} of 4"):
        sample(lambda x, _: x, LATENTS, sigmas(4, shift=3), solver, nudge=Nudge(after, torch.neg))


@pytest.mark.parametrize("share", [0, 0.2, 0.9, 1])
def test_every_number_of_steps_from_two_has_a_step_before_and_after(share: float) -> None:
    assert all(0 < sway_step(steps, share) < steps for steps in range(2, 201))
    assert sway_step(25, 0.2) == 5
