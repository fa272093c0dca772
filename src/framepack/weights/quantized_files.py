"""Networks that are stored quantised: torchao's safetensors layout, read as it is, and written.

A quantised weight is stored as its parts, ``NAME._weight_qdata`` and ``NAME._weight_scale``; the
header says of what kind each was. ``config.json`` has a ``quantization_config``. It is the layout
that diffusers writes with torchao 0.16 and later.

Source: https://huggingface.co/docs/diffusers/quantization/torchao (serialization)
"""

import importlib.util
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from framepack.domain.errors import CheckpointError
from framepack.domain.library_logs import hush_libraries
from framepack.models.tensor_parts import (
    as_parameter,
    is_composed,
    parts_of,
    with_dtype,
    with_parts,
)
from framepack.weights.locate import WeightFiles, find_weight_files, read_json

__all__ = ["check_stored", "read_quantized", "save_quantized", "stored_method", "stored_sizes"]

_LAYOUT = "torchao.prototype.safetensors.safetensors_support"
_CONFIG = "quantization_config"
_FILE = "diffusion_pytorch_model.safetensors"
_PART = "._weight_"  # in the keys of a quantised weight's parts


def stored_method(folder: Path) -> str | None:
    """What a network's files were quantised with, such as "torchao"; None if they were not."""
    config = read_json(folder / "config.json").get(_CONFIG)
    if not isinstance(config, dict):
        return None
    return str(config.get("quant_method", "an unknown method"))


def check_stored(folder: Path) -> None:
    """Refuse a transformer that is stored quantised in a way that is not read here.

    Raises:
        CheckpointError: says in which, or which package is missing.
    """
    method = stored_method(folder)
    if method is None:
        return
    if method != "torchao":
        raise CheckpointError(
            f"the transformer in {folder} is stored quantised with {method}; only torchao's layout "
            "is read: use the original weights and --quantize"
        )
    if importlib.util.find_spec("torchao") is None:
        raise CheckpointError(
            f"the transformer in {folder} is stored quantised with torchao, which is not "
            "installed; pip install 'framepack-studio[quant]'"
        )


def read_quantized(
    folder: Path,
    network: nn.Module,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Read a state dict with quantised weights.

    Args:
        folder: with a ``quantization_config``.
        network: that it is for. Weights of its layers that compute in their own way, as the output
            head does, become exact numbers again.
        dtype: number format of what is not quantised, and that the rest computes in.
        device: where the tensors end up.

    Raises:
        CheckpointError: not in torchao's layout, or incomplete.
    """
    check_stored(folder)
    files = find_weight_files(folder)
    tensors, header = _read(files)
    hush_libraries()
    layout: Any = import_module(_LAYOUT)
    try:
        names = set(json.loads(header["tensor_names"]))
        made, left = layout.unflatten_tensor_state_dict(tensors, header)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} is not in torchao's safetensors layout: {error!r}; use the original weights "
            "and --quantize"
        ) from error
    if left or names - made.keys():
        raise CheckpointError(
            f"{folder} lacks parts of {', '.join(sorted(names - made.keys())[:5]) or 'nothing'} "
            f"and has {len(left)} too many; fetch the files again"
        )
    linear = {name for name, module in network.named_modules() if type(module) is nn.Linear}
    return {
        name: _brought(tensor, dtype, device, stays=name.rpartition(".")[0] in linear)
        for name, tensor in made.items()
    }


def save_quantized(network: nn.Module, folder: Path, config: Mapping[str, Any], kind: str) -> None:
    """Write a network whose layers torchao quantised, so that it can be read as it is.

    Args:
        network: it.
        folder: new or empty.
        config: of the network, as its ``config.json`` has it.
        kind: the format, for the record.
    """
    hush_libraries()
    layout: Any = import_module(_LAYOUT)

    plain = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    tensors, header = layout.flatten_tensor_state_dict(plain)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / _FILE, metadata={**header, "format": "pt"})
    record = {"quant_method": "torchao", "framepack_format": kind}
    document = {**config, _CONFIG: record}
    (folder / "config.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def stored_sizes(folder: Path, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of each stored tensor in memory, by its key: parts of weights as they are, the rest
    in a number format."""
    sizes: dict[str, int] = {}
    for path in find_weight_files(folder).files:
        with safe_open(path, framework="pt") as shard:
            for key in shard.keys():  # noqa: SIM118
                part = shard.get_slice(key)
                width = _WIDTHS[part.get_dtype()] if _PART in key else dtype.itemsize
                sizes[key] = torch.Size(part.get_shape()).numel() * width
    return sizes


_WIDTHS = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}


def _read(files: WeightFiles) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors: dict[str, Tensor] = {}
    header: dict[str, str] = {}
    names: list[str] = []
    for path in files.files:
        with safe_open(path, framework="pt", device="cpu") as shard:
            found = shard.metadata() or {}
            header.update(found)
            names += json.loads(found.get("tensor_names", "[]"))
            for key in shard.keys():  # noqa: SIM118
                tensors[key] = shard.get_tensor(key)
    if names:
        header["tensor_names"] = json.dumps(list(dict.fromkeys(names)))
    return tensors, header


def _brought(tensor: Any, dtype: torch.dtype, device: torch.device | str, *, stays: bool) -> Tensor:
    """A tensor on a device; a quantised one stays so, or becomes exact numbers."""
    if is_composed(tensor) and not stays:
        tensor = tensor.dequantize()
    if is_composed(tensor):
        parts = [part.to(device) for part in parts_of(tensor)]
        return as_parameter(with_dtype(with_parts(tensor, parts), dtype))
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    plain: Tensor = tensor.to(device=device, dtype=wanted)
    return plain
