"""Step caches: skip a network's blocks in steps whose input has hardly changed.

From one denoising step to the next the blocks add nearly the same to their tokens. A step cache
measures how far the input has moved, and where that is little it has the last sum added again,
which costs almost nothing. What comes out is close to the exact video, but is not it.
"""

# Shape letters are those of docs/notation.md:
#   B batch  N tokens  D token width

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["FirstBlockCache", "StepCache", "TeaCache", "relative_change"]


def relative_change(now: Tensor, before: Tensor) -> float:
    """The mean absolute difference of two tensors in terms of the second's mean, summed in fp32."""
    change = (now - before).abs().mean(dtype=torch.float32)
    return float(change / before.abs().mean(dtype=torch.float32))


class StepCache(ABC):
    """What one guidance pass of one section remembers from step to step.

    Memory: one tensor of all tokens, [B, N, D], and one of the noisy ones.

    Args:
        num_calls: forward passes in all. The first and the last are always computed: there is
            nothing to go by before the first, and nothing corrects the last.
        threshold: change that counts as too much; at 0 every call is computed.

    Attributes:
        skipped: whether the last call did without the blocks.
    """

    after_first_block: ClassVar[bool]
    """Whether the cache goes by what the first block adds, else by what enters it."""

    def __init__(self, num_calls: int, threshold: float) -> None:
        self.num_calls, self.threshold = num_calls, threshold
        self.skipped = False
        self._num_done = 0
        self._added: Tensor | None = None

    def reuse(self, signal: Tensor) -> Tensor | None:
        """Decide about a call.

        Args:
            signal: [B, N, D], what the cache goes by; see :attr:`after_first_block`.

        Returns:
            What the blocks added to the noisy tokens when they ran last; None if they must run,
            and :meth:`keep` is told of it.
        """
        self._num_done += 1
        is_edge = self._num_done == 1 or self._num_done >= self.num_calls
        must_run = self._has_moved(signal, must_run=is_edge or self._added is None)
        self.skipped = not must_run
        return None if must_run else self._added

    def keep(self, added: Tensor) -> None:
        """Remember what the blocks added to the noisy tokens."""
        self._added = added

    @abstractmethod
    def _has_moved(self, signal: Tensor, *, must_run: bool) -> bool:
        """Whether the blocks run; they do if they must."""


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

    after_first_block = False

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
            must_run = self._sum >= self.threshold
        self._before = signal
        if must_run:
            self._sum = 0.0
        return must_run

    def _rescaled(self, change: float) -> float:
        value = 0.0
        for coefficient in self._coefficients:
            value = value * change + coefficient
        return value


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
            must_run = relative_change(signal, self._of_last_run) >= self.threshold
        if must_run:
            self._of_last_run = signal
        return must_run
