"""Amounts of memory as people write them."""

import re

from framepack.domain.errors import InvalidRequest

__all__ = ["memory_size_bytes"]

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b?)?\s*", re.IGNORECASE)
_UNITS = {
    **{letter: 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("kmgt", start=1)},
}


def memory_size_bytes(text: str | float, name: str = "an amount of memory") -> int:
    """Read ``6GB``, ``5.5GiB``, ``800 MB`` or a plain number, which counts GB.

    Args:
        text: as typed.
        name: what errors call it.

    Raises:
        InvalidRequest: neither form.
    """
    found = _FORM.fullmatch(str(text))
    if found is None:
        raise InvalidRequest(f"{name} is {text!r}; write it as 6GB, 5.5GiB or 800MB")
    unit = (found[2] or "GB").lower().removesuffix("b")
    return int(float(found[1]) * _UNITS[unit])
