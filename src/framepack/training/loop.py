"""The training loop's chores: schedule, moving average, checkpoints, log, time budget.

A run is resumable at any moment: batches follow from the seed and the step, and everything
else is in the checkpoint.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a run: linear warm-up, flat, then cosine or linear to ``floor``."""

    num_steps: int
    warmup_steps: int = 100
    flat_until: float = 0.3
    shape: str = "cosine"
    floor: float = 0.02

    def factor(self, step: int) -> float:
        """Factor on the peak learning rate at ``step`` (0 first)."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        progress = step / self.num_steps
        if progress <= self.flat_until:
            return warm
        left = max(0.0, (1 - progress) / (1 - self.flat_until))
        curve = 0.5 - 0.5 * math.cos(math.pi * left) if self.shape == "cosine" else left
        return warm * max(self.floor, curve)


class MovingAverage:
    """Exponential moving average of parameters, warming up with the step count."""

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        self._modules = modules
        self._decay = decay
        self.values = {name: _snapshot(module) for name, module in modules.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average toward the current parameters."""
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, module in self._modules.items():
            average = self.values[name]
            for key, value in module.state_dict().items():
                average[key].lerp_(value.detach().float(), 1 - decay)


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone().float() for key, value in module.state_dict().items()}


class TrainingRun:
    """One resumable run in a directory.

    Args:
        directory: holds ``checkpoint.pt`` and ``log.jsonl``.
        modules: what is trained, by name.
        optimizers: with their peak learning rates set.
        schedule: common to all optimisers.
        ema_decay: of the moving average that is shipped.
    """

    def __init__(
        self,
        directory: Path,
        modules: Mapping[str, nn.Module],
        optimizers: list[Optimizer],
        schedule: Schedule,
        ema_decay: float,
    ) -> None:
        self.directory = directory
        self.modules = modules
        self.optimizers = optimizers
        self.schedule = schedule
        self.ema = MovingAverage(modules, ema_decay)
        self.step = 0
        self.skipped = 0
        self.train_seconds = 0.0
        self._peaks = [[group["lr"] for group in o.param_groups] for o in optimizers]
        directory.mkdir(parents=True, exist_ok=True)
        if self.checkpoint_path.exists():
            self._load()

    @property
    def checkpoint_path(self) -> Path:
        """Where the newest checkpoint is."""
        return self.directory / "checkpoint.pt"

    def update(self, loss: Tensor, clip_norm: float = 1.0) -> float:
        """Backpropagate and step; a step with gradients that are not finite is skipped.

        Returns:
            The gradient norm before clipping.
        """
        loss.backward()
        everything = (p for module in self.modules.values() for p in module.parameters())
        parameters = [parameter for parameter in everything if parameter.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, clip_norm))
        if math.isfinite(norm):
            factor = self.schedule.factor(self.step)
            for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
                optimizer.step()
            self.ema.update(self.step)
        else:
            self.skipped += 1
            logger.warning("step %d skipped: gradient norm is %s", self.step, norm)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return norm

    def run(
        self,
        train_step: Callable[[int], Mapping[str, float]],
        *,
        minutes: float | None = None,
        log_every: int = 25,
        save_every_s: float = 120.0,
        on_log: Callable[[Mapping[str, float]], None] | None = None,
    ) -> bool:
        """Run ``train_step(step)`` until the schedule ends or ``minutes`` have passed.

        Returns:
            True when the schedule is complete.
        """
        if self.step >= self.schedule.num_steps:
            return True
        started = saved = time.monotonic()
        sums: dict[str, float] = {}
        count = 0
        while self.step < self.schedule.num_steps:
            before = time.monotonic()
            values = train_step(self.step)
            self.step += 1
            now = time.monotonic()
            self.train_seconds += now - before
            count += 1
            for key, value in values.items():
                sums[key] = sums.get(key, 0.0) + value
            if self.step % log_every == 0:
                row = {key: value / count for key, value in sums.items()}
                row |= {"step": self.step, "minutes": self.train_seconds / 60}
                self._log(row)
                if on_log:
                    on_log(row)
                sums, count = {}, 0
            if now - saved > save_every_s:
                self.save()
                saved = now
            if minutes is not None and now - started > minutes * 60:
                break
        self.save()
        return self.step >= self.schedule.num_steps

    def _log(self, row: Mapping[str, float]) -> None:
        rounded = {key: round(float(value), 5) for key, value in row.items()}
        with (self.directory / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state: dict[str, Any] = {
            "step": self.step,
            "skipped": self.skipped,
            "train_seconds": self.train_seconds,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "ema": self.ema.values,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = self.checkpoint_path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint_path)

    def _load(self) -> None:
        device = next(next(iter(self.modules.values())).parameters()).device
        state = torch.load(self.checkpoint_path, map_location=device, weights_only=True)
        self.step, self.skipped = state["step"], state["skipped"]
        self.train_seconds = state["train_seconds"]
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.ema.values = state["ema"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        logger.info("resumed %s at step %d", self.directory, self.step)
