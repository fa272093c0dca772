"""Tiny VAEs with random weights, in the published layout."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from framepack.models.tiny_vae import TinyVaeDecoder, TinyVaeLayout

SMALL_LAYOUT = TinyVaeLayout(4, (8, 6, 6, 4), (1, 2, 2), 1)
"""8 px and 4 frames per latent, four latent channels, a few thousand parameters."""


def random_tiny_vae(layout: TinyVaeLayout = SMALL_LAYOUT, seed: int = 0) -> TinyVaeDecoder:
    """A decoder whose blocks pass on enough of what they see that each of them shows."""
    generator = torch.Generator().manual_seed(seed)
    network = TinyVaeDecoder(layout)
    for tensor in network.state_dict().values():
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.5 / fan_in) ** 0.5)
    last = network.state_dict()["decoder.22.weight"]
    last.mul_(0.3)
    return network.eval().requires_grad_(False)


def save_tiny_vae(network: TinyVaeDecoder, path: Path) -> Path:
    """Write the weights beside an encoder's, as published files hold both."""
    tensors: dict[str, Tensor] = dict(network.state_dict())
    tensors["encoder.0.weight"] = torch.zeros(2, 3, 3, 3)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path
