"""Frames between frames by RIFE. This module imports torch; ``media.interpolate`` loads it late.

Shape letters (docs/notation.md): H W size in pixels.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.models.ifnet import SIZE_MULTIPLE, IFNet
from framepack.weights.ifnet_files import load_ifnet

__all__ = ["rife_steps"]

Frame = npt.NDArray[np.uint8]


def rife_steps(
    frames: Iterable[Frame], factor: int, *, weights: Path | None, device: str
) -> Iterator[tuple[list[Frame], Frame]]:
    """Make ``factor - 1`` frames, at even times, between neighbours.

    Sizes that the network cannot take are continued by their last pixels and cut back. Between
    frames that are equal nothing moves, and their copies stand.

    Args:
        frames: each [H, W, 3], uint8, RGB, in play order; H and W as they please.
        factor: frames that become of one, from 2.
        weights: as ``load_ifnet`` takes them.
        device: a torch device.

    Yields:
        New frames, and the one of before that follows them.

    Raises:
        InvalidRequest: the weights cannot be used.
    """
    network = load_ifnet(weights, device=device)
    for one, other in pairwise(frames):
        if np.array_equal(one, other):
            yield [one.copy() for _ in range(1, factor)], other
        else:
            times = [number / factor for number in range(1, factor)]
            yield [_between(network, one, other, time, device) for time in times], other


@torch.inference_mode()
def _between(network: IFNet, one: Frame, other: Frame, time: float, device: str) -> Frame:
    """The frame at a time between 0 and 1."""
    height, width = one.shape[:2]
    made = network(_tensor(one, device), _tensor(other, device), torch.tensor([time]).to(device))
    pixels = made[0, :, :height, :width].clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _tensor(frame: Frame, device: str) -> Tensor:
    """[1, 3, H, W] in 0..1, as large as the network needs."""
    height, width = frame.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(device).permute(2, 0, 1)
    more = -width % SIZE_MULTIPLE, -height % SIZE_MULTIPLE
    scaled = pixels.unsqueeze(0).to(torch.float32) / 255
    return F.pad(scaled, (0, more[0], 0, more[1]), mode="replicate")
