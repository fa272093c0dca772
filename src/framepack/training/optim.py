"""Optimisers for training from scratch: Muon for matrices and kernels, AdamW for the rest."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


def orthogonalise(update: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of a matrix toward one by a quintic Newton-Schulz iteration.

    Args:
        update: [m, n].

    Source: Jordan et al., Muon, 2024 (coefficients 3.4445, -4.7750, 2.0315).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    matrix = update.bfloat16()
    tall = matrix.shape[0] > matrix.shape[1]
    if tall:
        matrix = matrix.T
    matrix = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = matrix @ matrix.T
        matrix = a * matrix + (b * gram + c * gram @ gram) @ matrix
    orthogonal: Tensor = (matrix.T if tall else matrix).to(update.dtype)
    return orthogonal


class Muon(Optimizer):
    """Momentum whose update is orthogonalised; kernels count as matrices [out, everything else].

    ``torch.optim.Muon`` takes 2-D parameters only, and the VAE consists of 5-D kernels.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Apply one update to every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
                scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                step = orthogonalise(update).view_as(parameter)
                parameter.add_(step, alpha=-group["lr"] * scale)
        return None


def build_optimizers(
    modules: Iterable[nn.Module],
    *,
    muon_lr: float,
    adam_lr: float,
    is_matrix: Callable[[str], bool],
) -> list[Optimizer]:
    """Give hidden matrices (by ``is_matrix(name)``, two or more dimensions) to Muon."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                chosen = matrices if parameter.ndim >= 2 and is_matrix(name) else others
                chosen.append(parameter)
    adam: Any = AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return [Muon(matrices, lr=muon_lr), adam]
