"""What is tried, one after the other, when a job needs more memory than there is.

Only the way is changed, never what was asked for: sizes, steps and networks stay. Smaller tiles
change pixels by roundings at their borders; bf16 in place of fp32 changes them slightly more.
"""

from dataclasses import dataclass

__all__ = ["FALLBACKS", "Fallback"]


@dataclass(frozen=True)
class Fallback:
    """One way to work.

    Attributes:
        memory_share: share of the device's memory that is reckoned with. A smaller one makes
            smaller tiles for the VAE, and has networks that are not at work leave the device.
        half_precision: networks that would run in fp32 run in bf16, which halves them.
        title: what the log says.
    """

    memory_share: float
    half_precision: bool
    title: str


FALLBACKS = (
    Fallback(1.0, False, "everything as it fits"),
    Fallback(0.4, False, "smaller VAE tiles, idle networks moved away sooner"),
    Fallback(0.05, False, "the smallest VAE tiles, one network on the device at a time"),
    Fallback(0.05, True, "the same in half precision"),
)
"""The first is the ordinary one; after the last a job fails with the code "out_of_memory"."""
