"""What people write in a prompt besides its text: styles, wildcards and LoRA tags.

    a portrait of a __animal__ <lora:felt:0.8>      with --style noir

becomes a plain text and a list of LoRAs before anything is planned. The same seed gives the
same text.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.loras import LoraRef, read_loras

__all__ = ["Style", "apply_styles", "fill_wildcards", "has_wildcards", "take_lora_tags"]

_WILDCARD = re.compile(r"__([A-Za-z0-9][A-Za-z0-9/-]*(?:_[A-Za-z0-9/-]+)*)__")
_LORA_TAG = re.compile(r"<lora:([^<>]*)>", re.IGNORECASE)
_PLACE = "{prompt}"
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Style:
    """Words and values under a name.

    Attributes:
        name: of the style.
        prompt: text with ``{prompt}`` where the prompt goes, or text to be added at its end.
        negative_prompt: the same for the negative prompt.
        values: other fields of the request, for those that nobody gave.
    """

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def apply_styles(values: Mapping[str, Any], styles: Sequence[Style]) -> dict[str, Any]:
    """Values of a request, with the words of styles in their order, and their other values.

    Args:
        values: fields that were given.
        styles: where two set the same field, the first wins.
    """
    said: dict[str, Any] = dict(values)
    for style in styles:
        for name, text in (("prompt", style.prompt), ("negative_prompt", style.negative_prompt)):
            if text:
                said[name] = _styled(str(said.get(name) or ""), text)
        said = {**style.values, **said}
    return said


def has_wildcards(text: str) -> bool:
    """Whether a text has a ``__name__``."""
    return _WILDCARD.search(text) is not None


def fill_wildcards(text: str, lines_of: Callable[[str], Sequence[str]], rng: random.Random) -> str:
    """Put a line drawn at random in the place of each ``__name__``, in drawn lines too.

    Args:
        text: of a prompt.
        lines_of: the lines to draw from, by name.
        rng: draws.

    Raises:
        InvalidRequest: wildcards that lead to themselves.
    """
    for _ in range(_DEEPEST):
        if not has_wildcards(text):
            return text
        text = _WILDCARD.sub(lambda found: rng.choice(lines_of(found[1])), text)
    found = _WILDCARD.search(text)
    assert found is not None
    raise InvalidRequest(
        f"wildcard {found[0]} leads to others more than {_DEEPEST} times in a row; its file, or "
        "one it names, seems to name itself"
    )


def take_lora_tags(text: str) -> tuple[str, tuple[LoraRef, ...]]:
    """The text without its ``<lora:NAME:WEIGHT>`` tags, and the LoRAs they name.

    Raises:
        InvalidRequest: a tag without a name or with a weight that cannot be.
    """
    loras = []
    for tag in _LORA_TAG.findall(text):
        try:
            loras += [LoraRef.model_validate(lora) for lora in read_loras([tag])]
        except ValueError as error:
            raise InvalidRequest(
                f"<lora:{tag}> in the prompt is no LoRA; write <lora:NAME:WEIGHT> with a weight "
                "from -10 to 10"
            ) from error
    if not loras:
        return text, ()
    return " ".join(_LORA_TAG.sub(" ", text).split()), tuple(loras)


def _styled(text: str, style: str) -> str:
    if _PLACE in style:
        return style.replace(_PLACE, text).strip(" ,")
    return f"{text}, {style}" if text.strip() else style
