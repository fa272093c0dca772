"""What is tried, one after the other, when a run needs more memory than there is.

Only the way is changed, never what was asked for: sizes, steps and networks stay. Smaller tiles
change pixels by roundings at their borders; bf16 in place of fp32 changes them slightly more.
"""

from dataclasses import dataclass
from typing import get_args

from framepack.domain.choices import Offload

__all__ = ["FALLBACKS", "Fallback"]


@dataclass(frozen=True)
class Fallback:
    """One way to work.

    Attributes:
        memory_share: share of the device's memory that is reckoned with. A smaller one makes
            smaller tiles for the VAE, and has networks that are not at work leave the device.
        offload: where networks lie, if that is not left to the settings.
        half_precision: networks that would run in fp32 run in bf16, which halves them.
        title: what the log says.
    """

    memory_share: float
    offload: Offload | None
    half_precision: bool
    title: str

    def offload_for(self, asked: Offload, *, on_cpu: bool) -> Offload | None:
        """Where networks lie in this try; None leaves it to the settings.

        Args:
            asked: by the settings. What holds less on the device than this try does stays.
            on_cpu: the device is the CPU, where only reading blocks from disk spares memory.
        """
        if self.offload is None:
            return None
        wanted: Offload = "disk" if on_cpu else self.offload
        return max(asked, wanted, key=_ORDER.index)


_ORDER: tuple[Offload, ...] = get_args(Offload)

FALLBACKS = (
    Fallback(1.0, None, False, "everything as it fits"),
    Fallback(0.4, None, False, "smaller VAE tiles, idle networks moved away sooner"),
    Fallback(0.05, None, False, "the smallest VAE tiles, one network on the device at a time"),
    Fallback(0.05, "group", False, "the same with networks streamed, two blocks at a time"),
    Fallback(0.05, "sequential", False, "the same layer by layer"),
    Fallback(0.05, "sequential", True, "the same in half precision"),
)
"""The first is the ordinary one; after the last a job fails with the code "out_of_memory".

A run that goes on by itself keeps its number format, and so leaves out the last one.
"""
