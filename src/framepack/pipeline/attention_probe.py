"""Time attention's back ends against each other, for about a second, and remember the result.

What was measured holds until a size, a number format, the device or a package changes.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models import attention_dispatch
from platformdirs import user_cache_path
from torch import Tensor

from framepack.domain.choices import AttentionName
from framepack.models.attention import dispatch_name
from framepack.models.attention_backends import BACKENDS
from framepack.pipeline.device import device_name
from framepack.pipeline.hardware import package_version
from framepack.weights.hashing import write_json

__all__ = [
    "PROBE_S",
    "AttentionShape",
    "ProbeMemory",
    "fastest",
    "listed_times",
    "num_probed_queries",
    "probe_attention",
]

logger = logging.getLogger(__name__)

PROBE_S = 1.0
"""Seconds that trying may take; a kernel that is compiled when first used may add to it."""

_CALLS = 3  # of each back end: one to warm up, two that count
_CLEAR_GAIN = 0.03  # below this, differences are chance and torch's own choice stays
_NEAR = 0.02  # relative distance of results that differ by rounding alone, in 16 bits


@dataclass(frozen=True)
class AttentionShape:
    """What attention is computed on: tokens of a section, heads, width of a head."""

    tokens: int
    heads: int
    head_dim: int


class ProbeMemory:
    """Times by machine and size, kept in a JSON file; one that cannot be used only costs time.

    Args:
        path: the file; in the user's cache folder when None.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or user_cache_path("framepack", appauthor=False) / "attention.json"

    def get(self, key: str) -> dict[AttentionName, float] | None:
        """What was measured, or None."""
        times = self.all().get(key)
        return None if times is None else {n: times[n] for n in BACKENDS if n in times}

    def put(self, key: str, times: Mapping[AttentionName, float]) -> None:
        """Remember."""
        try:
            write_json(self._path, {**self.all(), key: dict(times)})
        except OSError as error:
            logger.debug("attention times are not remembered in %s: %s", self._path, error)

    def all(self) -> dict[str, dict[str, float]]:
        """Everything measured, by key."""
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {key: times for key, times in entries.items() if _are_times(times)}


def probe_attention(
    names: Sequence[AttentionName],
    device: torch.device,
    dtype: torch.dtype,
    shape: AttentionShape,
    *,
    memory: ProbeMemory,
    attend: Callable[..., Tensor] = attention_dispatch.dispatch_attention_fn,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[AttentionName, float]:
    """Milliseconds of one attention by each back end, measured now or before.

    One that fails, for lack of memory too, or gives other numbers than torch's own is left out.
    Times are of all queries, also where fewer were tried so as to stay within ``PROBE_S``.

    Args:
        names: what to try, torch's own choice first.
        device: where.
        dtype: number format.
        shape: of the run.
        memory: of earlier probes.
        attend: computes attention as diffusers' dispatcher does.
        clock: in seconds.
    """
    key = _key(device, dtype, shape, names)
    times = memory.get(key)
    if times is None:
        times = _Trial(names, device, dtype, shape, attend, clock).times()
        if times:
            memory.put(key, times)
    return times


@dataclass(frozen=True)
class _Trial:
    """A measurement of back ends against each other; fields as for :func:`probe_attention`."""

    names: Sequence[AttentionName]
    device: torch.device
    dtype: torch.dtype
    shape: AttentionShape
    attend: Callable[..., Tensor]
    clock: Callable[[], float]

    @torch.inference_mode()
    def times(self) -> dict[AttentionName, float]:
        """Milliseconds by name, of those that ran in time."""
        began, tokens = self.clock(), self.shape.tokens
        num_queries, times = max(tokens // 8, 1), dict[AttentionName, float]()
        try:
            inputs = _random_inputs(self.device, self.dtype, self.shape)
        except RuntimeError as error:  # too little memory to try
            logger.info("attention is not tried: %s", _first_line(error))
            return times
        expected: Tensor | None = None
        for name in self.names:
            if times and self.clock() - began > PROBE_S:
                logger.info("attention by %s is not tried: the second is over", name)
                continue
            try:
                if not times:
                    part, _ = self._run(name, inputs, num_queries, 2)
                    whole = part * tokens / num_queries
                    num_queries = num_probed_queries(tokens, whole, len(self.names))
                taken, found = self._run(name, inputs, num_queries, _CALLS)
            except (RuntimeError, ValueError, TypeError, AssertionError) as error:
                logger.info("attention by %s does not run: %s", name, _first_line(error))
                continue
            expected = found if expected is None else expected
            if _are_near(found, expected):
                times[name] = taken * 1e3 * tokens / num_queries
            else:
                logger.warning("attention by %s gives other numbers and is left out", name)
        return times

    def _run(
        self, name: AttentionName, inputs: tuple[Tensor, Tensor, Tensor], queries: int, calls: int
    ) -> tuple[float, Tensor]:
        """Seconds of the quickest of some calls after one that warms up, and the result."""
        query, key, value = inputs
        backend, least = dispatch_name(name), float("inf")
        for call in range(calls):
            _wait(self.device)
            before = self.clock()
            found = self.attend(query[:, :queries], key, value, backend=backend)
            _wait(self.device)
            if call:
                least = min(least, self.clock() - before)
        return least, found


def num_probed_queries(tokens: int, whole_s: float, num_names: int) -> int:
    """How many queries to try, so that a probe keeps to its second.

    Args:
        tokens: of the run.
        whole_s: what all queries take, roughly.
        num_names: back ends to try.
    """
    share = PROBE_S / (_CALLS * num_names * max(whole_s, 1e-9))
    return tokens if share >= 1 else min(tokens, max(128, int(tokens * share) // 128 * 128))


def _random_inputs(
    device: torch.device, dtype: torch.dtype, shape: AttentionShape
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [1, S, H, D] that leave the global random state alone."""
    generator = torch.Generator(device).manual_seed(0)
    size = (1, shape.tokens, shape.heads, shape.head_dim)
    query, key, value = (
        torch.randn(size, generator=generator, device=device, dtype=dtype) for _ in range(3)
    )
    return query, key, value


def _key(
    device: torch.device,
    dtype: torch.dtype,
    shape: AttentionShape,
    names: Sequence[AttentionName],
) -> str:
    """What a measurement holds for, as one line."""
    packages = {BACKENDS[name].package for name in names} - {""}
    versions = [
        f"torch {torch.__version__}",
        *(f"{p} {package_version(p)}" for p in sorted(packages)),
    ]
    size = f"{shape.tokens} tokens, {shape.heads}x{shape.head_dim}"
    number_format = str(dtype).removeprefix("torch.")
    torch_version = f"torch {torch.__version__}"
    return "; ".join([device_name(device), number_format, size, torch_version, *versions])


def fastest(times: Mapping[AttentionName, float]) -> AttentionName:
    """The quickest of those timed; torch's own choice unless another is clearly quicker."""
    if not times:
        return "sdpa"
    best = min(times, key=times.__getitem__)
    is_clear = times[best] < (1 - _CLEAR_GAIN) * times.get("sdpa", float("inf"))
    return best if is_clear else "sdpa"


def listed_times(times: Mapping[AttentionName, float]) -> str:
    """Names and times, the quickest first."""
    ranked = sorted(times, key=times.__getitem__)
    return ", ".join(f"{name} {times[name]:.2f} ms" for name in ranked)


def _are_times(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(t, int | float) for t in value.values())


def _are_near(found: Tensor, expected: Tensor) -> bool:
    distance = (found.float() - expected.float()).norm()
    return bool(distance <= _NEAR * expected.float().norm())


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
