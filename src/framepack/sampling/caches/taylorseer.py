"""TaylorSeer: predict what the blocks add instead of taking what they added last."""

from math import factorial

from torch import Tensor

from framepack.sampling.caches.base import StepCache

__all__ = ["TaylorSeer"]


class TaylorSeer(StepCache):
    """Runs the blocks at fixed intervals; between, a Taylor series says what they would add.

    Its derivatives are divided differences of what they added when they ran, by the number of
    calls between. It goes by the number of the call alone.

    Memory: ``order`` + 1 tensors of the noisy tokens, [B, n, D].

    Args:
        num_calls: forward passes in all.
        threshold: calls that are predicted between two that are computed, a whole number.
        order: of the highest derivative; 0 takes what was added last.
        num_first: first calls that are computed in any case. After them one call is predicted,
            as the series is youngest there, and then as many as the threshold says.

    Source: TaylorSeer, arXiv 2503.06923, where the features of each layer are predicted; here it
    is the sum of what all blocks add, which takes the memory of one layer.
    """

    def __init__(
        self, num_calls: int, threshold: float, *, order: int = 1, num_first: int = 1
    ) -> None:
        super().__init__(num_calls, threshold, num_first=max(num_first, order + 1))
        self._interval, self._order = int(threshold) + 1, order
        self._series: list[Tensor] = []
        self._last_run = 0

    def keep(self, added: Tensor) -> None:
        """Work out the series anew from what running added."""
        gap = self._num_done - self._last_run
        series = [added]
        for before in self._series[: self._order]:
            series.append((series[-1] - before) / gap)
        self._series, self._last_run = series, self._num_done
        super().keep(added)

    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        return must_run or (self._num_done - self._num_first - 2) % self._interval == 0

    def _again(self) -> Tensor:
        calls = self._num_done - self._last_run
        predicted = self._series[0]
        for order, term in enumerate(self._series[1:], start=1):
            predicted = predicted + term * (calls**order / factorial(order))
        return predicted
