"""What all step caches have in common: when blocks may be skipped at all, and what for."""

# Shape letters are those of docs/notation.md:
#   B batch  N tokens  D token width

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["StepCache", "relative_change"]


def relative_change(now: Tensor, before: Tensor) -> float:
    """The mean absolute difference of two tensors in terms of the second's mean, summed in fp32."""
    change = (now - before).abs().mean(dtype=torch.float32)
    return float(change / before.abs().mean(dtype=torch.float32))


class StepCache(ABC):
    """What one guidance pass of one section remembers from step to step.

    Memory: one tensor of all tokens, [B, N, D], and one of the noisy ones, unless a cache says
    otherwise.

    Args:
        num_calls: forward passes in all. The first and the last are always computed: there is
            nothing to go by before the first, and nothing corrects the last.
        threshold: change that counts as too much; at 0 every call is computed.
        num_first: first calls that are computed in any case, at least 1.

    Attributes:
        skipped: whether the last call did without the network.
    """

    after_first_block: ClassVar[bool] = False
    """Whether the cache goes by what the first block adds, else by what enters it."""
    of_whole_network: ClassVar[bool] = False
    """Whether it stands in front of the network, with latents for tokens; else of its blocks."""

    def __init__(self, num_calls: int, threshold: float, *, num_first: int = 1) -> None:
        self.num_calls, self.threshold = num_calls, threshold
        self.skipped = False
        self._num_first = max(num_first, 1)
        self._num_done = 0
        self._added: Tensor | None = None

    def reuse(self, signal: Tensor) -> Tensor | None:
        """Decide about a call.

        Args:
            signal: what the cache goes by: tokens [B, N, D], see :attr:`after_first_block`, or
                the latents that enter the network.

        Returns:
            What is to be added to what enters, instead of running; None if it must run, and
            :meth:`keep` is told of the result.
        """
        self._num_done += 1
        is_edge = self._num_done <= self._num_first or self._num_done >= self.num_calls
        is_needed = is_edge or self.threshold == 0 or self._added is None
        must_run = self._has_moved(signal, must_run=is_needed)
        self.skipped = not must_run
        return None if must_run else self._again()

    def keep(self, added: Tensor) -> None:
        """Remember what running added to what entered: the noisy tokens, or the latents."""
        self._added = added

    @abstractmethod
    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        """Whether to run; it does if it must."""

    def _is_large(self, change: float) -> bool:
        """Whether a change reaches the threshold; one that is no number, as of zeros, does."""
        return not change < self.threshold

    def _again(self) -> Tensor | None:
        """What a skipped call adds: what the last one that ran added."""
        return self._added
