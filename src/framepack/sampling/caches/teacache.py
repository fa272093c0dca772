"""TeaCache: skip while what enters the blocks has hardly changed."""

from collections.abc import Sequence

from torch import Tensor

from framepack.sampling.caches.base import StepCache, relative_change

__all__ = ["TeaCache"]


class TeaCache(StepCache):
    """Goes by the modulated tokens that enter the first block.

    The relative change from each call to the next, put through a polynomial that was fitted to
    how the model's output changes, is added up until it reaches the threshold.

    Args:
        num_calls: forward passes in all.
        threshold: sum of changes at which the blocks run again.
        coefficients: of the polynomial, highest power first; (1, 0) takes changes as they are.

    Source: TeaCache, arXiv 2411.19108; with FramePack the official program's coefficients.
    """

    def __init__(
        self, num_calls: int, threshold: float, coefficients: Sequence[float] = (1.0, 0.0)
    ) -> None:
        super().__init__(num_calls, threshold)
        self._coefficients = tuple(coefficients)
        self._before: Tensor | None = None
        self._sum = 0.0

    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        if not must_run and self._before is not None:
            self._sum += self._rescaled(relative_change(signal, self._before))
            must_run = self._is_large(self._sum)
        self._before = signal
        if must_run:
            self._sum = 0.0
        return must_run

    def _rescaled(self, change: float) -> float:
        value = 0.0
        for coefficient in self._coefficients:
            value = value * change + coefficient
        return value
