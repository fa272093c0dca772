"""Small networks that enlarge pictures, and the layouts in which their weights are published."""

from typing import TypeVar

import torch
from torch import Tensor

from framepack.models.upscaler import CompactConfig, CompactNet, RRDBConfig, RRDBNet

Network = TypeVar("Network", bound=torch.nn.Module)

SMALL = RRDBConfig(features=8, growth=4, num_blocks=2)


def random_rrdb(config: RRDBConfig = SMALL, seed: int = 0) -> RRDBNet:
    """Random weights, large enough that every layer shows in the result."""
    return _shaken(RRDBNet(config), seed)


def random_compact(config: CompactConfig, seed: int = 0) -> CompactNet:
    """Random weights, large enough that every layer shows in the result."""
    return _shaken(CompactNet(config), seed)


def nearest_rrdb(config: RRDBConfig = SMALL) -> RRDBNet:
    """Weights with which the network repeats pixels and does nothing else."""
    network = RRDBNet(config)
    for tensor in network.state_dict().values():
        tensor.zero_()
    doublings = range(1, config.num_doublings + 1)
    layers = ["conv_first", *(f"conv_up{number}" for number in doublings), "conv_hr", "conv_last"]
    for name in layers:
        weight = network.get_parameter(f"{name}.weight").data
        for channel in range(3):
            weight[channel, channel, 1, 1] = 1
    return network


def first_layout(network: RRDBNet, config: RRDBConfig = SMALL) -> dict[str, Tensor]:
    """The weights under the names of ESRGAN's first program."""
    blocks, ups = config.num_blocks, config.num_doublings
    tops = {"conv_first": 0, "conv_hr": 2 + 3 * ups, "conv_last": 4 + 3 * ups}
    tops |= {f"conv_up{number}": 3 * number for number in range(1, ups + 1)}
    named = {}
    for name, tensor in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer == "conv_body":
            named[f"model.1.sub.{blocks}.{kind}"] = tensor
        elif layer in tops:
            named[f"model.{tops[layer]}.{kind}"] = tensor
        else:
            _, block, dense, conv = layer.split(".")
            named[f"model.1.sub.{block}.{dense.upper()}.{conv}.0.{kind}"] = tensor
    return named


def second_layout(network: RRDBNet) -> dict[str, Tensor]:
    """The weights under the names of ESRGAN's second program."""
    words = {
        "conv_body": "trunk_conv",
        "conv_up1": "upconv1",
        "conv_up2": "upconv2",
        "conv_hr": "HRconv",
    }
    named = {}
    for name, tensor in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        layer = layer.replace("body.", "RRDB_trunk.", 1).replace("rdb", "RDB")
        named[f"{words.get(layer, layer)}.{kind}"] = tensor
    return named


def _shaken(network: Network, seed: int) -> Network:
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        spread = 0.5 / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.05
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread * 2)
        if name == "conv_last.bias":
            tensor.fill_(0.5)
    return network.eval().requires_grad_(False)
