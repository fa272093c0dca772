"""The first-block cache: skip the others while the first block adds nearly the same."""

from torch import Tensor

from framepack.sampling.caches.base import StepCache, relative_change

__all__ = ["FirstBlockCache"]


class FirstBlockCache(StepCache):
    """Goes by what the first block adds, against what it added when all blocks ran last.

    Source: the first-block cache of ParaAttention, which diffusers has too.
    """

    after_first_block = True

    def __init__(self, num_calls: int, threshold: float) -> None:
        super().__init__(num_calls, threshold)
        self._of_last_run: Tensor | None = None

    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        if not must_run and self._of_last_run is not None:
            must_run = self._is_large(relative_change(signal, self._of_last_run))
        if must_run:
            self._of_last_run = signal
        return must_run
