"""GGUF files as others write them."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor


def write_gguf(
    path: Path, tensors: Mapping[str, Tensor], kind: str, *, architecture: str = "framepack"
) -> Path:
    """Write tensors, matrices in a format whose blocks fit their rows, the rest as F32."""
    gguf: Any = import_module("gguf")
    quants: Any = import_module("gguf.quants")
    of = gguf.GGMLQuantizationType[kind]
    block, _ = gguf.GGML_QUANT_SIZES[of]
    writer = gguf.GGUFWriter(path, architecture)
    for name, tensor in tensors.items():
        numbers = tensor.detach().float().contiguous().numpy()
        if tensor.ndim == 2 and tensor.shape[1] % block == 0:
            writer.add_tensor(name, quants.quantize(numbers, of), raw_dtype=of)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
