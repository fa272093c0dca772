"""Pictures of a training run: what the VAE returns and what the transformer samples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from framepack.models.transformer import FramePackTransformer3DModel
from framepack.sampling.flow import sigmas
from framepack.sampling.solvers import sample
from framepack.training.tiny.curriculum import CURRICULUM
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.latent_space import LatentSpace
from framepack.training.tiny.samples import Batch, SampleMaker
from framepack.training.tiny.train_transformer import Conditioner, context_arguments
from framepack.training.tiny.world import camera_clip

SHEET_STEPS = 10


def _save(rows: list[Tensor], path: Path) -> None:
    """Save rows of frames [F, 3, H, W] in 0..1 under one another."""
    joined = [rearrange(row, "f c h w -> h (f w) c") for row in rows]
    width = max(row.shape[1] for row in joined)
    padded = [torch.nn.functional.pad(row, (0, 0, 0, width - row.shape[1])) for row in joined]
    pixels: NDArray[np.uint8] = (torch.cat(padded).clamp(0, 1) * 255).byte().cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@torch.inference_mode()
def reconstruction_sheet(vae: Any, bank: PictureBank, path: Path, *, size: int = 128) -> float:
    """Save clips above their reconstructions; returns the mean PSNR in dB."""
    rng = seeded(0, "reconstruction sheet")
    device = next(vae.parameters()).device
    rows, errors = [], []
    for motion in ("pan left", "zoom out", "rotate clockwise", "static"):
        clip = camera_clip(bank.sample(rng, size, size), motion, torch.arange(9)).to(device)
        pixels = rearrange(clip * 2 - 1, "f c h w -> 1 c f h w")
        moments = vae.quant_conv(vae.encoder(pixels))
        decoded = vae.decoder(vae.post_quant_conv(moments.chunk(2, dim=1)[0]))
        restored = rearrange(decoded[0].clamp(-1, 1), "c f h w -> f c h w") / 2 + 0.5
        errors.append((restored - clip).square().mean())
        rows += [clip[::2], restored[::2]]
    _save(rows, path)
    return float(-10 * torch.log10(torch.stack(errors)).mean())


@torch.inference_mode()
def sample_batch(
    transformer: FramePackTransformer3DModel, conditioner: Conditioner, batch: Batch, seed: int
) -> Tensor:
    """Sample the section of each example of a batch; returns latents like ``batch.latents``."""
    conditions = conditioner(batch.captions, batch.vision, batch.vision_end)
    device = batch.latents.device
    noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(seed))
    size = len(batch.captions)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        velocity = transformer(
            hidden_states=x,
            timestep=(sigma * 1000).expand(size).to(device),
            guidance=torch.full((size,), 10000.0, device=device),
            return_dict=False,
            **context_arguments(batch),
            **conditions,
        )[0]
        clean: Tensor = x - sigma.to(device) * velocity.float()
        return clean

    shape = (noise.shape[2], noise.shape[3], noise.shape[4])
    levels = sigmas(SHEET_STEPS, latent_shape=shape)
    *_, last = sample(denoise, noise.to(device), levels)
    return last.x0


def sample_sheet(
    transformer: FramePackTransformer3DModel,
    conditioner: Conditioner,
    samples: SampleMaker,
    space: LatentSpace,
    path: Path,
    *,
    seed: int,
    num_batches: int = 4,
) -> float:
    """Save true sections above sampled ones, decoded linearly; returns the mean PSNR in dB."""
    rows, errors = [], []
    lesson = replace(CURRICULUM[-1], full_size=1.0)
    for step in range(num_batches):
        batch = samples.batch(seed, step, size=3, lesson=lesson)
        sampled = sample_batch(transformer, conditioner, batch, seed)
        for true, made in zip(space.decode(batch.latents), space.decode(sampled), strict=True):
            errors.append((true - made.clamp(0, 1)).square().mean())
            rows += [true[::4], made[::4]]
    _save(rows, path)
    return float(-10 * torch.log10(torch.stack(errors)).mean())
