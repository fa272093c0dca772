"""Train the embedded model's VAE: its encoder learns a fixed code, its decoder undoes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from framepack.training.loop import Schedule, TrainingRun
from framepack.training.optim import build_optimizers
from framepack.training.tiny.components import build_vae
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.latent_space import FRAMES_PER_LATENT, LatentSpace
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    camera_clip,
    dissolve_clip,
    random_sprite,
    sprite_clip,
)


@dataclass(frozen=True)
class ClipShape:
    """One kind of batch: how many clips of how many frames at what side, and how often."""

    share: float
    batch: int
    frames: int
    size: int


_WARM_UP = (ClipShape(1.0, 12, 1, 32),)
_MAIN = (ClipShape(0.15, 12, 1, 32), ClipShape(0.7, 6, 5, 32), ClipShape(0.15, 2, 9, 48))
_FINISH = (
    ClipShape(0.2, 4, 1, 64),
    ClipShape(0.35, 6, 5, 32),
    ClipShape(0.2, 2, 5, 64),
    ClipShape(0.25, 2, 9, 48),
)
# The decoder works on windows of five latent frames, so it has to see that many.
_LONG = (
    ClipShape(0.2, 4, 1, 64),
    ClipShape(0.2, 6, 5, 32),
    ClipShape(0.1, 2, 9, 48),
    ClipShape(0.1, 1, 9, 64),
    ClipShape(0.2, 2, 17, 32),
    ClipShape(0.2, 1, 17, 48),
)


def _shapes_at(progress: float) -> tuple[ClipShape, ...]:
    if progress < 0.064:
        return _WARM_UP
    if progress < 0.40:
        return _MAIN
    return _FINISH if progress < 0.55 else _LONG


def _clip(bank: PictureBank, rng: np.random.Generator, frames: int, size: int) -> Tensor:
    """A clip of the world, cut out anywhere in time; [F, 3, size, size] in 0..1."""
    times = torch.arange(frames) + int(rng.integers(0, 72))
    kind = rng.random()
    if kind < 0.08:
        full = 128
        clip = sprite_clip(random_sprite(rng, full), times, full, full)
        top, left = rng.integers(0, full - size + 1, 2)
        return clip[:, :, top : top + size, left : left + size]
    picture = bank.sample(rng, size, size)
    if kind < 0.13:
        return dissolve_clip(picture, bank.sample(rng, size, size), times, 109)
    return camera_clip(picture, str(rng.choice(list(CAMERA_MOTIONS))), times)


def _gradient_error(prediction: Tensor, target: Tensor) -> Tensor:
    error = prediction - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


class VaeTrainer:
    """Trains ``AutoencoderKLHunyuanVideo`` against a ``LatentSpace``.

    The decoder sees the exact code with a little noise at first; later half of its batches
    come from the encoder. Some clips are decoded from their middle,
    because section windows do not start at the picture.
    """

    def __init__(
        self,
        directory: Path,
        *,
        num_steps: int,
        bank: PictureBank,
        space: LatentSpace,
        seed: int = 0,
        device: str = "cpu",
        batch_factor: int = 1,
    ) -> None:
        torch.manual_seed(seed)
        vae: Any = build_vae()
        self.vae = vae.to(device).train()
        if device == "cpu":
            self.vae.to(memory_format=torch.channels_last_3d)
        self.bank, self.space, self.seed = bank, space, seed
        self.device, self.batch_factor = torch.device(device), batch_factor
        self.num_steps = num_steps
        optimizers = build_optimizers(
            [self.vae],
            muon_lr=2.5e-3,
            adam_lr=2.5e-3,
            is_matrix=lambda name: "conv_in" not in name and "conv_out" not in name,
        )
        schedule = Schedule(num_steps, warmup_steps=100, flat_until=0.24, shape="cosine")
        self.run = TrainingRun(directory, {"vae": self.vae}, optimizers, schedule, ema_decay=0.995)

    def batch(self, step: int) -> Tensor:
        """The clips of a step: [B, F, 3, H, W] in 0..1."""
        rng = seeded(self.seed, "vae", step)
        shapes = _shapes_at(step / self.num_steps)
        shape = shapes[int(rng.choice(len(shapes), p=[s.share for s in shapes]))]
        count = shape.batch * self.batch_factor
        clips = [_clip(self.bank, rng, shape.frames, shape.size) for _ in range(count)]
        return torch.stack(clips).to(self.device)

    def train_step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns the parts of the loss."""
        rng = seeded(self.seed, "vae choices", step)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        clips = self.batch(step)
        code = self.space.encode(clips)
        pixels = rearrange(clips * 2 - 1, "b f c h w -> b c f h w")
        with torch.autocast(self.device.type, torch.bfloat16):
            mean, log_variance = self._encode(pixels)
            noise = torch.randn(code.shape, generator=generator, device=self.device)
            from_encoder = step > 0.4 * self.num_steps and rng.random() < 0.5
            latents = (mean if from_encoder else code) + 0.05 * noise
            if clips.shape[1] > 1 and rng.random() < 0.3:
                first = int(rng.integers(1, latents.shape[2]))
                latents = latents[:, :, first:]
                pixels = pixels[:, :, first * FRAMES_PER_LATENT :]
            decoded = self.vae.decoder(self.vae.post_quant_conv(latents)).float()
        code_error = F.mse_loss(mean, code)
        error = decoded - pixels
        loss = (
            error.abs().mean()
            + error.square().mean()
            + 0.5 * _gradient_error(decoded, pixels)
            + code_error
            + 1e-3 * (log_variance + 6).square().mean()
        )
        norm = self.run.update(loss)
        psnr = -10 * torch.log10(error.detach().square().mean() / 4)
        return {
            "loss": float(loss.detach()),
            "psnr": float(psnr),
            "code_error": float(code_error.detach()),
            "grad_norm": norm,
        }

    def _encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.vae.quant_conv(self.vae.encoder(pixels)).float()
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance
