"""Linear layers by the faster of the exact ways that a machine has.

The two libraries that torch multiplies matrices with on the CPU differ: MKL keeps its 512-bit
kernels for one maker's processors, oneDNN uses what a processor has. In fp32 torch asks MKL. On
other processors with AVX-512 oneDNN is more than twice as fast and rounds no worse.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "has_onednn",
    "linear",
    "onednn_product",
    "prefers_onednn",
    "prefers_onednn_attention",
]

_WIDE_FAMILY = 26


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x @ weight.T + bias``, without gradients.

    Args:
        x: [N, in].
        weight: [out, in].
        bias: [out].

    Returns:
        [N, out], contiguous.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and prefers_onednn():
        return onednn_product(x, weight, bias)
    return F.linear(x, weight, bias)


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same by oneDNN, on the CPU, where :func:`has_onednn`."""
    product: Tensor = _onednn()(x, weight, bias, "none", [], "")
    return product


def has_onednn() -> bool:
    """Whether torch can multiply with oneDNN here."""
    return bool(torch.backends.mkldnn.is_available()) and _onednn() is not None


@cache
def prefers_onednn() -> bool:
    """Whether this processor has AVX-512, is not MKL's maker's, and torch has oneDNN."""
    capability = torch.backends.cpu.get_cpu_capability()
    return capability.startswith("AVX512") and has_onednn() and _maker() == "AuthenticAMD"


@cache
def prefers_onednn_attention() -> bool:
    """The same, and it multiplies 512 bits at a time, as AMD's do since family 26 (Zen 5).

    Those before take two halves in turn; there torch's own attention is up to a tenth quicker.
    """
    return prefers_onednn() and _family() >= _WIDE_FAMILY


@cache
def _onednn() -> Any:
    """The product that torch's compiler calls, or None where torch lacks it."""
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _maker() -> str:
    """The processor's maker as it names itself; empty where the system does not tell."""
    return _told("vendor_id")


def _family() -> int:
    """The processor's family as its maker counts; 0 where the system does not tell."""
    told = _told("cpu family")
    return int(told) if told.isdecimal() else 0


def _told(name: str) -> str:
    """What Linux tells of the first processor under a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    values = (line.split(":", 1)[1].strip() for line in lines if line.startswith(name))
    return next(values, "")
