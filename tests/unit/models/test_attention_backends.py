"""A back end that cannot run says why, and how to get it; the exact ones that can are offered."""

from dataclasses import replace

import pytest
from diffusers.models.attention_dispatch import AttentionBackendName

from framepack.domain.choices import AttentionName
from framepack.models.attention_backends import (
    BACKENDS,
    AttentionFacts,
    exact_candidates,
    lack,
)

PACKAGES = {"flash_attn": "2.8.3", "xformers": "0.0.33.post1", "sageattention": "2.2.0"}
ADA = AttentionFacts("cuda", "bfloat16", 128, capability=(8, 9), packages=PACKAGES)
HOPPER = replace(ADA, capability=(9, 0), packages={**PACKAGES, "flash_attn_3": "3.0.0b1"})
BARE = replace(ADA, packages={})
CPU = AttentionFacts("cpu", "float32", 128, has_onednn=True, prefers_onednn=True)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (BARE, ["sdpa", "cudnn"]),
        (ADA, ["sdpa", "cudnn", "flash", "xformers"]),
        (HOPPER, ["sdpa", "cudnn", "flash3", "flash", "xformers"]),
        (replace(ADA, capability=(7, 5)), ["sdpa", "xformers"]),
        (replace(ADA, dtype="float32"), ["sdpa"]),
        (replace(ADA, device="rocm", capability=None), ["sdpa", "flash", "xformers"]),
        (replace(ADA, broken=frozenset({"flash_attn"})), ["sdpa", "cudnn", "xformers"]),
        (AttentionFacts("mps", "bfloat16", 128), ["sdpa"]),
        (AttentionFacts("xpu", "bfloat16", 128), ["sdpa"]),
        (CPU, ["sdpa", "onednn"]),
        (replace(CPU, prefers_onednn=False), ["sdpa"]),
        (replace(CPU, dtype="bfloat16"), ["sdpa", "onednn"]),
        (replace(CPU, dtype="float16"), ["sdpa"]),
    ],
)
def test_auto_chooses_from_the_exact_ones_that_can_run(
    facts: AttentionFacts, expected: list[str]
) -> None:
    assert exact_candidates(facts) == expected


def test_sage_can_be_asked_for_but_is_never_offered() -> None:
    assert lack("sage", ADA) == ""
    assert "sage" not in exact_candidates(ADA)
    assert [name for name, backend in BACKENDS.items() if not backend.is_exact] == ["sage"]


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        ("flash", BARE, ["FlashAttention 2 is not installed", "pip install flash-attn"]),
        ("xformers", BARE, ["xFormers is not installed", "pip install xformers"]),
        ("flash", replace(ADA, packages={"flash_attn": "2.5.9"}), ["is 2.5.9 here", "2.6.3 or"]),
        ("sage", replace(ADA, packages={"sageattention": "1.0.6"}), ["1.0.6", "2.1.1", "pip"]),
        ("flash", replace(ADA, broken=frozenset({"flash_attn"})), ["does not import", "pip"]),
        ("flash3", ADA, ["compute capability 9.0", "has 8.9"]),
        ("flash3", replace(HOPPER, capability=(10, 0)), ["capability 9.0", "has 10.0"]),
        ("cudnn", replace(ADA, capability=(7, 5)), ["8.0 or later", "has 7.5"]),
        ("cudnn", replace(ADA, dtype="float32"), ["bfloat16 or float16", "is float32"]),
        ("cudnn", replace(ADA, head_dim=100), ["multiples of 8 up to 128", "is 100"]),
        ("sage", replace(ADA, head_dim=256), ["any up to 128", "is 256"]),
        ("sage", CPU, ["runs on cuda", "is cpu"]),
        ("onednn", ADA, ["runs on cpu", "is cuda"]),
        ("onednn", replace(CPU, has_onednn=False), ["no oneDNN"]),
    ],
)
def test_what_is_lacking_is_said(
    name: AttentionName, facts: AttentionFacts, words: list[str]
) -> None:
    reason = lack(name, facts)
    assert [word for word in words if word not in reason] == []


def test_names_and_least_versions_are_those_of_diffusers() -> None:
    from diffusers.models import attention_dispatch

    for backend in BACKENDS.values():
        assert backend.dispatch == "" or AttentionBackendName(backend.dispatch)
    for name, theirs in {
        "flash": attention_dispatch._REQUIRED_FLASH_VERSION,
        "sage": attention_dispatch._REQUIRED_SAGE_VERSION,
        "xformers": attention_dispatch._REQUIRED_XFORMERS_VERSION,
    }.items():
        assert BACKENDS[name].lowest_version == theirs
