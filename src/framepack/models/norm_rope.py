"""Norm and rotation of queries and keys in place: in torch, or by one Triton kernel on CUDA.

In torch it is five passes over the memory, in the kernel one. Both compute in fp32 and round once.
The kernel is taken where Triton imports, compiles it, and gives torch's numbers in a small trial on
the device; without any of that torch does it.
"""

# Shape letters are those of docs/notation.md:
#   S tokens  P parts (keys, queries)  H heads  D head width  n tokens that are turned

import logging
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

__all__ = ["norm_and_turn", "norm_and_turn_in_torch", "takes_triton"]

logger = logging.getLogger(__name__)

Kernel = Callable[[Tensor, Tensor, float, Tensor | None], None]

_NEAR = 1e-2  # relative distance of results in 16 bits that differ by rounding alone


def norm_and_turn(heads: Tensor, weight: Tensor, eps: float, phases: Tensor | None) -> None:
    """RMS norm each part with its weight, then rotate the first tokens, in place, in fp32.

    Args:
        heads: [S, P, H, D], whose heads lie one after the other.
        weight: [P, D].
        eps: what the norm adds to the mean square.
        phases: [n, 1, 1, D/2] complex, of the first n tokens; None turns none.
    """
    if takes_triton(heads.device, heads.dtype):
        _kernel()(heads, weight, eps, phases)
    else:
        norm_and_turn_in_torch(heads, weight, eps, phases)


def norm_and_turn_in_torch(
    heads: Tensor, weight: Tensor, eps: float, phases: Tensor | None
) -> None:
    """:func:`norm_and_turn` by torch's own operations."""
    values = heads.float()  # the same memory if it is fp32 already
    mean = values.square().mean(-1, keepdim=True)
    values.mul_(mean.add_(eps).rsqrt_()).mul_(weight.unsqueeze(1))
    if phases is not None:
        turned = values[: phases.shape[0]].unflatten(-1, (-1, 2))
        torch.view_as_complex(turned).mul_(phases)
    if heads.dtype != values.dtype:
        heads.copy_(values)


@cache
def takes_triton(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel runs on a device and gives torch's numbers there; tried once."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return _agrees(_kernel, device, dtype)


def _agrees(load: Callable[[], Kernel], device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a kernel gives what torch gives for a few random tokens."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    found = normal(5, 2, 3, 64).to(dtype)
    weight = normal(2, 64).to(dtype)
    angles = normal(3, 1, 1, 32)
    phases = torch.polar(torch.ones_like(angles), angles)
    expected = found.clone()
    norm_and_turn_in_torch(expected, weight, 1e-6, phases)
    try:
        load()(found, weight, 1e-6, phases)
        distance = (found.float() - expected.float()).norm() / expected.float().norm()
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.info("norm and rotation stay with torch, Triton does not run: %s", reason)
        return False
    if not bool(distance <= _NEAR):
        logger.warning("norm and rotation stay with torch: Triton gives other numbers")
        return False
    return True


@cache
def _kernel() -> Kernel:
    """The kernel; importing Triton takes a while, and not every machine has it."""
    from framepack.models import triton_norm_rope

    kernel: Any = triton_norm_rope.norm_and_turn_by_triton

    def launched(heads: Tensor, *given: Any) -> None:
        with torch.cuda.device(heads.device):  # Triton launches on the current one
            kernel(heads, *given)

    return launched
