"""Quantise the linear layers of a network while it moves to where it computes.

What is kept exact: modulation (adaLN), because its shifts, scales and gates act on every token of
a block; norms, biases, embeddings of latents, time, text and picture, and the output head, because
they are small and everything passes through them; convolutions, which the libraries do not hold.
"""

# Shape letters:
#   out, in  width of a linear layer's output and input

import importlib.util
import logging
from importlib import import_module
from typing import Any

import torch
from torch import nn

from framepack.domain.errors import InvalidRequest
from framepack.domain.library_logs import hush_libraries
from framepack.domain.quantization import SDNQ_FORMATS, TORCHAO_FORMATS, QuantFormat
from framepack.models.tensor_parts import as_parameter, is_composed, with_dtype

__all__ = [
    "check_format",
    "is_quantized",
    "quantize_network",
    "quantized_layers",
    "takes_format",
]

logger = logging.getLogger(__name__)

_BLOCKS = ("transformer_blocks.", "single_transformer_blocks.")
_PACKAGES = (
    (TORCHAO_FORMATS, "torchao", "pip install 'framepack-studio[quant]'"),
    (frozenset({"nf4"}), "bitsandbytes", "pip install bitsandbytes"),
    (SDNQ_FORMATS, "sdnq", "pip install sdnq (its licence is the GPL)"),
)
_FP8_CAPABILITY = (8, 9)  # NVIDIA Ada and later multiply fp8


def check_format(kept_as: QuantFormat, part: str, device: torch.device) -> None:
    """Refuse what cannot run here, before anything is read.

    Args:
        kept_as: a format other than "none".
        part: that is to be kept so, for the message.
        device: where it computes.

    Raises:
        InvalidRequest: its package is not installed, or the device is of the wrong kind.
    """
    for formats, package, install in _PACKAGES:
        if kept_as in formats and importlib.util.find_spec(package) is None:
            raise InvalidRequest(
                f"quantize asks for {part}={kept_as}, which needs the package {package}, and it is "
                f"not installed; {install}"
            )
    if kept_as == "nf4" and device.type != "cuda":
        raise InvalidRequest(
            f"quantize asks for {part}=nf4, which runs on CUDA devices only, and the device is "
            f"{device.type}; use fp8, int8, or sdnq-uint4 there"
        )
    if kept_as == "fp8-dynamic" and not _multiplies_fp8(device):
        raise InvalidRequest(
            f"quantize asks for {part}=fp8-dynamic, which needs an NVIDIA device of compute "
            f"capability 8.9 or more, and the device is {device.type}; use fp8 or int8"
        )


def quantized_layers(network: nn.Module, component: str) -> list[str]:
    """Names of the layers that are quantised, in the network's order.

    Args:
        network: not quantised yet.
        component: what it is.
    """
    return [
        name
        for name, module in network.named_modules()
        if type(module) is nn.Linear and takes_format(f"{name}.weight", 2, component)
    ]


def takes_format(key: str, num_dims: int, component: str) -> bool:
    """Whether a tensor, by its key in the state dict, is a weight that is quantised.

    In the transformer these are the attentions and feed-forwards of its two lists of blocks; in
    encoders those of their numbered layers.
    """
    path, _, name = key.rpartition(".")
    if name != "weight" or num_dims != 2:
        return False
    parts = path.split(".")
    if component == "transformer":
        return key.startswith(_BLOCKS) and not any(part.startswith("norm") for part in parts)
    is_norm = any("norm" in part for part in parts)
    return any(part.isdigit() for part in parts) and not is_norm


def is_quantized(network: nn.Module) -> bool:
    """Whether any layer of a network is kept in one of the formats."""
    return any(
        is_composed(parameter) or not parameter.is_floating_point()
        for parameter in network.parameters()
    )


def quantize_network(
    network: nn.Module,
    component: str,
    kept_as: QuantFormat,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Quantise a network in place and bring it to a device, a layer at a time.

    On the device there is never more than what is quantised already, and one layer that is not.

    Args:
        network: with its weights, LoRAs merged, on the CPU; its tensors may be mapped files.
        component: what it is.
        kept_as: a format that :func:`check_format` lets pass.
        dtype: number format of what is not quantised, and that it computes in.
        device: where it goes.
    """
    chosen = set(quantized_layers(network, component))
    with torch.inference_mode(False), torch.no_grad():
        for name, module in list(network.named_modules()):
            _move_own(module, device, dtype)
            if name in chosen:
                made = _quantized(module, kept_as, dtype)
                if made is not module:
                    parent, _, own = name.rpartition(".")
                    setattr(network.get_submodule(parent), own, made)
    network.requires_grad_(False)
    logger.info("%s: %d layers are kept in %s", component, len(chosen), kept_as)


def _move_own(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move the tensors of a module itself, those of its children left out.

    Buffers keep their number format: frequencies of rotary positions are fp32 in every network.
    """
    for name, parameter in module._parameters.items():
        if parameter is not None:
            moved = parameter.detach().to(device=device, dtype=dtype)
            module._parameters[name] = nn.Parameter(moved, requires_grad=False)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = buffer.to(device)


def _quantized(layer: nn.Linear, kept_as: QuantFormat, dtype: torch.dtype) -> nn.Module:
    if kept_as in TORCHAO_FORMATS:
        return _by_torchao(layer, kept_as)
    if kept_as in SDNQ_FORMATS:
        return _by_sdnq(layer, kept_as, dtype)
    return _by_bitsandbytes(layer, dtype)


def _by_torchao(layer: nn.Linear, kept_as: QuantFormat) -> nn.Module:
    """One scale for each row of the weight, symmetric.

    Source: https://docs.pytorch.org/ao/stable/ (quantize_ and its configs)
    """
    hush_libraries()
    ao: Any = import_module("torchao.quantization")
    configs: dict[str, tuple[Any, dict[str, Any]]] = {
        "fp8": (ao.Float8WeightOnlyConfig, {}),
        "int8": (ao.Int8WeightOnlyConfig, {}),
        "int8-dynamic": (ao.Int8DynamicActivationInt8WeightConfig, {}),
        "fp8-dynamic": (
            ao.Float8DynamicActivationFloat8WeightConfig,
            {"granularity": ao.PerRow()},
        ),
    }
    config, options = configs[kept_as]
    dtype = layer.weight.dtype
    layer.weight = as_parameter(layer.weight.float())  # so that scales are the same in any format
    ao.quantize_(layer, config(set_inductor_config=False, **options))
    layer.weight = as_parameter(with_dtype(layer.weight, dtype))
    return layer


def _by_sdnq(layer: nn.Linear, kept_as: QuantFormat, dtype: torch.dtype) -> nn.Module:
    """Source: https://github.com/Disty0/sdnq"""
    sdnq: Any = import_module("sdnq")
    config = sdnq.SDNQConfig(weights_dtype=kept_as.removeprefix("sdnq-"))
    made, _ = sdnq.sdnq_quantize_layer(layer, config, torch_dtype=dtype)
    quantized: nn.Module = made
    return quantized


def _by_bitsandbytes(layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
    """4-bit normal floats, a scale for each 64 numbers.

    Source: https://huggingface.co/docs/bitsandbytes (Linear4bit, Params4bit)
    """
    bnb: Any = import_module("bitsandbytes")
    made: nn.Module = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=dtype,
        compress_statistics=False,
        quant_type="nf4",
        device="meta",
    )
    weight = layer.weight.data
    made.weight = bnb.nn.Params4bit(
        weight.cpu(), requires_grad=False, compress_statistics=False, quant_type="nf4"
    ).to(weight.device)  # what is not on a GPU is quantised on its way there
    made.bias = layer.bias
    return made


def _multiplies_fp8(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= _FP8_CAPABILITY
