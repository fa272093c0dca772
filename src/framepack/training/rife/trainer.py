"""Train a small IFNet on clips whose motion is known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framepack.models.ifnet import SCALES, IFNet, IFNetConfig, Step
from framepack.training.loop import Schedule, TrainingRun
from framepack.training.optim import build_optimizers
from framepack.training.rife.clips import Clips, World, draw_clips
from framepack.training.tiny.data import PictureBank, seeded

__all__ = ["APART", "CONFIG", "TOGETHER", "RifeTrainer", "Stage", "begin", "loss_of"]

CONFIG = IFNetConfig(widths=(48, 48, 48, 48), num_outputs=5, smooth=True)
"""Blocks of one width, which can learn together."""


@dataclass(frozen=True)
class Lesson:
    """What the batches of one part of the training hold.

    Attributes:
        until: where the lesson ends, as a share of the stage's steps.
        world: what the clips hold.
        crops: side in pixels, clips in a batch, and how often.
        flow_weight: brightness that a flow which is wholly wrong counts as.
        psnr_weight: brightness that 10 dB of each clip's own PSNR count as.
    """

    until: float
    world: World
    crops: tuple[tuple[int, int, float], ...]
    flow_weight: float
    psnr_weight: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One of the two parts of the training, each with a learning rate that rises and falls.

    Attributes:
        name: its folder.
        share: of all steps.
        tied: whether the blocks learn as one; see ``tie``.
        lessons: in order.
    """

    name: str
    share: float
    tied: bool
    lessons: tuple[Lesson, ...]


TOGETHER = Stage(
    "together",
    0.25,
    True,
    (
        Lesson(0.10, World(fastest_px=5.0, cameras_only=True), ((64, 8, 1.0),), 1.0),
        Lesson(0.30, World(fastest_px=8.0), ((64, 8, 1.0),), 1.0),
        Lesson(0.65, World(plain=0.4), ((64, 8, 0.8), (96, 4, 0.2)), 0.5),
        Lesson(1.00, World(plain=0.4), ((64, 8, 0.4), (96, 4, 0.3), (128, 2, 0.3)), 0.1),
    ),
)
"""Camera moves first, which teach a network to see motion at all."""

APART = Stage(
    "apart",
    0.75,
    False,
    (
        Lesson(0.50, World(plain=0.3), ((64, 8, 0.7), (96, 4, 0.3)), 0.3, 0.1),
        Lesson(1.00, World(plain=0.3), ((64, 8, 0.3), (96, 4, 0.4), (128, 2, 0.3)), 0.1, 0.1),
    ),
)
"""Each block for its own scale, from what they learnt together."""

_DECAY = 0.8  # weight of a block's result against that of the next
_PYRAMID_LEVELS = 4
_DIRECTIONS = 5
_FIRST_GAIN, _RESIDUAL_GAIN, _LAST_GAIN = 32.0, 0.5, 0.05


def loss_of(
    steps: list[Step], clips: Clips, flow_weight: float, psnr_weight: float = 0.0
) -> Tensor:
    """Error of every block's frame, and of its flow, which is known here.

    The paper teaches the flow by a network that sees the middle frame. Rendered clips need
    no teacher: where a pixel came from is exact. PSNR counts of the last block alone; by it slow
    clips, whose errors are small, teach as much as fast ones.
    """
    total = clips.middle.new_zeros(())
    if psnr_weight:
        total = total - psnr_weight / 10 * _psnr(steps[-1].frame, clips.middle).mean()
    for number, step in enumerate(reversed(steps)):
        error = step.frame - clips.middle
        picture = error.abs().mean() + _pyramid_loss(error)
        flow = _flow_error(step.flow, clips.flow)
        total = total + _DECAY**number * (picture + flow_weight * flow)
    return total


def _is_hidden(name: str) -> bool:
    """Whether a parameter is a matrix between hidden layers."""
    return name.endswith("weight") and ("convblock" in name or "conv0.1" in name)


def _psnr(found: Tensor, true: Tensor) -> Tensor:
    """PSNR in dB of each clip [B]; it nears 50 where nothing is wrong."""
    return -10 * torch.log10((found - true).square().mean(dim=(1, 2, 3)) + 1e-5)


def _flow_error(found: Tensor, true: Tensor) -> Tensor:
    """Error of the flow against its size, so that slow clips teach as much as fast ones."""
    error = (found - true).abs().mean(dim=(1, 2, 3))
    return (error / (0.5 + true.abs().mean(dim=(1, 2, 3)))).mean()


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


def tie(net: IFNet) -> IFNet:
    """Let all blocks share their weights but for the first layer of the first; returns it.

    Each finds the same thing, what is left of the motion in pixels of its own scale. What one
    learns serves all four, which takes a fraction of the steps.
    """
    last = net.get_submodule(f"block{len(SCALES) - 1}")
    for index in range(len(SCALES) - 1):
        block = net.get_submodule(f"block{index}")
        for name in ("conv0.0", "conv0.1", "convblock", "lastconv"):
            if index or name != "conv0.0":
                block.set_submodule(name, last.get_submodule(name))
    return net


@torch.no_grad()
def begin(net: IFNet) -> IFNet:
    """Give a network weights that motion is learnt from soon; returns it.

    From random weights it takes thousands of steps before a network finds that motion is a product
    of changes in place and in time. So most filters of the first layers begin as motion-energy
    filters do, as sums and differences of the two, whose sizes differ by the motion.

    Source: Adelson and Bergen, Spatiotemporal energy models for the perception of motion, 1985.
    """
    for name, module in net.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        nn.init.kaiming_normal_(module.weight, a=0.2)
        if module.bias is not None:
            module.bias.zero_()
        if name.endswith("conv0.0.0"):
            filters = _motion_filters()
            module.weight[: len(filters), :6] = filters
            module.weight[: len(filters), 6:] = 0
        elif "convblock" in name:
            module.weight *= _RESIDUAL_GAIN
        elif "lastconv" in name:
            module.weight *= _LAST_GAIN
    return net


def _motion_filters() -> Tensor:
    """Filters [n, 6, 3, 3] over both pictures: each direction, with and against time, and signs."""
    slope = torch.tensor([-1.0, 0.0, 1.0])
    hump = torch.tensor([1.0, 2.0, 1.0])
    along_x, along_y = torch.outer(hump, slope) / 8, torch.outer(slope, hump) / 8
    blur = torch.outer(hump, hump) / 16
    in_time = torch.stack([-blur] * 3 + [blur] * 3) / 3
    filters = []
    for direction in range(_DIRECTIONS):
        angle = math.pi * direction / _DIRECTIONS
        edge = (math.cos(angle) * along_x + math.sin(angle) * along_y) / 6
        in_space = edge.expand(6, 3, 3)
        filters += [sign * (in_space + way * in_time) for way in (1, -1) for sign in (1, -1)]
    return _FIRST_GAIN * torch.stack(filters)


class RifeTrainer:
    """An IFNet in training: batches follow from the seed and the step alone.

    Args:
        directory: holds the checkpoint and the log.
        num_steps: the learning rate follows it.
        bank: pictures.
        stage: part of the training.
        start: weights to begin with; motion-energy filters (see ``begin``) if None.
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
        stage: Stage = TOGETHER,
        start: Mapping[str, Tensor] | None = None,
        seed: int = 0,
        device: str = "cpu",
        config: IFNetConfig = CONFIG,
    ) -> None:
        torch.manual_seed(seed)
        net: Any = begin(IFNet(config)).train()
        if stage.tied:
            tie(net)
        if start is not None:
            net.load_state_dict(start)
        net.to(device)
        if device == "cpu":
            net.to(memory_format=torch.channels_last)
        self.net: IFNet = net
        self.bank, self.stage, self.seed, self.device = bank, stage, seed, torch.device(device)
        optimizers = build_optimizers(
            [self.net],
            muon_lr=3e-3,
            adam_lr=6e-4,
            is_matrix=_is_hidden,
        )
        schedule = Schedule(num_steps, warmup_steps=100, flat_until=0.5, shape="cosine")
        self.run = TrainingRun(
            directory, {"ifnet": self.net}, optimizers, schedule, ema_decay=0.998
        )

    def lesson(self, step: int) -> Lesson:
        """The lesson that a step belongs to."""
        progress, lessons = step / self.run.schedule.num_steps, self.stage.lessons
        return next((lesson for lesson in lessons if progress < lesson.until), lessons[-1])

    def batch(self, step: int) -> Clips:
        """The clips of a step."""
        rng = seeded(self.seed, "rife", self.stage.name, step)
        lesson = self.lesson(step)
        chances = [share for _, _, share in lesson.crops]
        size, count, _ = lesson.crops[int(rng.choice(len(chances), p=chances))]
        clips = draw_clips(self.bank, rng, count, size, lesson.world)
        parts = (clips.first, clips.middle, clips.last, clips.times, clips.flow)
        return Clips(*(part.to(self.device) for part in parts))

    def train_step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns its figures."""
        clips = self.batch(step)
        steps = self.net.steps(clips.first, clips.last, clips.times)
        lesson = self.lesson(step)
        loss = loss_of(steps, clips, lesson.flow_weight, lesson.psnr_weight)
        norm = self.run.update(loss)
        with torch.no_grad():
            psnr = float(_psnr(steps[-1].frame, clips.middle).mean())
            off = float(_flow_error(steps[-1].flow, clips.flow))
        return {
            "loss": float(loss.detach()),
            "psnr": psnr,
            "flow_error": off,
            "grad_norm": norm,
        }
