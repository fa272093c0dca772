"""Tensors that consist of others, as quantised weights do: what they are made of, and back.

Such a weight is a subclass of Tensor with the shape and number format of what it stands for; its
bytes are in the numbers and scales inside. Other tensors consist of themselves.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

__all__ = [
    "as_parameter",
    "is_composed",
    "moved",
    "num_bytes",
    "parts_of",
    "with_dtype",
    "with_parts",
]


def is_composed(tensor: Tensor) -> bool:
    """Whether a tensor consists of others."""
    return is_traceable_wrapper_subclass(tensor)


def parts_of(tensor: Tensor) -> list[Tensor]:
    """The plain tensors that one consists of, in a fixed order; itself if it is plain."""
    if not is_composed(tensor):
        return [tensor]
    names, _ = _flattened(tensor)
    return [getattr(tensor, name) for name in names]


def with_parts(tensor: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The same tensor made of other parts, such as copies elsewhere.

    Args:
        tensor: the model; not changed.
        parts: as :func:`parts_of` gives them; they are not copied.
    """
    if not is_composed(tensor):
        (plain,) = parts
        return plain
    names, context = _flattened(tensor)
    return _made(tensor, dict(zip(names, parts, strict=True)), context)


def with_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A composed tensor that stands for numbers of another format; its parts stay as they are.

    Raises:
        TypeError: of a kind that does not know what it stands for.
    """
    if tensor.dtype == dtype:
        return tensor
    names, context = _flattened(tensor)
    if not isinstance(context, dict) or "dtype" not in context:
        raise TypeError(f"a {type(tensor).__name__} has no number format to be changed")
    parts = {name: getattr(tensor, name) for name in names}
    return _made(tensor, parts, {**context, "dtype": dtype})


def as_parameter(tensor: Tensor) -> nn.Parameter:
    """A parameter without gradients that can be used in and outside of inference."""
    with torch.inference_mode(False), torch.no_grad():
        return nn.Parameter(tensor, requires_grad=False)


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors with all their parts."""
    return sum(part.numel() * part.element_size() for each in tensors for part in parts_of(each))


def _flattened(tensor: Any) -> tuple[list[str], Any]:
    names, context = tensor.__tensor_flatten__()
    return list(names), context


def _made(tensor: Tensor, parts: dict[str, Tensor], context: Any) -> Tensor:
    kind: Any = type(tensor)
    made: Tensor = kind.__tensor_unflatten__(parts, context, tensor.shape, tensor.stride())
    return made


def moved(network: nn.Module, device: torch.device | str) -> nn.Module:
    """A network on a device, itself: ``nn.Module.to``, which composed tensors may refuse."""
    composed: list[tuple[nn.Module, str, nn.Parameter]] = []
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and is_composed(parameter):
                composed.append((module, name, parameter))
    for module, name, _ in composed:
        module._parameters[name] = None
    nn.Module.to(network, device)
    for module, name, parameter in composed:
        parts = [part.to(device) for part in parts_of(parameter)]
        module._parameters[name] = as_parameter(with_parts(parameter, parts))
    return network
