"""Where a step's time goes, by kinds of kernels."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from benchmarks.gpu_suite.networks import for_diffusers, pass_arguments
from benchmarks.gpu_suite.runner import Measured, Suite
from benchmarks.gpu_suite.steps import ours_of, theirs_of
from torch.profiler import ProfilerActivity, profile

from framepack.models.reuse import Reuse

KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("attention", ("attention", "flash", "fmha", "sdpa", "fused_mha", "softmax")),
    ("matrix products", ("gemm", "addmm", "_linear", "bmm", "matmul", "::mm", "cutlass", "nvjet")),
    ("norms", ("layer_norm", "layernorm", "rms_norm", "rmsnorm", "group_norm", "native_norm")),
    ("copies", ("memcpy", "memset", "copy", "::cat", "catarray", "clone", "::to")),
    ("elementwise", ("elementwise", "::mul", "::add", "gelu", "silu", "rsqrt", "pow", "mean")),
)
"""Kinds by what their kernels are called, the first that fits; the rest is "other"."""


def kind_of(kernel: str) -> str:
    """The kind of a kernel or an operator by its name."""
    name = kernel.lower()
    return next((kind for kind, parts in KINDS if any(part in name for part in parts)), "other")


def shares(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Share of the time by kind, the largest first.

    Args:
        times: name and time of each kernel.
    """
    spent: dict[str, float] = defaultdict(float)
    for name, value in times:
        spent[kind_of(name)] += value
    total = sum(spent.values()) or 1.0
    ranked = sorted(spent.items(), key=lambda item: -item[1])
    return {kind: round(value / total, 4) for kind, value in ranked}


def profiled(suite: Suite) -> Iterator[Measured]:
    """Profile one step each way; the whole table goes into the output folder."""
    ours, theirs = ours_of(suite), theirs_of(suite)
    arguments = pass_arguments(suite)
    to_theirs = for_diffusers(arguments, suite.device)
    reuse = Reuse()
    yield _profile(suite, "diffusers", lambda: theirs(**to_theirs))
    yield _profile(suite, "ours", lambda: ours(**arguments, reuse=reuse))


def _profile(suite: Suite, name: str, run: Callable[[], Any]) -> Measured:
    run()
    activities = [ProfilerActivity.CPU]
    if suite.is_cuda:
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        run()
        if suite.is_cuda:
            torch.cuda.synchronize(suite.device)
    averages = profiler.key_averages()
    column = "self_device_time_total" if suite.is_cuda else "self_cpu_time_total"
    times = [(event.key, getattr(event, column) / 1e6) for event in averages]
    if suite.is_cuda:  # operators bear the time of the kernels that they start; count it once
        times = [
            (event.key, event.self_device_time_total / 1e6)
            for event in averages
            if "CUDA" in str(event.device_type)
        ]
    times = sorted((item for item in times if item[1] > 0), key=lambda item: -item[1])
    table = averages.table(sort_by=column, row_limit=60)
    (suite.out / f"profile-{name}.txt").write_text(table, encoding="utf-8")
    more = {
        "shares": shares(times),
        "top": [[key[:100], round(spent, 6)] for key, spent in times[:10]],
        "num_kernels": sum(event.count for event in averages),
    }
    return Measured(name, sum(spent for _, spent in times), more=more)
