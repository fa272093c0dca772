"""Transformer weights from a GGUF file: exact numbers again as they are read, under our names.

Files have either the names of our own network, which are diffusers', or those of the original
HunyuanVideo network, which fuses queries, keys and values. The container holds at most four
dimensions in most writers, so kernels of five may be stored with neighbouring ones merged.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (the container)
"""

# Shape letters:
#   out  rows of a weight, which is its first dimension here and the last in the file's header

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framepack.domain.errors import CheckpointError
from framepack.weights.locate import WeightFiles, find_weight_files
from framepack.weights.lora_names import NameTable, Target, without_prefix

__all__ = [
    "check_gguf",
    "gguf_architecture",
    "gguf_shapes",
    "gguf_tensors",
    "holds_gguf",
    "is_gguf",
    "unmerged",
]

_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_QUANTIZED = frozenset(
    {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
    | {"IQ4_NL", "IQ4_XS"}
)
_READ = (*_PLAIN, *sorted(_QUANTIZED))
_LINEAR = NameTable(())  # the original network's linear layers
_REFINER = "context_embedder.token_refiner.refiner_blocks"
_OTHER_LAYERS = {
    r"img_in\.proj": "x_embedder.proj",
    r"double_blocks\.(\d+)\.img_attn_([qk])_norm": r"transformer_blocks.\1.attn.norm_\2",
    r"double_blocks\.(\d+)\.txt_attn_([qk])_norm": r"transformer_blocks.\1.attn.norm_added_\2",
    r"single_blocks\.(\d+)\.([qk])_norm": r"single_transformer_blocks.\1.attn.norm_\2",
    r"txt_in\.individual_token_refiner\.blocks\.(\d+)\.norm([12])": rf"{_REFINER}.\1.norm\2",
}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A tensor of ours: rows of one in a file, from which on, how many, and its halves' order."""

    name: str
    start: int
    rows: int
    is_swapped: bool = False


def is_gguf(path: Path) -> bool:
    """Whether a file is meant to be a GGUF file, by its name."""
    return path.suffix.lower() == ".gguf"


def holds_gguf(files: WeightFiles) -> bool:
    """Whether a network's weights are a GGUF file."""
    return any(is_gguf(path) for path in files.files)


def check_gguf(folder: Path) -> bool:
    """Whether a transformer is stored in a GGUF file, which is refused here if it cannot be read.

    Args:
        folder: of the transformer.

    Raises:
        CheckpointError: the package is missing, the file is damaged, or has numbers in a format
            that is not read.
    """
    files = find_weight_files(folder)
    if not holds_gguf(files):
        return False
    for path in files.files:
        gguf_shapes(path)
    return True


def gguf_architecture(path: Path) -> str:
    """What network the file says it holds, such as "hyvid"; empty where it says nothing.

    Raises:
        CheckpointError: as for :func:`gguf_shapes`.
    """
    return _architecture(_reader(path))


def gguf_shapes(path: Path) -> dict[str, torch.Size]:
    """Shapes of a file's tensors, under our names, from its header alone.

    Raises:
        CheckpointError: the package is missing, the file is damaged, has numbers in a format that
            is not read, or two tensors for one of ours.
    """
    stored = _stored(path)
    shapes: dict[str, torch.Size] = {}
    for key, (shape, _) in stored.items():
        for piece in _pieces(path, key, stored):
            if piece.name in shapes:
                raise CheckpointError(f"{path} has {piece.name} twice, once as {key}; use another")
            shapes[piece.name] = torch.Size((piece.rows, *shape[1:])) if shape else shape
    return shapes


def gguf_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Each tensor under our name, on the CPU: what is quantised as fp32, the rest as stored.

    Raises:
        CheckpointError: as for :func:`gguf_shapes`.
    """
    stored = _stored(path)
    for key, (shape, tensor) in stored.items():
        whole = _numbers(tensor).reshape(shape)
        for piece in _pieces(path, key, stored):
            part = whole[piece.start : piece.start + piece.rows] if shape else whole
            yield piece.name, torch.cat(part.chunk(2)[::-1]) if piece.is_swapped else part.clone()


def unmerged(
    shapes: Mapping[str, torch.Size], expected: Mapping[str, torch.Size]
) -> dict[str, torch.Size]:
    """Shapes with those of ``expected`` where neighbouring dimensions were merged to fit the file.

    Only of what has more than four dimensions: nothing else has a reason to be stored so.
    """
    return {
        name: expected[name]
        if len(expected.get(name, ())) > 4 and _is_merged(shape, expected[name])
        else shape
        for name, shape in shapes.items()
    }


def _is_merged(shape: torch.Size, wanted: torch.Size) -> bool:
    """Whether each dimension is the product of one or more neighbours of ``wanted``, in order."""
    left = list(wanted)
    for size in shape:
        product = 1
        while left and product < size:
            product *= left.pop(0)
        if product != size:
            return False
    return all(size == 1 for size in left)


def _stored(path: Path) -> dict[str, tuple[torch.Size, Any]]:
    """Shape and reader's tensor by the key in the file."""
    reader = _reader(path)
    found = {}
    for tensor in reader.tensors:
        kind = tensor.tensor_type.name
        if kind not in _READ:
            raise CheckpointError(
                f"{path} has {tensor.name} in {kind}, which is not read; use a file with "
                f"{', '.join(_READ)}"
            )
        shape = torch.Size(int(size) for size in reversed(tensor.shape.tolist()))
        original = reader.get_field(f"comfy.gguf.orig_shape.{tensor.name}")
        if original is not None:
            shape = _original_shape(path, tensor.name, shape, original)
        found[tensor.name] = (shape, tensor)
    return found


def _original_shape(path: Path, key: str, shape: torch.Size, field: Any) -> torch.Size:
    """The shape that a writer noted before it made the tensor fit the container."""
    noted = torch.Size(int(field.parts[index][0]) for index in field.data)
    if noted.numel() != shape.numel():
        raise CheckpointError(f"{path} has {key} {list(shape)} and notes {list(noted)} for it")
    return noted


def _reader(path: Path) -> Any:
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(
            f"{path} needs the package gguf, and it is not installed; "
            "pip install 'framepack-studio[quant]'"
        )
    reader: Any = import_module("gguf").GGUFReader
    try:
        return reader(path)
    except (OSError, ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a GGUF file: {error}; fetch it again"
        ) from error


def _architecture(reader: Any) -> str:
    field = reader.get_field("general.architecture")
    return "" if field is None else bytes(field.parts[field.data[-1]]).decode("utf-8", "replace")


def _numbers(tensor: Any) -> Tensor:
    """A tensor's numbers, flat."""
    kind = tensor.tensor_type.name
    if kind in _PLAIN:
        raw = torch.from_numpy(tensor.data.copy()).reshape(-1)
        return raw.view(_PLAIN[kind])
    quants: Any = import_module("gguf.quants")
    exact = quants.dequantize(tensor.data, tensor.tensor_type)
    return torch.from_numpy(exact.astype("float32", copy=False)).reshape(-1)


def _pieces(path: Path, key: str, stored: Mapping[str, tuple[torch.Size, Any]]) -> list[_Piece]:
    """Our tensors that one in the file holds."""
    module, dot, leaf = key.rpartition(".")
    own = without_prefix(module)
    shape = stored[key][0]
    out = shape[0] if shape else 1
    target = _LINEAR.find(own)
    if target is None:
        return [_Piece(f"{_other_name(own)}{dot}{leaf}", 0, out)]
    if target.rows in ("whole", "halves swapped"):
        is_swapped = target.rows != "whole"
        return [_Piece(f"{target.modules[0]}.{leaf}", 0, out, is_swapped)]
    weight = stored.get(f"{module}.weight", (shape,))[0]
    rows = _rows(target, out, weight[-1])
    if min(rows) < 1 or sum(rows) != out:
        raise CheckpointError(
            f"{path} has {key} {list(shape)}, whose rows are not those of "
            f"{', '.join(target.modules)}; use a file of the same model"
        )
    starts = [sum(rows[:index]) for index in range(len(rows))]
    shares = zip(target.modules, starts, rows, strict=True)
    return [_Piece(f"{name}.{leaf}", start, num) for name, start, num in shares]


def _rows(target: Target, out: int, width: int) -> list[int]:
    if target.rows == "qkv":
        return [out // 3] * 3
    return [width, width, width, out - 3 * width]  # queries, keys and values are as wide as tokens


def _other_name(module: str) -> str:
    """Our name of a layer of the original network that is not linear; others keep theirs."""
    for pattern, ours in _OTHER_LAYERS.items():
        if re.fullmatch(pattern, module):
            return re.sub(pattern, ours, module)
    return module
