"""Seeded sources of training data: every batch follows from the seed and its step alone."""

import zlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.training.tiny.pictures import draw_picture

BANK_SIZE_PX = 192


def seeded(seed: int, *purpose: int | str) -> np.random.Generator:
    """A generator for one purpose, independent of every other purpose and of call order."""
    words = [p if isinstance(p, int) else zlib.crc32(p.encode()) for p in purpose]
    return np.random.default_rng([seed, *words])


class PictureBank:
    """Procedural pictures drawn once, then cropped, mirrored and recoloured at each use.

    Args:
        seed: pictures follow from it; use different seeds for training and evaluation.
        count: pictures kept, 110 kB each.
    """

    def __init__(self, seed: int, count: int) -> None:
        rng = seeded(seed, "picture bank")
        pictures = np.stack([draw_picture(rng, BANK_SIZE_PX) for _ in range(count)])
        self._pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()

    def __len__(self) -> int:
        return len(self._pictures)

    def sample(self, rng: np.random.Generator, height: int, width: int) -> Tensor:
        """Take a random picture, augmented; returns [3, height, width] in 0..1."""
        return self.take(rng, int(rng.integers(len(self))), height, width)

    def take(self, rng: np.random.Generator, index: int, height: int, width: int) -> Tensor:
        """Take picture ``index``, cropped and augmented; returns [3, height, width] in 0..1.

        One output pixel covers 0.9 to 1.5 pixels of the bank whatever the output size, so that
        small crops have the sharpness of large pictures.
        """
        picture = self._pictures[index]
        density = rng.uniform(0.9, max(0.9, min(1.5, BANK_SIZE_PX / max(height, width))))
        crop_h, crop_w = (min(BANK_SIZE_PX, round(side * density)) for side in (height, width))
        top = int(rng.integers(0, BANK_SIZE_PX - crop_h + 1))
        left = int(rng.integers(0, BANK_SIZE_PX - crop_w + 1))
        patch = picture[:, top : top + crop_h, left : left + crop_w].float() / 255
        patch = F.interpolate(
            patch.unsqueeze(0), size=(height, width), mode="bilinear", antialias=True
        )[0]
        if rng.random() < 0.5:
            patch = patch.flip(2)
        if rng.random() < 0.5:
            patch = patch[torch.from_numpy(rng.permutation(3))]
        if rng.random() < 0.15:
            patch = 1 - patch
        return patch
