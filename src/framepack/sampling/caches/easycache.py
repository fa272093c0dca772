"""EasyCache: skip the network while its output is expected to stay nearly the same."""

import math

import torch
from torch import Tensor

from framepack.sampling.caches.base import StepCache

__all__ = ["EasyCache"]


class EasyCache(StepCache):
    """Goes by the latents alone; how much the network makes of a change it measures as it runs.

    Between the last two calls that were computed the output changed so much per change of the
    input: the transformation rate. With it, what the input has moved since is turned into the
    expected relative change of the output, which is added up until it reaches the threshold. A
    skipped call adds to its latents what the network made of the last ones, less those.

    Memory: four tensors of a section's latents.

    Args:
        num_calls: forward passes in all.
        threshold: sum of relative changes at which the network runs again.
        num_first: first calls that are computed in any case; the rate needs two.

    Source: EasyCache, arXiv 2507.02860.
    """

    of_whole_network = True

    def __init__(self, num_calls: int, threshold: float, *, num_first: int = 1) -> None:
        super().__init__(num_calls, threshold, num_first=max(num_first, 2))
        self._before: Tensor | None = None
        self._last_run: tuple[Tensor, Tensor] | None = None  # what entered, what came out
        self._rate = self._size = self._sum = 0.0

    def keep(self, added: Tensor) -> None:
        """Measure the transformation rate between this call and the one computed before."""
        assert self._before is not None, "reuse() comes first"
        entered, output = self._before, self._before + added
        if self._last_run is not None:
            moved = _mean_distance(entered, self._last_run[0])
            # Latents that stand still say nothing about what a change would do.
            self._rate = _mean_distance(output, self._last_run[1]) / moved if moved else math.inf
        self._size = float(output.abs().mean(dtype=torch.float32))
        self._last_run = entered, output
        super().keep(added)

    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        if not must_run and self._before is not None:
            moved = _mean_distance(signal, self._before)
            if moved:  # else nothing changes, whatever the rate
                self._sum += self._rate * moved / self._size if self._size else math.inf
            must_run = self._is_large(self._sum)
        self._before = signal
        if must_run:
            self._sum = 0.0
        return must_run


def _mean_distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().mean(dtype=torch.float32))
