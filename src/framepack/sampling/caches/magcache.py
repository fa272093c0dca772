"""MagCache: skip where calibration found that what the blocks add keeps its size."""

from collections.abc import Sequence

import torch
from torch import Tensor

from framepack.sampling.caches.base import StepCache

__all__ = ["MagCache", "MagnitudeRatios"]


class MagCache(StepCache):
    """Goes by ratios that were measured beforehand, and by nothing that happens in the run.

    A ratio is how long what the blocks add is in one call in terms of the call before. While
    calls are skipped the ratios are multiplied; how far each product is from 1 is added up as the
    error.

    Memory: one tensor of the noisy tokens, [B, n, D].

    Args:
        num_calls: forward passes in all.
        threshold: error up to which calls are skipped.
        ratios: one per call.
        max_skips: calls that may be skipped one after the other.
        num_first: first calls that are computed in any case; the paper keeps a fifth.

    Source: MagCache, arXiv 2506.09045.
    """

    def __init__(
        self,
        num_calls: int,
        threshold: float,
        ratios: Sequence[float],
        *,
        max_skips: int = 3,
        num_first: int = 1,
    ) -> None:
        super().__init__(num_calls, threshold, num_first=num_first)
        assert len(ratios) == num_calls, f"{len(ratios)} ratios for {num_calls} calls"
        self._ratios, self._max_skips = tuple(ratios), max_skips
        self._forget()

    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        if not must_run:
            self._product *= self._ratios[self._num_done - 1]
            self._error += abs(1 - self._product)
            self._num_skips += 1
            must_run = self._error > self.threshold or self._num_skips > self._max_skips
        if must_run:
            self._forget()
        return must_run

    def _forget(self) -> None:
        self._product, self._error, self._num_skips = 1.0, 0.0, 0


class MagnitudeRatios(StepCache):
    """Skips nothing and measures what :class:`MagCache` goes by.

    Args:
        num_calls: forward passes in all.

    Attributes:
        ratios: 1 for the first call; for each other one the mean over tokens of the length of
            what the blocks added in terms of what they added to that token the call before.
    """

    def __init__(self, num_calls: int) -> None:
        super().__init__(num_calls, 0.0)
        self.ratios: list[float] = []

    def keep(self, added: Tensor) -> None:
        """Measure what running added against what it added before."""
        ratio = 1.0
        if self._added is not None:
            now, before = (torch.linalg.norm(each.float(), dim=-1) for each in (added, self._added))
            ratio = float((now / before.clamp_min(1e-8)).mean())
        self.ratios.append(ratio)
        super().keep(added)

    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        return True
