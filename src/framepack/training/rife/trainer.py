"""Train a small IFNet on clips whose motion is known."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.models.ifnet import IFNet, IFNetConfig, Step
from framepack.training.loop import Schedule, TrainingRun
from framepack.training.optim import build_optimizers
from framepack.training.rife.clips import Clips, draw_clips
from framepack.training.tiny.data import PictureBank, seeded

__all__ = ["CONFIG", "RifeTrainer", "loss_of"]

CONFIG = IFNetConfig(widths=(96, 64, 48, 32), num_outputs=5)
"""Half the published widths: 1.4 million parameters, 2.8 MB in fp16."""

CROPS = ((96, 8), (64, 16), (128, 4))
"""Side in pixels, and clips of that side in a batch."""

_DECAY = 0.8  # weight of a block's result against that of the next
_FLOW_WEIGHT = 0.03  # a pixel of flow counts as much as this much brightness
_PYRAMID_LEVELS = 4


def loss_of(steps: list[Step], clips: Clips) -> Tensor:
    """Error of every block's frame, and of its flow, which is known here.

    The paper teaches the flow by a network that sees the middle frame. Rendered clips need
    no teacher: where a pixel came from is exact.
    """
    total = clips.middle.new_zeros(())
    for number, step in enumerate(reversed(steps)):
        error = step.frame - clips.middle
        picture = error.abs().mean() + _pyramid_loss(error)
        flow = F.smooth_l1_loss(step.flow, clips.flow)
        total = total + _DECAY**number * (picture + _FLOW_WEIGHT * flow)
    return total


def _pyramid_loss(error: Tensor) -> Tensor:
    """Laplacian pyramid of an error: the pyramid is linear, so that of both needs not be built."""
    total = error.new_zeros(())
    for level in range(_PYRAMID_LEVELS):
        if level == _PYRAMID_LEVELS - 1:
            return total + (1 << level) * error.abs().mean() / _PYRAMID_LEVELS
        coarse = F.avg_pool2d(error, 2)
        detail = error - F.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        total = total + (1 << level) * detail.abs().mean() / _PYRAMID_LEVELS
        error = coarse
    return total


class RifeTrainer:
    """An IFNet in training: batches follow from the seed and the step alone.

    Args:
        directory: holds the checkpoint and the log.
        num_steps: the learning rate follows it.
        bank: pictures.
        seed: everything random follows from it.
        device: a torch device.
        config: widths of the network.
    """

    def __init__(
        self,
        directory: Path,
        *,
        num_steps: int,
        bank: PictureBank,
        seed: int = 0,
        device: str = "cpu",
        config: IFNetConfig = CONFIG,
    ) -> None:
        torch.manual_seed(seed)
        net: Any = IFNet(config).to(device).train()
        if device == "cpu":
            net.to(memory_format=torch.channels_last)
        self.net: IFNet = net
        self.bank, self.seed, self.device = bank, seed, torch.device(device)
        optimizers = build_optimizers(
            [self.net],
            muon_lr=1e-2,
            adam_lr=1e-3,
            is_matrix=lambda name: "convblock" in name and name.endswith("conv.weight"),
        )
        schedule = Schedule(num_steps, warmup_steps=100, flat_until=0.3, shape="cosine")
        self.run = TrainingRun(
            directory, {"ifnet": self.net}, optimizers, schedule, ema_decay=0.998
        )

    def batch(self, step: int) -> Clips:
        """The clips of a step."""
        rng = seeded(self.seed, "rife", step)
        size, count = CROPS[int(rng.choice(len(CROPS), p=[0.5, 0.3, 0.2]))]
        clips = draw_clips(self.bank, rng, count, size)
        parts = (clips.first, clips.middle, clips.last, clips.times, clips.flow)
        return Clips(*(part.to(self.device) for part in parts))

    def train_step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns its figures."""
        clips = self.batch(step)
        steps = self.net.steps(clips.first, clips.last, clips.times)
        loss = loss_of(steps, clips)
        norm = self.run.update(loss)
        with torch.no_grad():
            error = (steps[-1].frame - clips.middle).square().mean(dim=(1, 2, 3))
            psnr = float((-10 * torch.log10(error.clamp(min=1e-6))).mean())
            off = float((steps[-1].flow - clips.flow).abs().mean())
        return {"loss": float(loss.detach()), "psnr": psnr, "flow_error_px": off, "grad_norm": norm}
