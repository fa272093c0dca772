"""The LoRAs of a run: merged into the transformer when it arrives, weighed anew in sections."""

from collections.abc import Sequence

from torch import nn

from framepack.weights.lora import LoraFile, MergedLoras, apply_loras

__all__ = ["RunLoras"]


class RunLoras:
    """LoRA files with the weights they have now, and the transformer that they are merged into.

    Attributes:
        keeps_originals: hold a copy of the weights that merging replaces, in host memory, so
            that it can be undone.
    """

    def __init__(
        self, loras: Sequence[tuple[LoraFile, float]] = (), *, keeps_originals: bool = True
    ) -> None:
        self.keeps_originals = keeps_originals
        self._loras = tuple(loras)
        self._merged: MergedLoras | None = None

    @property
    def loras(self) -> tuple[tuple[LoraFile, float], ...]:
        """The files, and the weights they have now."""
        return self._loras

    @property
    def is_merged(self) -> bool:
        """Whether they are in a transformer."""
        return self._merged is not None

    def merge(self, transformer: nn.Module) -> None:
        """Merge them into a transformer, unless they are in it already.

        Raises:
            InvalidRequest: one does not fit.
        """
        if self._loras and self._merged is None:
            self._merged = apply_loras(
                transformer, self._loras, keep_originals=self.keeps_originals
            )

    def weigh(self, weights: Sequence[float]) -> None:
        """Give them other weights; the same ones cost nothing.

        Args:
            weights: one for each, in order.

        Raises:
            ValueError: they are merged and the original weights were not kept.
        """
        if tuple(weights) == tuple(weight for _, weight in self._loras):
            return
        files = (lora for lora, _ in self._loras)
        self._loras = tuple(zip(files, weights, strict=True))
        if self._merged is not None:
            self._merged.change(self._loras)

    def forget(self) -> None:
        """The transformer that they were merged into is gone."""
        self._merged = None

    def remove(self) -> None:
        """Take them out of the transformer, to the byte.

        Raises:
            ValueError: the original weights were not kept.
        """
        if self._merged is not None:
            self._merged.remove()
            self._merged = None
