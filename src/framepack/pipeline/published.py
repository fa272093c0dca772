"""What the published 13B models take of a device: reckoned without torch or their files."""

from collections.abc import Mapping, Sequence
from functools import cache

from framepack.memory.placement import (
    DecodeSize,
    NetworkSize,
    Placement,
    PlacementError,
    plan_placement,
    section_working_bytes,
)

__all__ = ["needed_gb", "place_published", "placement_text"]

PUBLISHED_MEMORY_GB = 6.0
"""Memory of an accelerator that they are offered on by default, GB of 10**9 bytes.

The planner places them on less, at the price of time.
"""

UNIFIED_MEMORY_GB = 30.0
"""The same where the accelerator's memory is the computer's: streaming spares nothing there."""

_DRIVER_BYTES = 500_000_000  # what a driver and its libraries take beside the networks
_DIM, _HIDDEN, _HEAD = 3072, 12288, 128
_SECTION_TOKENS = 18_795  # of 480 x 832, with text and picture
_DECODE = DecodeSize(480, 832, 34_816)  # bytes per pixel of 17 frames in fp16


def _linear(inner: int, outer: int) -> int:
    return 2 * (inner * outer + outer)


def _transformer() -> NetworkSize:
    """In bf16: 20 double-stream, 40 single-stream blocks and two of the text's refiner."""
    square, out = _linear(_DIM, _DIM), _linear(_HIDDEN, _DIM)
    wide = _linear(_DIM, _HIDDEN)
    attention = 8 * square + 4 * 2 * _HEAD
    double = attention + 2 * (wide + out)
    single = 3 * square + 2 * 2 * _HEAD + wide + _linear(_DIM + _HIDDEN, _DIM)
    refiner = 4 * square + wide + out + _linear(_DIM, 2 * _DIM) + 4 * 2 * _DIM
    six, three = _linear(_DIM, 6 * _DIM), _linear(_DIM, 3 * _DIM)
    return NetworkSize(
        "transformer",
        rest_bytes=299_366_528,
        block_bytes=(*[refiner] * 2, *[double] * 20, *[single] * 40),
        layer_bytes=attention,
        working_bytes=section_working_bytes(_SECTION_TOKENS, _DIM, 2),
        tabled_bytes=40 * six + 40 * three,
        tabled_layer_bytes=six,
    )


@cache
def published_groups() -> Mapping[str, Sequence[NetworkSize]]:
    """All their networks, by what is needed at the same time."""
    llama = NetworkSize(
        "text_encoder", 1_051_205_632, (436_224_000,) * 32, 1_051_197_440, 500_000_000
    )
    clip = NetworkSize("text_encoder_2", 247_000_000, working_bytes=37_000_000)
    siglip = NetworkSize("image_encoder", 857_000_000, working_bytes=128_000_000)
    vae = NetworkSize("vae", 493_000_000, layer_bytes=15_000_000, working_bytes=74_000_000)
    return {
        "text": (llama, clip),
        "vision": (siglip,),
        "vae": (vae,),
        "transformer": (_transformer(),),
    }


def needed_gb(is_unified: bool) -> float:
    """Memory of a device that they are offered on.

    Args:
        is_unified: the device's memory is the computer's, as Apple's is.
    """
    return UNIFIED_MEMORY_GB if is_unified else PUBLISHED_MEMORY_GB


def place_published(memory_gb: float, host_gb: float | None = None) -> Placement | None:
    """Where their networks would lie on a device, for a section of 480 x 832; None if they cannot.

    Args:
        memory_gb: of the device, GB of 10**9 bytes.
        host_gb: of the machine, for what is streamed; None when it does not matter.
    """
    try:
        return plan_placement(
            published_groups(),
            _DECODE,
            budget_bytes=int(memory_gb * 1e9),
            reserve_bytes=_DRIVER_BYTES,
            host_bytes=None if host_gb is None else int(host_gb * 1e9),
        )
    except PlacementError:
        return None


def placement_text(placement: Placement) -> str:
    """Where the transformer lies, for people."""
    (transformer,) = placement.groups["transformer"]
    if transformer.form == "whole":
        return "the transformer fits as a whole"
    if transformer.form == "layers":
        return "the transformer is streamed layer by layer, which is slow"
    (size,) = published_groups()["transformer"]
    where = "from its files" if transformer.from_disk else "from the machine's memory"
    staying, total = len(transformer.resident), len(size.block_bytes)
    if staying == total:
        return "all blocks of the transformer stay on it"
    return f"{staying} of the transformer's {total} blocks stay on it, the others come {where}"
