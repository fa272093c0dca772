"""What the device itself does: the figures that all others are held against."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.gpu_suite.runner import Measured, Suite, in_turn
from torch.nn.attention import SDPBackend, sdpa_kernel

_REPEATS = 10  # of a call in one measurement, so that starting it does not count
_COPIED_BYTES = 2**30
_BACKENDS = {
    "sdpa-default": None,
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def probe(suite: Suite) -> Iterator[Measured]:
    """Matrix products, attention kernels, copies from the host and a convolution of the VAE."""
    yield _gemm(suite)
    yield from _attention(suite)
    if suite.is_cuda:
        yield from _copies(suite)
    yield _conv3d(suite)


def _gemm(suite: Suite) -> Measured:
    side = suite.sizes.probe
    a, b = (_random(suite, side, side) for _ in range(2))
    spent = _each_s(suite, lambda: a @ b)
    return Measured("gemm", spent, flops=2 * side**3, more={"side": side})


def _attention(suite: Suite) -> Iterator[Measured]:
    """Self-attention of a section's tokens; a kernel that refuses them is a row that says so."""
    fields, num_tokens = suite.sizes.transformer, suite.sizes.num_tokens
    heads, width = fields["num_attention_heads"], fields["attention_head_dim"]
    query, key, value = (_random(suite, 1, heads, num_tokens, width) for _ in range(3))
    flops = 4 * num_tokens**2 * heads * width
    for name, backend in _BACKENDS.items():
        if backend is not None and not suite.is_cuda:
            continue
        chosen: Any = nullcontext() if backend is None else sdpa_kernel([backend])
        try:
            with chosen:
                spent = _each_s(suite, lambda: F.scaled_dot_product_attention(query, key, value))
        except RuntimeError as error:  # torch says so when a kernel does not serve the device
            reason = str(error).splitlines()[0]
            yield Measured(name, None, status=f"not available: {reason}")
            continue
        yield Measured(name, spent, flops=flops, more={"tokens": num_tokens})


def _copies(suite: Suite) -> Iterator[Measured]:
    there = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device=suite.device)
    for name, is_pinned in (("copy-pinned", True), ("copy-pageable", False)):
        here = torch.zeros(_COPIED_BYTES, dtype=torch.uint8, pin_memory=is_pinned)

        def copy(source: torch.Tensor = here) -> None:
            there.copy_(source, non_blocking=True)

        spent = in_turn(suite.device, {name: copy}, warm=1, timed=5)[name]
        yield Measured(name, _COPIED_BYTES / spent / 1e9, unit="GB/s")


def _conv3d(suite: Suite) -> Measured:
    """The convolution that most of the VAE's time goes to: full size, few channels."""
    channels = 128 if suite.is_cuda else 8
    frames, height, width = 17, suite.sizes.height, suite.sizes.width
    dtype = torch.float16 if suite.is_cuda else suite.dtype
    x = _random(suite, 1, channels, frames, height, width).to(dtype)
    weight = _random(suite, channels, channels, 3, 3, 3).to(dtype)
    spent = _each_s(suite, lambda: F.conv3d(x, weight, padding=1))
    flops = 2 * channels**2 * 27 * frames * height * width
    return Measured("conv3d", spent, flops=flops, more={"channels": channels})


def _random(suite: Suite, *shape: int) -> torch.Tensor:
    return torch.randn(shape, device=suite.device, dtype=suite.dtype)


def _each_s(suite: Suite, run: Callable[[], Any]) -> float:
    """Least seconds of one call of several in a row."""
    repeats = _REPEATS if suite.is_cuda else 1

    def several() -> None:
        for _ in range(repeats):
            run()

    return in_turn(suite.device, {"": several}, warm=1, timed=3)[""] / repeats
