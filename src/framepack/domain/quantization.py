"""Which parts of a model have their weights quantised, and how, as people write it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from framepack.domain.errors import InvalidRequest

__all__ = [
    "DYNAMIC_FORMATS",
    "PARTS",
    "QUANT_FORMATS",
    "SDNQ_FORMATS",
    "STORED_FORMATS",
    "TORCHAO_FORMATS",
    "Part",
    "QuantFormat",
    "can_be_streamed",
    "in_words",
    "read_quantize",
    "weight_bytes",
]

Part = Literal["transformer", "text", "vision", "vae"]

QuantFormat = Literal[
    "none", "fp8", "fp8-dynamic", "int8", "int8-dynamic", "nf4", "sdnq-int8", "sdnq-uint4"
]
"""How the weights of linear layers are kept. With ``dynamic``, what enters a layer is quantised
too while it is multiplied."""

PARTS: Mapping[Part, tuple[str, ...]] = {
    "transformer": ("transformer",),
    "text": ("text_encoder", "text_encoder_2"),
    "vision": ("image_encoder",),
    "vae": ("vae",),
}
"""Components of each part."""

QUANT_FORMATS: tuple[QuantFormat, ...] = get_args(QuantFormat)
DYNAMIC_FORMATS = frozenset({"fp8-dynamic", "int8-dynamic"})
TORCHAO_FORMATS = frozenset({"fp8", "fp8-dynamic", "int8", "int8-dynamic"})
STORED_FORMATS = TORCHAO_FORMATS - {"fp8-dynamic"}  # that is made on a GPU only, others here too
SDNQ_FORMATS = frozenset({"sdnq-int8", "sdnq-uint4"})

_OF_ALL: tuple[Part, ...] = ("transformer", "text", "vision")
_FORM = "write PART=FORMAT, such as transformer=fp8"


def read_quantize(value: object) -> dict[Part, QuantFormat]:
    """Read what is asked for: a table, ``PART=FORMAT`` in a list, or in one text between commas.

    A lone format is for the transformer. ``all`` is every part that can be quantised, which the
    VAE cannot; a part that is named wins over it.

    Returns:
        The parts that are quantised, in the order of ``PARTS``.

    Raises:
        InvalidRequest: a part or a format that there is not, a part with two formats, or the VAE.
    """
    named: dict[str, str] = {}
    for part, kept_as in _pairs(value):
        if part != "all" and part not in PARTS:
            raise InvalidRequest(
                f"quantize names the part {part!r}; choose {', '.join(PARTS)} or all"
            )
        if kept_as.endswith(".gguf"):
            raise InvalidRequest(
                f"quantize names the file {kept_as}; a GGUF file is named as the transformer of a "
                f"recipe, choose one of {', '.join(QUANT_FORMATS)} here"
            )
        if kept_as not in QUANT_FORMATS:
            raise InvalidRequest(
                f"quantize asks for {kept_as!r} for {part}; choose {', '.join(QUANT_FORMATS)}"
            )
        if named.setdefault(part, kept_as) != kept_as:
            raise InvalidRequest(
                f"quantize asks for {named[part]} and {kept_as} for {part}; give one"
            )
    if named.get("vae", "none") != "none":
        raise InvalidRequest(
            f"quantize asks for vae={named['vae']}, but the VAE is made of 3-D convolutions, which "
            "none of the formats holds; leave it out, or decode with the smaller --vae tiny"
        )
    every = named.pop("all", "none")
    formats: dict[str, str] = {**dict.fromkeys(_OF_ALL, every), **named}
    known: dict[str, QuantFormat] = {each: each for each in QUANT_FORMATS}
    return {part: known[formats[part]] for part in PARTS if formats.get(part, "none") != "none"}


def in_words(formats: Mapping[Part, QuantFormat] | Mapping[str, str]) -> str:
    """What is quantised, for logs and run records: ``transformer fp8, text int8``."""
    return ", ".join(f"{part} {kept_as}" for part, kept_as in formats.items()) or "none"


def can_be_streamed(kept_as: QuantFormat) -> bool:
    """Whether blocks in a format can lie in host memory and come to the device in turn.

    The scales of nf4 are no tensors of the network, so they would be left behind.
    """
    return kept_as != "nf4"


def weight_bytes(kept_as: QuantFormat, shape: tuple[int, int]) -> int:
    """Bytes of a quantised weight [out, in], scales included."""
    out, width = shape
    numbers, row = out * width, 4  # an fp32 scale
    if kept_as in ("int8", "int8-dynamic"):
        return numbers + out * (row + 1)  # and a zero point
    if kept_as in ("fp8", "fp8-dynamic", "sdnq-int8"):
        return numbers + out * row
    if kept_as == "nf4":
        return -(-numbers // 2) + 4 * -(-numbers // 64)  # a scale for each 64 numbers
    assert kept_as == "sdnq-uint4"
    return -(-numbers // 2) + 8 * out * -(-width // 64)  # scale and zero point for each 64


def _pairs(value: object) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(str(part).strip(), str(kept_as).strip()) for part, kept_as in value.items()]
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, Sequence):
        raise InvalidRequest(f"quantize is {value!r}; {_FORM}")
    return [pair for entry in value for pair in _pair(entry)]


def _pair(entry: Any) -> list[tuple[str, str]]:
    part, sign, kept_as = (piece.strip() for piece in str(entry).partition("="))
    if not sign:
        part, kept_as = "transformer", part
    if not part or not kept_as:
        raise InvalidRequest(f"quantize has {str(entry)!r}; {_FORM}")
    return [(part, kept_as)]
