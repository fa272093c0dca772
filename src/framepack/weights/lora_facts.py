"""What a LoRA file says about itself in its header; its tensors are not read. No torch."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["LoraFacts", "lora_facts", "stated_bases", "trigger_words"]

_MOST_HEADER_BYTES = 100_000_000  # what the format allows
_STATED_BASE = (
    "modelspec.architecture",
    "ss_base_model_version",
    "ss_base_model",
    "ss_sd_model_name",
)
_TRIGGERS = (
    "modelspec.trigger_phrase",
    "ss_trigger_words",
    "trigger_words",
    "trigger_word",
    "trigger_phrase",
    "instance_prompt",
)
_TITLES = ("modelspec.title", "ss_output_name")


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """What is known of a LoRA at a glance.

    Attributes:
        title: its name, or None.
        trigger_words: words that wake it.
        base: the model that it was trained for, as it says itself, or None.
    """

    title: str | None = None
    trigger_words: tuple[str, ...] = ()
    base: str | None = None


def lora_facts(path: Path) -> LoraFacts:
    """Read the header of a LoRA; a file that cannot be read tells nothing.

    Source: the safetensors format: eight bytes with the header's length, then JSON.
    """
    try:
        state = path.stat()
    except OSError:
        return LoraFacts()
    return _facts(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2000)
def _facts(path: Path, mtime_ns: int, size: int) -> LoraFacts:
    """As :func:`lora_facts`; time and size tell files apart that had the same name."""
    metadata = _metadata(path)
    titles = [metadata[key].strip() for key in _TITLES if metadata.get(key, "").strip()]
    bases = stated_bases(metadata)
    return LoraFacts(
        title=titles[0] if titles else None,
        trigger_words=tuple(trigger_words(metadata)),
        base=next(iter(bases.values()), None),
    )


def stated_bases(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a file says that it was trained for, by the key that says so."""
    return {key: metadata[key] for key in _STATED_BASE if metadata.get(key)}


def trigger_words(metadata: Mapping[str, str]) -> list[str]:
    """Words that wake the LoRA, as far as the file names them."""
    words = []
    for key in _TRIGGERS:
        value = metadata.get(key, "").strip()
        listed = _parsed(value) if value.startswith("[") else None
        words += [str(word) for word in listed] if isinstance(listed, list) else [value]
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def _metadata(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = _parsed(file.read(length)) if length <= _MOST_HEADER_BYTES else None
    except (OSError, struct.error):
        return {}
    found = header.get("__metadata__") if isinstance(header, dict) else None
    texts = found.items() if isinstance(found, dict) else ()
    return {str(key): value for key, value in texts if isinstance(value, str)}


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
