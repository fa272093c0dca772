"""Random weights for RIFE under the published names."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from framepack.models.ifnet import IFNet, IFNetConfig

LAYOUTS = {
    "4.5": IFNetConfig(num_outputs=5),
    "4.6": IFNetConfig(),
    "4.7": IFNetConfig(encoder="two", encoder_width=16, features=4),
    "4.10": IFNetConfig(encoder="four", encoder_width=32, features=8),
    "4.15": IFNetConfig(encoder="named", encoder_width=32, features=8),
}
"""Published layouts by the version that began them."""

SMALL_LAYOUT = IFNetConfig(widths=(8, 8, 8, 8), num_outputs=5)


def published_shapes(version: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a published file, written out without the network's code."""
    outputs = {"4.5": 20}.get(version, 24)
    features = {"4.5": 0, "4.6": 0, "4.7": 4}.get(version, 8)
    shapes: dict[str, tuple[int, ...]] = {}
    for index, width in enumerate((192, 128, 96, 64)):
        inputs = 7 + 2 * features + (5 if index else 0)
        block = f"module.block{index}"
        layers = {
            "conv0.0.0": (width // 2, inputs, 3, 3),
            "conv0.1.0": (width, width // 2, 3, 3),
            **{f"convblock.{number}.conv": (width, width, 3, 3) for number in range(8)},
            "lastconv.0": (width, outputs, 4, 4),
        }
        for name, shape in layers.items():
            shapes[f"{block}.{name}.weight"] = shape
            shapes[f"{block}.{name}.bias"] = (shape[1 if name == "lastconv.0" else 0],)
        shapes |= {f"{block}.convblock.{number}.beta": (1, width, 1, 1) for number in range(8)}
    encoders = {
        "4.7": {"0": (16, 3, 3, 3), "1": (16, 4, 4, 4)},
        "4.10": {"0": (32, 3, 3, 3), "2": (32, 32, 3, 3), "4": (32, 32, 3, 3), "6": (32, 8, 4, 4)},
        "4.15": {
            "cnn0": (32, 3, 3, 3),
            "cnn1": (32, 32, 3, 3),
            "cnn2": (32, 32, 3, 3),
            "cnn3": (32, 8, 4, 4),
        },
    }
    for name, shape in encoders.get(version, {}).items():
        shapes[f"module.encode.{name}.weight"] = shape
        shapes[f"module.encode.{name}.bias"] = (shape[1 if shape[2] == 4 else 0],)
    return shapes


def published_tensors(version: str) -> dict[str, Tensor]:
    """Random tensors of a published file."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.randn(shape, generator=generator) * 0.02
        for key, shape in published_shapes(version).items()
    }


def random_ifnet(config: IFNetConfig = SMALL_LAYOUT, seed: int = 0) -> IFNet:
    """A network that was never trained."""
    torch.manual_seed(seed)
    return IFNet(config).eval().requires_grad_(False)


def save_ifnet(network: IFNet, path: Path) -> Path:
    """Write a network as people publish it: a pickle with a prefix, or safetensors."""
    tensors = dict(network.state_dict())
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({f"module.{key}": tensor for key, tensor in tensors.items()}, path)
    return path
