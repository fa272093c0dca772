"""Values that options of an encoder may have, as far as they are numbers between limits.

libav refuses what is beyond the limits that it declares, in words of its own. Of x264 and x265 it
declares nearly none, and the encoders move what is beyond theirs to the nearest limit in silence.
"""

from collections.abc import Mapping

from av.codec.context import CodecContext

from framepack.domain.errors import InvalidRequest

__all__ = ["check_limits"]

# The upper limits that both encoders' own helps tell, for pixels of 8 bits.
_HIGHEST: Mapping[str, Mapping[str, float]] = {
    "libx264": {
        "crf": 51,
        "crf_max": 51,
        "qp": 69,
        "aq-mode": 3,
        "bf": 16,
        "refs": 16,
        "rc-lookahead": 250,
        "subq": 11,
        "trellis": 2,
        "weightp": 2,
    },
    "libx265": {"crf": 51, "qp": 51, "bf": 16, "refs": 16},
}
_OFF = -1.0  # libav's word for an option that is not given
_HUGE = 1e9  # what libav declares where it knows no limit is beyond


def check_limits(codec: str, options: Mapping[str, str]) -> None:
    """Refuse numbers that an encoder does not take.

    Names of values, and sums that libav works out, are left to libav.

    Args:
        codec: libav's name of the encoder.
        options: its options.

    Raises:
        InvalidRequest: names the option, its value and its limits.
    """
    declared = _declared(codec)
    highest = _HIGHEST.get(codec, {})
    for name, text in options.items():
        value = _number(text)
        if value is None or name not in declared.keys() | highest.keys():
            continue
        low, high = declared.get(name, (_OFF, _HUGE))
        high = min(high, highest.get(name, high))
        if not low <= value <= high:
            # An option that is off below 0 is for people one that begins at 0.
            lowest = 0 if name in highest and low <= _OFF else low
            raise InvalidRequest(
                f"codec option {name} is {text}; encoder {codec} takes a number "
                f"{_span(lowest, high)}"
            )


def _declared(codec: str) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each number; an encoder's own option hides a general one."""
    context = CodecContext.create(codec, "w")
    if not hasattr(context, "supported_options"):
        return {}  # PyAV before 18.1 does not tell; libav still refuses, with fewer words
    known = context.supported_options
    options = [each for each in (*known.generic, *known.private) if not each.is_array]
    return {each.name: (each.min, each.max) for each in options if each.min < each.max}


def _span(low: float, high: float) -> str:
    if high >= _HUGE:
        return f"of at least {low:g}"
    return f"of at most {high:g}" if low <= -_HUGE else f"from {low:g} to {high:g}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
