"""Which LoRAs a request asks for, and how strongly, in all of a video and in its sections."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from framepack.domain.errors import InvalidRequest

__all__ = [
    "MAX_LORA_WEIGHT",
    "LoraRef",
    "LoraWeights",
    "read_loras",
    "read_weights",
    "section_weights",
]

MAX_LORA_WEIGHT = 10

LoraWeights = float | dict[str, float]
"""A factor on the weights of all LoRAs, or the weights of those that are named."""


class LoraRef(BaseModel):
    """A LoRA file and how strongly it acts.

    Attributes:
        path: a safetensors file, or the name of one in the settings' LoRA folder.
        weight: 0 leaves the model as it is, 1 is the strength it was trained for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: Path
    weight: float = Field(1.0, ge=-MAX_LORA_WEIGHT, le=MAX_LORA_WEIGHT)


def read_loras(value: object) -> tuple[Any, ...]:
    """Read LoRAs as people write them: ``PATH:WEIGHT``, one text, one on each line, or a list.

    Raises:
        ValueError: an entry without a path.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        value = [line for line in value.splitlines() if line.strip()]
    if not isinstance(value, Sequence):
        raise ValueError(f"{value!r} is no list of LoRAs")
    return tuple(_read_one(entry) if isinstance(entry, str) else entry for entry in value)


def _read_one(text: str) -> LoraRef:
    path, _, weight = text.strip().rpartition(":")
    try:
        number = float(weight)
    except ValueError:  # a drive letter's colon, or none
        path, number = text.strip(), 1.0
    if not path:
        raise ValueError(f"{text!r} names no file; write PATH:WEIGHT")
    return LoraRef(path=Path(path), weight=number)


def read_weights(value: object) -> LoraWeights:
    """Read what a section says of LoRAs.

    Args:
        value: a factor, ``NAME:WEIGHT`` between commas, or a mapping from names to weights.

    Raises:
        ValueError: says what cannot be read.
    """
    if isinstance(value, Mapping):
        return {str(name): _weight(weight) for name, weight in value.items()}
    text = str(value)
    if ":" not in text:
        return _weight(value)
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = (piece.strip() for piece in part.rpartition(":"))
        if not name:
            raise ValueError(f"{part.strip()!r} names no LoRA; write NAME:WEIGHT, NAME:WEIGHT")
        if name in weights:
            raise ValueError(f"LoRA {name} has two weights in one section; give one")
        weights[name] = _weight(weight)
    return weights


def _weight(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is no weight of a LoRA; write one number for all, or NAME:WEIGHT, "
            "NAME:WEIGHT"
        ) from None
    if not abs(number) <= MAX_LORA_WEIGHT:  # nor is a number that is none
        raise ValueError(
            f"{value} is no weight of a LoRA; it must be from -{MAX_LORA_WEIGHT} to "
            f"{MAX_LORA_WEIGHT}"
        )
    return number


def section_weights(loras: Sequence[LoraRef], asked: LoraWeights | None) -> tuple[float, ...]:
    """The weights of LoRAs in one section, in their order.

    Args:
        loras: of the video.
        asked: what the section says of them; None is nothing.

    Raises:
        InvalidRequest: a name that is none of theirs or fits several, or a weight out of range.
    """
    weights = [lora.weight for lora in loras]
    if isinstance(asked, dict):
        for name, weight in asked.items():
            weights[_index(name, loras)] = weight
    elif asked is not None:
        weights = [weight * asked for weight in weights]
    for lora, weight in zip(loras, weights, strict=True):
        if abs(weight) > MAX_LORA_WEIGHT:
            raise InvalidRequest(
                f"LoRA {lora.path.name} gets the weight {weight:g} in a section; it must be from "
                f"-{MAX_LORA_WEIGHT} to {MAX_LORA_WEIGHT}, so make the factor smaller"
            )
    return tuple(weights)


def _index(name: str, loras: Sequence[LoraRef]) -> int:
    """The place of the LoRA with that name: its path, its file's name, or that without suffix."""
    for names in (
        [str(lora.path) for lora in loras],
        [lora.path.name for lora in loras],
        [lora.path.stem for lora in loras],
    ):
        if names.count(name) == 1:
            return names.index(name)
        if name in names:
            raise InvalidRequest(
                f"section_loras (--section-loras) names LoRA {name}, which fits "
                f"{names.count(name)} files; write the whole path"
            )
    known = ", ".join(lora.path.stem for lora in loras)
    raise InvalidRequest(
        f"section_loras (--section-loras) names LoRA {name}, but the video has {known}; name one "
        f"of these, or add --lora {name}"
    )
