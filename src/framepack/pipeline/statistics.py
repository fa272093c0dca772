"""Measure where the time and the memory of a run went."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import torch

from framepack.domain.events import STAGES, Stage, Statistics

__all__ = ["RunStatistics", "peak_device_gb", "peak_host_gb"]

T = TypeVar("T")

_SECTION_STAGES: tuple[Stage, ...] = ("denoise", "decode", "write")


@dataclass
class RunStatistics:
    """Running totals of one run, continued when a run is resumed.

    Only work is counted: time that the consumer of the events spends between two of them,
    and work that was lost when a run was killed, are not in it.

    Attributes:
        stage_s: seconds per stage; they add up to the run's.
        num_steps: denoising steps of finished sections.
        num_skipped_steps: those of them that a step cache spared the network.
        num_decoded_tiles: temporal tiles that the model's own VAE decoded.
        num_reused_tiles: those that were taken over from the window before.
        num_sections: finished sections.
        num_frames: frames written.
        peak_host_gb: largest resident memory of any process that worked on the run.
        peak_device_gb: largest memory reserved on the accelerator; None on a CPU.
    """

    stage_s: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    num_steps: int = 0
    num_skipped_steps: int = 0
    num_decoded_tiles: int = 0
    num_reused_tiles: int = 0
    num_sections: int = 0
    num_frames: int = 0
    peak_host_gb: float = 0.0
    peak_device_gb: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds worked so far, in all stages."""
        return sum(self.stage_s.values())

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count the time of a block, one without a ``yield``, towards a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_s[name] += time.perf_counter() - start

    def each(self, name: Stage, items: Iterator[T]) -> Iterator[tuple[T, float]]:
        """Pass items on with the seconds that making each one took, and count them."""
        while True:
            before = self.stage_s[name]
            with self.stage(name):
                item = next(items, _END)
            if item is _END:
                return
            yield item, self.stage_s[name] - before

    def end_section(self, num_steps: int) -> None:
        """Count a finished section."""
        self.num_sections += 1
        self.num_steps += num_steps

    def count_tiles(self, num_decoded: int, num_reused: int) -> None:
        """Count the temporal tiles of a decoded window."""
        self.num_decoded_tiles += num_decoded
        self.num_reused_tiles += num_reused

    def note_memory(self, device: torch.device) -> None:
        """Raise the peaks to what this process has used so far."""
        self.peak_host_gb = max(self.peak_host_gb, peak_host_gb())
        on_device = peak_device_gb(device)
        if on_device is not None:
            self.peak_device_gb = max(self.peak_device_gb or 0.0, on_device)

    def to_state(self) -> dict[str, Any]:
        """Return the totals as JSON-able values, to continue from after a stop."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Continue the totals of an earlier process."""
        return cls(**state)

    def summary(self) -> Statistics:
        """Return the figures that people read."""
        sections, frames = max(self.num_sections, 1), max(self.num_frames, 1)
        return Statistics(
            total_s=round(self.elapsed_s, 3),
            stage_s={stage: round(seconds, 3) for stage, seconds in self.stage_s.items()},
            step_s=round(self.stage_s["denoise"] / max(self.num_steps, 1), 5),
            section_s={
                stage: round(self.stage_s[stage] / sections, 4) for stage in _SECTION_STAGES
            },
            frame_s={stage: round(self.stage_s[stage] / frames, 5) for stage in _SECTION_STAGES},
            num_steps=self.num_steps,
            num_skipped_steps=self.num_skipped_steps,
            num_decoded_tiles=self.num_decoded_tiles,
            num_reused_tiles=self.num_reused_tiles,
            num_sections=self.num_sections,
            num_frames=self.num_frames,
            peak_host_gb=round(self.peak_host_gb, 4),
            peak_device_gb=None if self.peak_device_gb is None else round(self.peak_device_gb, 4),
        )


_END: Any = object()


def peak_host_gb() -> float:
    """Return the most memory this process has held at once, GB of 10**9 bytes."""
    if sys.platform == "linux":
        # Not getrusage: its peak survives exec, so a small child shows its parent's.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def peak_device_gb(device: torch.device) -> float | None:
    """Return the most accelerator memory reserved so far, GB of 10**9 bytes; None on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    if device.type == "xpu":
        return torch.xpu.max_memory_reserved(device) / 1e9
    if device.type == "mps":
        # Metal keeps no peak; what the driver holds now is the nearest figure.
        return torch.mps.driver_allocated_memory() / 1e9
    return None
