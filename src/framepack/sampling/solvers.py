"""Solvers that follow the flow from noise to latents, one network evaluation per step.

A solver is a generator: it yields after each step and stops being pulled to cancel. The last
state carries the result.
"""

# Shape letters are those of docs/notation.md:
#   B batch  C channels  T latent frames  H W latent size

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["SOLVERS", "Denoiser", "Nudge", "Solver", "StepState", "euler", "sample", "unipc"]


class Denoiser(Protocol):
    """Predicts the clean latents."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Predict x0.

        Args:
            x: [B, C, T, H, W] latents at noise level ``sigma``.
            sigma: scalar fp32 tensor, where ``sigmas`` was; never 0.

        Returns:
            [B, C, T, H, W] predicted clean latents, in the dtype of ``x``.
        """


@dataclass(frozen=True, slots=True)
class StepState:
    """What is known after a step.

    Attributes:
        step: steps done, 1 first.
        num_steps: steps in all.
        x0: clean latents as predicted in this step; after the last step, the result.
        skipped: a step cache spared the network this step.
    """

    step: int
    num_steps: int
    x0: Tensor
    skipped: bool = False

    @property
    def is_last(self) -> bool:
        """``x0`` is the result."""
        return self.step == self.num_steps


@dataclass(frozen=True, slots=True)
class Nudge:
    """A change of the latents on their way.

    Attributes:
        after_step: 1 is the first; the last step leaves nothing to change.
        change: linear, latents to latents of the same shape. A solver applies it to everything
            it goes on from, past predictions too, so that they still belong together.
    """

    after_step: int
    change: Callable[[Tensor], Tensor]


class Solver(Protocol):
    """Turns noise into latents, yielding a state per network evaluation."""

    def __call__(
        self, denoise: Denoiser, noise: Tensor, sigmas: Tensor, nudge: Nudge | None = None
    ) -> Iterator[StepState]:
        """See :func:`sample`."""


def sample(
    denoise: Denoiser,
    noise: Tensor,
    sigmas: Tensor,
    solver: str = "unipc",
    *,
    nudge: Nudge | None = None,
) -> Iterator[StepState]:
    """Follow the flow with the named solver.

    Args:
        denoise: predicts x0 from latents and their noise level.
        noise: [B, C, T, H, W] start, at level ``sigmas[0]``; left unchanged.
        sigmas: [steps + 1] falling noise levels, the last 0. Keep them on the CPU.
        solver: ``"unipc"`` (the official one) or ``"euler"``.
        nudge: a change of the latents after one of the steps.

    Yields:
        One state per step; the last one's ``x0`` is the result.

    Raises:
        ValueError: an unknown solver, sigmas that do not fall to 0, or a nudge after a step
            that no other follows.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}, there are: {', '.join(SOLVERS)}")
    levels = sigmas.tolist()
    if len(levels) < 2 or levels[-1] != 0 or any(a <= b for a, b in pairwise(levels)):
        raise ValueError(f"sigmas are {levels}, needed are falling levels that end in 0")
    if nudge is not None and not 0 < nudge.after_step < len(levels) - 1:
        raise ValueError(
            f"the nudge comes after step {nudge.after_step} of {len(levels) - 1}; needed is one "
            "that another step follows"
        )
    return SOLVERS[solver](denoise, noise, sigmas, nudge)


@torch.inference_mode()
def euler(
    denoise: Denoiser, noise: Tensor, sigmas: Tensor, nudge: Nudge | None = None
) -> Iterator[StepState]:
    """First-order steps along the predicted flow.

    Source: Euler's method; the flow is (x - x0) / sigma.
    """
    levels = sigmas.tolist()
    steps = len(levels) - 1
    x = noise
    for i in range(steps):
        x0 = denoise(x, sigmas[i])
        x = x0 + (levels[i + 1] / levels[i]) * (x - x0)
        if nudge is not None and nudge.after_step == i + 1:
            x = nudge.change(x)
        yield StepState(i + 1, steps, x0 if i + 1 < steps else x)


@torch.inference_mode()
def unipc(
    denoise: Denoiser, noise: Tensor, sigmas: Tensor, nudge: Nudge | None = None
) -> Iterator[StepState]:
    """UniPC-bh1, order 3, predictor and corrector, one evaluation per step.

    With alpha = 1 and lambda = -ln(sigma) the exact solution of a step is an exponential decay
    toward x0; UniPC models x0 as a polynomial in lambda through the latest predictions. The
    corrector is the same step with the new prediction added, so it costs no evaluation. The
    result is the last prediction, made at the last nonzero level.

    Order: step i uses the latest min(i, 3, steps - 1) predictions, without a lower-order finish.

    Source: UniPC, arXiv 2302.04867, B(h) = h; order rules of the official FramePack sampler.
    """
    levels = sigmas.tolist()
    steps = len(levels) - 1
    x = noise
    known: list[Tensor] = []
    for i in range(steps):
        if i == 0:
            x0 = denoise(x, sigmas[0])
        else:
            order = min(i, 3, steps - 1)
            step = _unipc_step(tuple(levels[i - order : i + 1]))
            past = known[-order:]
            predicted = _combine(step.decay, x, step.predictor, past)
            x0 = denoise(predicted, sigmas[i])
            x = _combine(step.decay, x, step.corrector, [*past, x0])
        known = [*known[-2:], x0]
        if nudge is not None and nudge.after_step == i + 1:
            x, known = nudge.change(x), [nudge.change(each) for each in known]
        yield StepState(i + 1, steps, x0)


@dataclass(frozen=True, slots=True)
class _UniPCStep:
    """A step as a weighted sum: ``decay * x`` plus weights times x0 predictions, oldest first."""

    decay: float
    predictor: tuple[float, ...]
    corrector: tuple[float, ...]


@lru_cache(maxsize=1024)  # sections share their levels
def _unipc_step(levels: tuple[float, ...]) -> _UniPCStep:
    """Weights of the step from ``levels[-2]`` to ``levels[-1]``, in double precision.

    Args:
        levels: the noise levels of the known predictions, oldest first, then the target.
    """
    *seen, target = (-math.log(sigma) for sigma in levels)
    h = target - seen[-1]
    # Places of the predictions on the step: older ones below 0, the newest at 0, the target at 1.
    nodes = [(past - seen[-1]) / h for past in seen[:-1]]
    order = len(seen)
    # bh1: after the x0 term, differences (x0_k - x0_newest) / node_k weigh -B(h) rho = h rho.
    predictor_rho = [0.5] if order == 2 else _bh1_weights(nodes, h)
    corrector_rho = [0.5] if order == 1 else _bh1_weights([*nodes, 1.0], h)
    newest = -math.expm1(-h)
    predictor = _spread(newest, h, predictor_rho, nodes)
    corrector = _spread(newest, h, corrector_rho, [*nodes, 1.0])
    older, at_target = corrector[: order - 1], corrector[order - 1]
    return _UniPCStep(
        decay=levels[-1] / levels[-2],
        predictor=predictor,
        corrector=(*older, corrector[-1], at_target),
    )


def _spread(
    newest: float, h: float, rho: Sequence[float], nodes: Sequence[float]
) -> tuple[float, ...]:
    """Weights of the predictions at the nodes, then of the newest, which each is set against."""
    weights = [h * r / node for r, node in zip(rho, nodes, strict=True)]
    return (*weights, newest - sum(weights))


def _bh1_weights(nodes: Sequence[float], h: float) -> list[float]:
    """Solve sum_k rho_k nodes_k^(j-1) = j! phi_(j+1)(-h), the order conditions with B(h) = h."""
    if not nodes:
        return []
    powers = torch.tensor(nodes, dtype=torch.float64) ** torch.arange(len(nodes))[:, None]
    conditions = torch.tensor(_order_conditions(len(nodes), h), dtype=torch.float64)
    weights: list[float] = torch.linalg.solve(powers, conditions).tolist()
    return weights


def _order_conditions(count: int, h: float) -> list[float]:
    """j! phi_(j+1)(-h) for j = 1..count, by phi_(j+1)(z) = (phi_j(z) - 1/j!) / z."""
    z = -h
    phi = math.expm1(z) / z
    conditions = []
    for j in range(1, count + 1):
        phi = (phi - 1 / math.factorial(j)) / z
        conditions.append(math.factorial(j) * phi)
    return conditions


def _combine(decay: float, x: Tensor, weights: Sequence[float], past: Sequence[Tensor]) -> Tensor:
    total = decay * x
    for weight, x0 in zip(weights, past, strict=True):
        total = torch.add(total, x0, alpha=weight)
    return total


SOLVERS: dict[str, Solver] = {
    "unipc": unipc,
    "euler": euler,
}
"""Solvers by the name a request uses."""
