"""What is tried after memory ran out holds less on the device each time."""

import pytest

from framepack.domain.choices import Offload
from framepack.domain.fallbacks import FALLBACKS


def test_each_way_is_more_modest_than_the_one_before() -> None:
    shares = [fallback.memory_share for fallback in FALLBACKS]
    assert shares == sorted(shares, reverse=True)
    assert [fallback.offload for fallback in FALLBACKS] == [
        None,
        None,
        None,
        "group",
        "sequential",
        "sequential",
    ]
    assert [fallback.half_precision for fallback in FALLBACKS].index(True) == len(FALLBACKS) - 1


@pytest.mark.parametrize(
    ("asked", "on_cpu", "taken"),
    [
        ("auto", False, "group"),
        ("none", False, "group"),
        ("balanced", False, "group"),
        ("sequential", False, "sequential"),
        ("disk", False, "disk"),
        ("auto", True, "disk"),
        ("group", True, "disk"),
    ],
)
def test_what_was_asked_for_is_never_loosened(asked: Offload, on_cpu: bool, taken: Offload) -> None:
    fallback = next(each for each in FALLBACKS if each.offload == "group")
    assert fallback.offload_for(asked, on_cpu=on_cpu) == taken
    assert FALLBACKS[0].offload_for(asked, on_cpu=on_cpu) is None
