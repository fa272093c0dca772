"""Stages become rows: each has a time limit, and one that fails is a row and stops nothing."""

import contextlib
import gc
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from benchmarks.common import JsonLines
from benchmarks.gpu_suite.catalogue import CUDA, LIMIT_S, OFFICIAL, STAGES, Expected
from benchmarks.gpu_suite.sizes import DATASHEET_PEAK, MEASURED_PEAK, Sizes

GIB = 2**30
_SLACK_ON_CPU = 10  # a CPU is shared, and shows that stages run, not how fast


class StageTimeoutError(Exception):
    """A stage took longer than it may."""


@dataclass(frozen=True)
class Measured:
    """What a stage found out for one row.

    Attributes:
        name: of the row within its stage.
        value: the figure; None where the row is in ``more`` alone.
        unit: of the value.
        against: "stage/row" that the value is compared with, by its share: above 1 is better.
        flops: operations done in ``value`` seconds, for the share of the peak.
        relative_error: norm of the difference from the other program's result, by the norm.
        more: further fields.
        status: "measured", or why the figure is none.
    """

    name: str
    value: float | None
    unit: str = "s"
    against: str = ""
    flops: float | None = None
    relative_error: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    status: str = "measured"


@dataclass
class Suite:
    """One run of the suite.

    Attributes:
        sizes: what is built.
        device: where.
        dtype: number format of the transformer.
        out: folder of the rows and of what the profiler says.
        about: machine, commit and versions; joins each row.
        official: file of the official program's transformer, or None.
        results: rows so far, by "stage/row".
        kept: networks and whatever else one stage leaves to the next.
    """

    sizes: Sizes
    device: torch.device
    dtype: torch.dtype
    out: Path
    about: Mapping[str, Any]
    official: Path | None = None
    results: dict[str, Measured] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    deadline_s: float = float("inf")

    @property
    def is_cuda(self) -> bool:
        """Whether the device is an NVIDIA one, or one that torch calls so."""
        return self.device.type == "cuda"

    @property
    def left_s(self) -> float:
        """Seconds that the running stage still has."""
        return self.deadline_s - time.monotonic()

    def ratio(self, value: float | None, against: str) -> float | None:
        """How much better a row is than another: rates by their quotient, times by its inverse."""
        other = self.results.get(against)
        if other is None or not other.value or not value:
            return None
        return other.value / value if other.unit == "s" else value / other.value


Stage = Callable[[Suite], Iterator[Measured]]


def run_stages(
    suite: Suite, stages: Mapping[str, Stage], lines: JsonLines, *, limit_s: float
) -> bool:
    """Run stages in the catalogue's order, and write a row for all that is listed there.

    Args:
        suite: gives sizes and device; collects the results.
        stages: by name.
        lines: where rows go.
        limit_s: of all stages together; those that come too late are rows that say so.

    Returns:
        Whether nothing failed. What needs another device or a package has not failed.
    """
    ends = time.monotonic() + limit_s
    passed = True
    for name, listed in STAGES.items():
        if name not in stages:
            continue
        expected = [*listed, OFFICIAL] if name == "step" and suite.official else list(listed)
        begun = time.monotonic()
        slack = 1 if suite.is_cuda else _SLACK_ON_CPU
        allowed = min(LIMIT_S[name] * slack, ends - begun)
        found: set[str] = set()
        reason = ""
        try:
            for row in _rows(suite, stages[name], expected, allowed):
                found.add(row.name)
                suite.results[f"{name}/{row.name}"] = row
                target = next(each for each in expected if each.name == row.name)
                lines.add(_line(suite, name, row, target))
                passed &= not row.status.startswith("failed")
        except Exception as error:  # noqa: BLE001  # the suite goes on, and the rows tell
            reason = f"failed: {type(error).__name__}: {_first_line(error)}"
        for each in expected:
            if each.name in found:
                continue
            status = _absence(suite, each) or reason or "failed: the stage gave no such row"
            passed &= not status.startswith("failed")
            lines.add(_line(suite, name, Measured(each.name, None, status=status), each))
        lines.add(_line(suite, name, Measured("stage", time.monotonic() - begun), None))
        _tidy(suite)
    return passed


def _rows(
    suite: Suite, stage: Stage, expected: Sequence[Expected], allowed_s: float
) -> Iterator[Measured]:
    """What a stage gives within its time; nothing where the device serves none of its rows."""
    if all(_absence(suite, each) for each in expected):
        return
    if allowed_s <= 0:
        raise StageTimeoutError("no time was left for it")
    suite.deadline_s = time.monotonic() + allowed_s
    with _time_limit(allowed_s), torch.inference_mode():
        yield from stage(suite)


def _absence(suite: Suite, expected: Expected) -> str:
    """Why a row cannot be on this device, or ""."""
    return "needs CUDA" if expected.needs == CUDA and not suite.is_cuda else ""


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise in the block when it has taken so long; only where the system has such an alarm."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise StageTimeoutError(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _line(suite: Suite, stage: str, row: Measured, expected: Expected | None) -> dict[str, Any]:
    """A row as it is written."""
    line: dict[str, Any] = {
        "benchmark": "gpu",
        "config": suite.sizes.name,
        "stage": stage,
        "row": row.name,
        "status": row.status,
        "value": _rounded(row.value),
        "unit": row.unit,
    }
    if row.against:
        line |= {"against": row.against, "ratio": _rounded(suite.ratio(row.value, row.against))}
    if row.flops and row.value:
        rate = row.flops / row.value
        line["tflops_per_s"] = _rounded(rate / 1e12)
        if suite.is_cuda:
            line["mfu_790"] = _rounded(rate / MEASURED_PEAK)
            line["mfu_989"] = _rounded(rate / DATASHEET_PEAK)
    if row.relative_error is not None:
        line["relative_error"] = row.relative_error if math.isfinite(row.relative_error) else None
    line |= {name: _rounded(value) for name, value in row.more.items()}
    if expected is not None and expected.targets:
        line["targets"] = [
            {
                "of": each.of,
                "bound": each.bound,
                "number": round(each.number, 3),
                # They are set for one accelerator and the published size.
                "is_reached": each.is_reached(line[each.of])
                if suite.sizes.name == "13b"
                and suite.is_cuda
                and isinstance(line.get(each.of), int | float)
                else None,
            }
            for each in expected.targets
        ]
    return line | dict(suite.about)


def _rounded(value: Any) -> Any:
    """Five digits are more than any of this is worth; JSON has no infinity."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:300] if lines else ""


def _tidy(suite: Suite) -> None:
    """Give back what a stage left behind, so that the next one begins like the first."""
    gc.collect()
    if suite.is_cuda:
        torch.cuda.synchronize(suite.device)
        torch.cuda.empty_cache()


# --- what stages measure with ---------------------------------------------------------------


def spent_s(device: torch.device, run: Callable[[], Any]) -> float:
    """Seconds of a call: by the clock once a device is done, by the process's CPU time on a CPU."""
    if device.type == "cpu":
        before = time.process_time()
        run()
        return time.process_time() - before
    torch.accelerator.synchronize(device)
    before = time.perf_counter()
    run()
    torch.accelerator.synchronize(device)
    return time.perf_counter() - before


def in_turn(
    device: torch.device, ways: Mapping[str, Callable[[], Any]], *, warm: int, timed: int
) -> dict[str, float]:
    """Least seconds of each way, run in turn so that whatever else happens meets all alike."""
    least = dict.fromkeys(ways, float("inf"))
    for round_number in range(warm + timed):
        for name, run in ways.items():
            spent = spent_s(device, run)
            if round_number >= warm:
                least[name] = min(least[name], spent)
    return least


def error_of(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference by the norm, in fp32 on the device of ``expected``."""
    wanted = expected.float()
    return float((result.to(wanted) - wanted).norm() / wanted.norm())


def memory_fields(suite: Suite) -> dict[str, Any]:
    """The most that was reserved since :func:`reset_peak`, and what the whole device has in use."""
    if not suite.is_cuda:
        return {}
    free, total = torch.cuda.mem_get_info(suite.device)
    return {
        "peak_reserved_gib": torch.cuda.max_memory_reserved(suite.device) / GIB,
        "peak_allocated_gib": torch.cuda.max_memory_allocated(suite.device) / GIB,
        "device_in_use_gib": (total - free) / GIB,
    }


def reset_peak(suite: Suite) -> None:
    """Forget earlier peaks and what torch holds in reserve."""
    gc.collect()
    if suite.is_cuda:
        torch.cuda.synchronize(suite.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(suite.device)


def out_of_memory(name: str, error: BaseException) -> Measured:
    """The row of a recipe that does not fit, which is a finding."""
    return Measured(name, None, status=f"out of memory: {_first_line(error)}")
