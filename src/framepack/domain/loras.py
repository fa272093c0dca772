"""Which LoRAs a request asks for, and how strongly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MAX_LORA_WEIGHT", "LoraRef", "read_loras"]

MAX_LORA_WEIGHT = 10


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
