"""What forward passes may take over from one another, as objects that the caller holds."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

__all__ = ["Reuse", "RunTables", "StepCaching", "Store"]

T = TypeVar("T")

Store = dict[Hashable, Any]
"""Results by name."""


class StepCaching(Protocol):
    """What a forward pass asks before it runs its blocks; see ``framepack.sampling.caches``."""

    @property
    def after_first_block(self) -> bool:
        """Whether it goes by what the first block adds, else by what enters it."""

    def reuse(self, signal: Tensor) -> Tensor | None:
        """What the blocks added to the noisy tokens [B, n, D] last; None if they must run."""

    def keep(self, added: Tensor) -> None:
        """Take note of what they added now."""


@dataclass(frozen=True)
class Reuse:
    """Results of earlier forward passes, for the passes whose caller knows them to be the same.

    A result that is missing is computed and put in. What is taken from here is what would have
    been computed, to the last bit.

    Attributes:
        section: for passes with the same history, frame indices and vision features.
        step: for passes with the same prompt, pooled prompt, timestep and guidance as well; all
            that the network makes of them: refined text and modulation vectors.
    """

    section: Store = field(default_factory=dict)
    step: Store = field(default_factory=dict)

    def in_section(self, name: Hashable, make: Callable[[], T]) -> T:
        """A result that holds for the section."""
        return _taken(self.section, name, make)

    def in_step(self, name: Hashable, make: Callable[[], T]) -> T:
        """A result that holds for the prompt, timestep and guidance."""
        return _taken(self.step, name, make)


class RunTables:
    """What the network makes of prompt, timestep and guidance, kept from section to section.

    Sections of a video mostly share their prompt and always their noise levels. One prompt is
    kept per guidance pass: a section with another prompt starts a new table. Memory at the
    published size is about 2 MB per step for modulation and up to 3 MB for the text.
    """

    def __init__(self) -> None:
        self._passes: dict[str, tuple[Hashable, list[Tensor], dict[float, Store]]] = {}
        self._weights: Hashable = None

    def suit(self, weights: Hashable) -> None:
        """Forget all that was made with other weights of the network.

        Args:
            weights: names them, the factors of LoRAs for example.
        """
        if weights != self._weights:
            self._passes.clear()
        self._weights = weights

    def of(self, name: str, prompt: Sequence[Tensor], others: Hashable) -> dict[float, Store]:
        """The tables of a guidance pass, :attr:`Reuse.step` by noise level.

        Args:
            name: of the pass.
            prompt: what the text encoders gave.
            others: all else that goes in: guidance scale, number format, device.
        """
        known = self._passes.get(name)
        if known is None or known[0] != others or not all(map(_equal, known[1], prompt)):
            known = others, list(prompt), {}
            self._passes[name] = known
        return known[2]


def _taken(store: Store, name: Hashable, make: Callable[[], T]) -> T:
    if name not in store:
        store[name] = make()
    taken: T = store[name]
    return taken


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or torch.equal(a, b)
