"""What the published 13B models take of a device: reckoned without torch or their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from framepack.domain.choices import Offload
from framepack.domain.quantization import (
    PARTS,
    Part,
    QuantFormat,
    can_be_streamed,
    in_words,
    weight_bytes,
)
from framepack.domain.settings import Settings
from framepack.memory.placement import (
    DecodeSize,
    NetworkSize,
    Placement,
    PlacementError,
    plan_placement,
    section_working_bytes,
)

__all__ = ["Allowed", "needed_gb", "place_published", "placement_text"]

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


@dataclass(frozen=True)
class Allowed:
    """What the settings allow of a device, and ask of the networks.

    Attributes:
        budget_gb: of the device, GB of 10**9 bytes; None for all of it.
        reserve_gb: of that, to be left alone.
        offload: where networks may lie.
        quantize: how weights are kept, by part of the model.
    """

    budget_gb: float | None = None
    reserve_gb: float = 0.0
    offload: Offload = "auto"
    quantize: Mapping[Part, QuantFormat] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of the settings."""
        budget, reserve = settings.budget_bytes, settings.reserve_bytes
        return cls(
            budget / 1e9 if budget is not None else None,
            reserve / 1e9,
            settings.offload,
            dict(settings.quantize),
        )

    @property
    def title(self) -> str:
        """What differs from the ordinary, for people; empty if nothing does."""
        said = []
        if self.budget_gb is not None:
            said.append(f"vram_budget {self.budget_gb:.1f} GB")
        if self.reserve_gb:
            said.append(f"vram_reserve {self.reserve_gb:.1f} GB")
        if self.offload != "auto":
            said.append(f"offload {self.offload}")
        if self.quantize:
            said.append(f"quantize {in_words(self.quantize)}")
        return ", ".join(said)


def _linear(inner: int, outer: int, kept_as: QuantFormat = "none") -> int:
    weights = 2 * inner * outer if kept_as == "none" else weight_bytes(kept_as, (outer, inner))
    return weights + 2 * outer


def _transformer(kept_as: QuantFormat = "none") -> NetworkSize:
    """In bf16: 20 double-stream, 40 single-stream blocks and two of the text's refiner.

    Args:
        kept_as: how the weights of attentions and feed-forwards are, but for the refiner's.
    """
    square, out = _linear(_DIM, _DIM, kept_as), _linear(_HIDDEN, _DIM, kept_as)
    wide = _linear(_DIM, _HIDDEN, kept_as)
    attention = 8 * square + 4 * 2 * _HEAD
    double = attention + 2 * (wide + out)
    single = 3 * square + 2 * 2 * _HEAD + wide + _linear(_DIM + _HIDDEN, _DIM, kept_as)
    refiner = 4 * _linear(_DIM, _DIM) + _linear(_DIM, _HIDDEN) + _linear(_HIDDEN, _DIM)
    refiner += _linear(_DIM, 2 * _DIM) + 4 * 2 * _DIM
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


def _llama(kept_as: QuantFormat) -> NetworkSize:
    width, narrow, hidden = 4096, 1024, 14336
    shapes = [(width, width)] * 2 + [(narrow, width)] * 2 + [(hidden, width)] * 3
    block = 436_224_000
    if kept_as != "none":
        block += sum(weight_bytes(kept_as, shape) - 2 * shape[0] * shape[1] for shape in shapes)
    return NetworkSize("text_encoder", 1_051_205_632, (block,) * 32, 1_051_197_440, 500_000_000)


def published_groups(
    quantize: Mapping[Part, QuantFormat] | None = None,
) -> Mapping[str, Sequence[NetworkSize]]:
    """All their networks, by what is needed at the same time.

    Args:
        quantize: how weights are kept, by part; of the two small encoders it is left out.
    """
    formats = quantize or {}
    llama = _llama(formats.get("text", "none"))
    clip = NetworkSize("text_encoder_2", 247_000_000, working_bytes=37_000_000)
    siglip = NetworkSize("image_encoder", 857_000_000, working_bytes=128_000_000)
    vae = NetworkSize("vae", 493_000_000, layer_bytes=15_000_000, working_bytes=74_000_000)
    return {
        "text": (llama, clip),
        "vision": (siglip,),
        "vae": (vae,),
        "transformer": (_transformer(formats.get("transformer", "none")),),
    }


def needed_gb(is_unified: bool) -> float:
    """Memory of a device that they are offered on.

    Args:
        is_unified: the device's memory is the computer's, as Apple's is.
    """
    return UNIFIED_MEMORY_GB if is_unified else PUBLISHED_MEMORY_GB


def place_published(
    memory_gb: float, host_gb: float | None = None, allowed: Allowed | None = None
) -> Placement | None:
    """Where their networks would lie on a device, for a section of 480 x 832; None if they cannot.

    Args:
        memory_gb: of the device, GB of 10**9 bytes.
        host_gb: of the machine, for what is streamed; None when it does not matter.
        allowed: what may be used; all of it as it fits when None.
    """
    allowed = allowed or Allowed()
    room = int(memory_gb * 1e9) - _DRIVER_BYTES
    if allowed.budget_gb is not None:
        room = min(room, int(allowed.budget_gb * 1e9))
    modes: Sequence[Offload] = (allowed.offload,)
    if allowed.offload == "auto" and not all(map(can_be_streamed, allowed.quantize.values())):
        modes = ("none", "model")
    for mode in modes:
        try:
            placement = plan_placement(
                published_groups(allowed.quantize),
                _DECODE,
                budget_bytes=room,
                reserve_bytes=int(allowed.reserve_gb * 1e9),
                mode=mode,
                host_bytes=None if host_gb is None else int(host_gb * 1e9),
            )
        except PlacementError:
            continue
        if not _is_quantized_in_file(placement, allowed.quantize):
            return placement
    return None


def _is_quantized_in_file(placement: Placement, quantize: Mapping[Part, QuantFormat]) -> bool:
    """Whether it would leave weights in their file that are not as the file has them."""
    return any(
        each.from_disk and each.name in PARTS[part]
        for part in quantize
        for group in placement.groups.values()
        for each in group
    )


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
