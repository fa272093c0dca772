"""The latent space of the embedded model: a fixed linear code that its VAE learns.

Each latent pixel describes 8 x 8 pixels x 4 frames (the first frame of a clip stands alone
and is repeated four times), projected on the principal components of the procedural world.
Because the code is linear and known from the start, the VAE and the transformer can train
at the same time, and the transformer's clips never pass through a network.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.world import CAMERA_MOTIONS, camera_clip

PATCH = 8
FRAMES_PER_LATENT = 4
STILLS = 0.6
"""Share of still clips in the fit: components that only describe movement between four frames
are worth less than detail, because the decoder sees movement between latent frames too."""


def to_patches(clips: Tensor) -> Tensor:
    """Cut clips into code vectors: [B, 4t+1, 3, H, W] in 0..1 to [B, t+1, h, w, 768] in -1..1."""
    first = clips[:, :1].expand(-1, FRAMES_PER_LATENT, -1, -1, -1)
    frames = torch.cat([first, clips[:, 1:]], dim=1)
    return rearrange(
        frames * 2 - 1,
        "b (t f) c (h p) (w q) -> b t h w (f c p q)",
        f=FRAMES_PER_LATENT,
        p=PATCH,
        q=PATCH,
    )


def from_patches(patches: Tensor) -> Tensor:
    """Undo ``to_patches``; the first latent frame yields its mean as one frame."""
    frames = rearrange(
        patches,
        "b t h w (f c p q) -> b (t f) c (h p) (w q)",
        f=FRAMES_PER_LATENT,
        c=3,
        p=PATCH,
        q=PATCH,
    )
    first = frames[:, :FRAMES_PER_LATENT].mean(dim=1, keepdim=True)
    return (torch.cat([first, frames[:, FRAMES_PER_LATENT:]], dim=1) + 1) / 2


@dataclass(frozen=True)
class LatentSpace:
    """Mean [768], basis [768, C] and scale [C] of the code."""

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def encode_groups(self, frames: Tensor) -> Tensor:
        """Encode whole groups of four frames [4t, 3, H, W] in 0..1 to latents [C, t, h, w]."""
        patches = rearrange(
            frames * 2 - 1,
            "(t f) c (h p) (w q) -> t h w (f c p q)",
            f=FRAMES_PER_LATENT,
            p=PATCH,
            q=PATCH,
        )
        code = (patches - self.mean) @ (self.basis * self.scale)
        return rearrange(code, "t h w c -> c t h w")

    def encode_picture(self, picture: Tensor) -> Tensor:
        """Encode one picture [3, H, W] in 0..1 to a latent frame [C, 1, h, w]."""
        return self.encode_groups(picture.unsqueeze(0).expand(FRAMES_PER_LATENT, -1, -1, -1))

    def encode(self, clips: Tensor) -> Tensor:
        """Encode clips [B, 4t+1, 3, H, W] in 0..1 to latents [B, C, t+1, H/8, W/8]."""
        code = (to_patches(clips) - self.mean) @ (self.basis * self.scale)
        return rearrange(code, "b t h w c -> b c t h w")

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents linearly; the reference that the VAE decoder has to beat."""
        code = rearrange(latents, "b c t h w -> b t h w c")
        return from_patches((code / self.scale) @ self.basis.T + self.mean)

    @property
    def channel_weights(self) -> Tensor:
        """How much an error in each channel counts: [C], mean 1.

        Between counting all channels alike (which drowns motion in texture) and counting
        squared pixels (which forgets texture).
        """
        visible = self.scale**-1.2
        return visible / visible.mean()

    def rgb_preview(self) -> tuple[Tensor, Tensor]:
        """Matrix [C, 3] and bias [3] from a latent pixel to its mean colour in -1..1."""
        mean_colour = rearrange(self.basis, "(f c p) k -> k c (f p)", f=4, c=3).mean(dim=2)
        bias = rearrange(self.mean, "(f c p) -> c (f p)", f=4, c=3).mean(dim=1)
        return mean_colour / self.scale[:, None], bias

    def to(self, device: str) -> "LatentSpace":
        """The same code on another device."""
        return LatentSpace(self.mean.to(device), self.basis.to(device), self.scale.to(device))

    def save(self, path: Path) -> None:
        """Write the code as safetensors."""
        save_file({"mean": self.mean, "basis": self.basis, "scale": self.scale}, path)

    @classmethod
    def load(cls, path: Path, device: str | torch.device = "cpu") -> "LatentSpace":
        """Read what ``save`` wrote."""
        return cls(**load_file(path, device=str(device)))


def fit_latent_space(
    bank: PictureBank, channels: int, seed: int, num_clips: int = 600
) -> LatentSpace:
    """Fit the code on camera clips: components whitened by the square root of their deviation.

    The half-whitening keeps coarse components dominant, so that sampling settles them first,
    and still gives fine ones enough weight to be learnt.
    """
    rng = seeded(seed, "latent space")
    motions = list(CAMERA_MOTIONS)
    samples = []
    for _ in range(num_clips):
        frames = torch.arange(FRAMES_PER_LATENT + 1) + int(rng.integers(0, 48))
        motion = "static" if rng.random() < STILLS else motions[int(rng.integers(9))]
        clip = camera_clip(bank.sample(rng, 128, 128), motion, frames)
        vectors = to_patches(clip.unsqueeze(0)).flatten(0, 3)
        samples.append(vectors[torch.from_numpy(rng.permutation(len(vectors))[:160])])
    vectors = torch.cat(samples).double()
    mean = vectors.mean(dim=0)
    variances, basis = torch.linalg.eigh(torch.cov((vectors - mean).T))
    variances, basis = variances.flip(0)[:channels], basis.flip(1)[:, :channels]
    scale = variances.sqrt().rsqrt()
    overall = ((variances * scale**2).mean()).sqrt()
    return LatentSpace(
        mean.float(), basis.float().contiguous(), (scale / overall).float().contiguous()
    )
