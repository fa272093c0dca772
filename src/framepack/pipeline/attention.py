"""Choose who computes attention: what was asked for, or the fastest exact one of this machine.

What is fastest is found by trying; see :mod:`framepack.pipeline.attention_probe`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers.models import attention_dispatch

from framepack.domain.choices import Attention, AttentionName
from framepack.domain.errors import InvalidRequest
from framepack.models.attention_backends import BACKENDS, AttentionFacts, exact_candidates, lack
from framepack.models.linear import has_onednn, prefers_onednn_attention
from framepack.pipeline.attention_probe import ProbeMemory, fastest, listed_times
from framepack.pipeline.device import backend_name, device_name
from framepack.pipeline.hardware import package_version

__all__ = [
    "AttentionChoice",
    "AttentionReport",
    "check_attention",
    "choose_attention",
    "describe_attention",
    "find_facts",
]

# diffusers' own word on whether a package that is installed imports.
_IMPORTED = {
    "flash_attn": "_CAN_USE_FLASH_ATTN",
    "flash_attn_3": "_CAN_USE_FLASH_ATTN_3",
    "sageattention": "_CAN_USE_SAGE_ATTN",
    "xformers": "_CAN_USE_XFORMERS_ATTN",
}


@dataclass(frozen=True)
class AttentionChoice:
    """A back end and why it was taken."""

    name: AttentionName
    reason: str


@dataclass(frozen=True)
class AttentionReport:
    """What is known of attention on this machine, for people.

    Attributes:
        asked: the setting.
        problem: why that cannot run, or "".
        candidates: what ``auto`` chooses from.
        measured: what it chose before and why, by size.
        lacking: back ends that cannot run, with the reason.
    """

    asked: str
    problem: str
    candidates: tuple[str, ...]
    measured: Mapping[str, str]
    lacking: Mapping[str, str]


Probe = Callable[[Sequence[AttentionName]], Mapping[AttentionName, float]]
"""Milliseconds that back ends took, of those that ran."""


def find_facts(device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionFacts:
    """What this machine has for attention on a device.

    Args:
        device: where the transformer runs.
        dtype: its number format.
        head_dim: width of its heads.
    """
    packages = {
        name: found
        for name in {backend.package for backend in BACKENDS.values() if backend.package}
        if (found := package_version(name)) is not None
    }
    broken = {name for name in packages if not getattr(attention_dispatch, _IMPORTED[name], True)}
    is_cuda = backend_name(device) == "cuda"
    return AttentionFacts(
        device=backend_name(device),
        dtype=str(dtype).removeprefix("torch."),
        head_dim=head_dim,
        capability=torch.cuda.get_device_capability(device) if is_cuda else None,
        packages=packages,
        broken=frozenset(broken),
        has_onednn=has_onednn(),
        prefers_onednn=prefers_onednn_attention(),
    )


def check_attention(asked: Attention, facts: AttentionFacts) -> None:
    """Refuse a back end that cannot run here.

    Raises:
        InvalidRequest: says why, and how to get it.
    """
    if asked != "auto" and (reason := lack(asked, facts)):
        raise InvalidRequest(
            f"attention {asked} was asked for, but {reason}; auto takes the fastest exact one that "
            "runs here"
        )


def choose_attention(
    asked: Attention,
    facts: AttentionFacts,
    probe: Probe,
    *,
    began_with: str | None = None,
    approximate: bool = False,
) -> AttentionChoice:
    """Choose a back end.

    Args:
        asked: the setting; checked before.
        facts: of the machine.
        probe: times back ends; called only where there is more than one to choose from.
        began_with: what a run that goes on now began with.
        approximate: take SageAttention, if it can run and nothing was named.
    """
    if asked != "auto":
        return AttentionChoice(asked, "asked for")
    for name in BACKENDS:
        if name == began_with and not lack(name, facts):
            return AttentionChoice(name, "as the run began")
    if approximate and not lack("sage", facts):
        return AttentionChoice("sage", "approximate, because fast was asked for")
    candidates = exact_candidates(facts)
    if "onednn" in candidates:
        return AttentionChoice("onednn", "faster than torch's own on this processor")
    if len(candidates) == 1:
        return AttentionChoice(candidates[0], "the only one here")
    times = probe(candidates)
    reason = f"measured: {listed_times(times)}" if times else "no other could be tried"
    return AttentionChoice(fastest(times), reason)


def describe_attention(
    asked: Attention, facts: AttentionFacts, device: torch.device, memory: ProbeMemory
) -> AttentionReport:
    """Collect what there is to know, without trying anything.

    Args:
        asked: the setting.
        facts: of the machine.
        device: where the transformer runs.
        memory: of earlier probes.
    """
    lacking = {str(name): reason for name in BACKENDS if (reason := lack(name, facts))}
    known = f"{device_name(device)}; {facts.dtype}; "
    measured = {}
    for key in memory.all():
        times = memory.get(key)
        if key.startswith(known) and times:
            size = key.removeprefix(known).split("; ")[0]
            measured[size] = f"{fastest(times)} ({listed_times(times)})"
    return AttentionReport(
        asked=asked,
        problem=lacking.get(asked, "") if asked != "auto" else "",
        candidates=tuple(exact_candidates(facts)),
        measured=measured,
        lacking=lacking,
    )
