"""Weights of networks that enlarge pictures: read strictly, whatever their layout."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from framepack.domain.errors import CheckpointError, InvalidRequest
from framepack.models.upscaler import (
    CompactNet,
    RRDBNet,
    canonical_names,
    infer_config,
    make_network,
)
from framepack.weights.checkpoint import compare_shapes, read_tensors, stored_shapes
from framepack.weights.locate import WeightFiles
from framepack.weights.pickled import PICKLE_SUFFIXES, as_safetensors

__all__ = ["Upscaler", "load_upscaler"]


class Upscaler(Protocol):
    """What enlarges pictures.

    Attributes:
        scale: how many times as wide and high they get.
        multiple: tiles begin at multiples of so many pixels.
    """

    scale: int
    multiple: int

    def __call__(self, pictures: Tensor, /) -> Tensor:
        """[B, 3, H, W] in 0..1 to [B, 3, H * scale, W * scale]."""


def load_upscaler(path: Path, *, device: torch.device | str = "cpu") -> Upscaler:
    """Load a network in fp32, in evaluation mode, without gradients.

    ESRGAN, Real-ESRGAN and its compact network are ours. Others are loaded by the library
    spandrel where it is installed.

    Args:
        path: .safetensors, or a published .pth, which is converted once.
        device: where it computes.

    Raises:
        InvalidRequest: the file is missing or of another kind.
        CheckpointError: damaged, of another network, or with tensors too many or too few; names
            them.
    """
    _check_file(path)
    files = WeightFiles((as_safetensors(path),))
    stored = stored_shapes(files)
    names = canonical_names(stored)
    shapes = {names[name]: shape for name, shape in stored.items()}
    config = infer_config(shapes)
    if config is None:
        return _load_by_spandrel(path, stored, device)
    with torch.device("meta"):
        network = make_network(config)
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    compare_shapes(path, shapes, expected, needed=_kind(network))
    tensors = {
        names[name]: tensor.to(device, torch.float32, copy=True)
        for name, tensor in read_tensors(files)
    }
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _check_file(path: Path) -> None:
    suffixes = (".safetensors", *PICKLE_SUFFIXES)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InvalidRequest(f"weights {path} {found}; give the path of a file")
    if path.suffix.lower() not in suffixes:
        raise InvalidRequest(
            f"weights {path} end in {path.suffix or 'no suffix'}; needed: {', '.join(suffixes)}"
        )


def _kind(network: RRDBNet | CompactNet) -> str:
    if isinstance(network, RRDBNet):
        return "the network of ESRGAN that its shapes describe"
    return "Real-ESRGAN's compact network that its shapes describe"


class _OfSpandrel:
    """A network that spandrel loaded."""

    multiple = 16  # what networks with windows need, as nearly all of them do

    def __init__(self, descriptor: Any) -> None:
        self.scale = int(descriptor.scale)
        self._descriptor = descriptor

    def __call__(self, pictures: Tensor, /) -> Tensor:
        made: Tensor = self._descriptor(pictures)
        return made


def _load_by_spandrel(
    path: Path, stored: Mapping[str, torch.Size], device: torch.device | str
) -> Upscaler:
    first = ", ".join(sorted(stored)[:3]) or "no tensors"
    try:
        spandrel: Any = importlib.import_module("spandrel")
    except ImportError as error:
        raise CheckpointError(
            f"{path} holds another network than ESRGAN, Real-ESRGAN or its compact one (it has "
            f"{first}); use weights of these, or install the library spandrel, which reads more"
        ) from error
    except RuntimeError as error:  # torchvision of another torch
        raise CheckpointError(
            f"{path} needs the library spandrel, which does not start here: {error}; use weights "
            "of ESRGAN or Real-ESRGAN"
        ) from error
    loader = spandrel.ModelLoader(device=torch.device(device))
    try:
        descriptor = loader.load_from_file(as_safetensors(path))
    except (spandrel.UnsupportedModelError, RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read by spandrel either ({error}); it has {first}"
        ) from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.input_channels != 3:
        raise CheckpointError(f"{path} holds no network that enlarges colour pictures")
    return _OfSpandrel(descriptor.eval())
