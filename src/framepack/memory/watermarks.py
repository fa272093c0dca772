"""Resident blocks that leave when other programs take the device's memory, and come back after."""

from collections.abc import Sequence
from dataclasses import dataclass

from framepack.memory.placement import NetworkSize, held_bytes

__all__ = ["Watermarks", "follow"]

_NEEDED_SHARE = 10 / 11  # of what is reckoned for activations: the rest is a margin
_PATIENCE = 5


@dataclass(frozen=True, slots=True)
class Watermarks:
    """When resident blocks are given up and taken back.

    Attributes:
        low_bytes: with less memory free, some are given up.
        high_bytes: with more free for some looks in a row, some are taken back.
        patience: that number of looks.
    """

    low_bytes: int
    high_bytes: int
    patience: int = _PATIENCE

    @classmethod
    def of(cls, size: NetworkSize) -> "Watermarks":
        """Below the low mark the next step's activations might not fit; a block lies between."""
        largest = max(size.block_bytes, default=0)
        return cls(int(size.working_bytes * _NEEDED_SHARE), size.working_bytes + largest)

    @property
    def aim_bytes(self) -> int:
        """What is free after a change, if blocks can do it: as far from both marks."""
        return (self.low_bytes + self.high_bytes) // 2


def follow(
    size: NetworkSize,
    resident: Sequence[int],
    free_bytes: int,
    calm: int,
    marks: Watermarks,
) -> tuple[tuple[int, ...], int]:
    """Which blocks are to stay from now on.

    Both changes aim between the marks, so that while the others take the same, what is given up is
    not taken back. At most blocks of another size are, that fit better; then it is settled.

    Args:
        size: of the network.
        resident: numbers of the blocks that stay now.
        free_bytes: of the device, beside everything that is on it.
        calm: what the last call gave; 0 at first.
        marks: when to act.

    Returns:
        Numbers of blocks, and how many looks in a row found more free than the high mark.
    """
    now = tuple(sorted(resident))
    room = held_bytes(size, now) + free_bytes - marks.aim_bytes
    if free_bytes < marks.low_bytes:
        counts = range(len(now) - 1, 0, -1)
        fewer = (tuple(now[i * len(now) // count] for i in range(count)) for count in counts)
        return next((each for each in fewer if held_bytes(size, each) <= room), ()), 0
    if free_bytes <= marks.high_bytes:
        return now, 0
    if calm + 1 < marks.patience:
        return now, calm + 1
    others = [index for index in range(len(size.block_bytes)) if index not in set(now)]
    counts = range(len(others), 0, -1)
    spread = ([others[i * len(others) // count] for i in range(count)] for count in counts)
    more = (tuple(sorted((*now, *each))) for each in spread)
    return next((each for each in more if held_bytes(size, each) <= room), now), 0
