"""Weights for RIFE: the ones in the package, or published ones from a file, read strictly."""

from collections.abc import Mapping
from pathlib import Path

import torch

from framepack.domain.errors import CheckpointError, InvalidRequest, as_bad_input
from framepack.domain.request import GenerationRequest
from framepack.models.ifnet import IFNet, infer_config
from framepack.weights.checkpoint import compare_shapes, read_tensors, stored_shapes
from framepack.weights.hashing import HashCache
from framepack.weights.locate import WeightFiles
from framepack.weights.pickled import as_safetensors

__all__ = ["EMBEDDED_IFNET", "check_rife", "load_ifnet", "rife_hashes"]

EMBEDDED_IFNET = Path(__file__).resolve().parent.parent / "assets" / "rife" / "model.safetensors"
"""The small network that this project trained."""

_PREFIX = "module."  # of data-parallel training
_TRAINING_ONLY = ("teacher.", "caltime.", "block_tea.")
"""Published files also hold parts that only their training used."""


def check_rife(request: GenerationRequest) -> None:
    """Refuse weights that RIFE cannot use, if the request uses RIFE.

    Raises:
        InvalidRequest: the file is missing.
        CheckpointError: as :func:`load_ifnet`.
    """
    if request.uses_rife:
        with as_bad_input():
            _checked_network(_existing(request))


def rife_hashes(request: GenerationRequest) -> Mapping[str, str]:
    """SHA-256 of the weights, by what a run's record calls them; empty without RIFE.

    Raises:
        InvalidRequest: the file is missing.
    """
    if not request.uses_rife:
        return {}
    path = _existing(request)
    return {f"rife {path.name}": HashCache().sha256(path)}


def load_ifnet(path: Path | None = None, *, device: torch.device | str = "cpu") -> IFNet:
    """Load the network in fp32, in evaluation mode, without gradients.

    The layout follows from the shapes in the file; ``models.ifnet`` says which there are.

    Args:
        path: .safetensors, or a published .pkl or .pth, which is converted once; None for the
            package's own.
        device: where it computes.

    Raises:
        CheckpointError: damaged, of another network, or with tensors that the layout does not
            have; names them.
    """
    path = path or EMBEDDED_IFNET
    network = _checked_network(path)
    # Copied: where a file places a tensor in memory decides which kernel the CPU takes for it, and
    # so the last bits of its results.
    tensors = {
        _name(key): tensor.to(device, torch.float32, copy=True)
        for key, tensor in read_tensors(_files(path))
        if _is_kept(key)
    }
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _existing(request: GenerationRequest) -> Path:
    path = request.rife_weights or EMBEDDED_IFNET
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InvalidRequest(
            f"{path}, the weights for RIFE, {found}; give --rife-weights the path of a file, or "
            "choose --interpolation minterpolate"
        )
    return path


def _files(path: Path) -> WeightFiles:
    return WeightFiles((as_safetensors(path),))


def _name(key: str) -> str:
    return key.removeprefix(_PREFIX)


def _is_kept(key: str) -> bool:
    return not _name(key).startswith(_TRAINING_ONLY)


def _checked_network(path: Path) -> IFNet:
    """The network on the ``meta`` device, in which the file's tensors have their places."""
    stored = stored_shapes(_files(path))
    shapes = {_name(key): shape for key, shape in stored.items() if _is_kept(key)}
    config = infer_config(shapes)
    if config is None:
        raise CheckpointError(
            f"{path} holds no IFNet: it has {', '.join(sorted(shapes)[:3]) or 'no tensors'} and no "
            "block0.conv0.1.0.weight to block3.conv0.1.0.weight; needed: flownet.pkl of RIFE 4.5 "
            "to 4.18, from github.com/hzwer/Practical-RIFE"
        )
    with torch.device("meta"):
        network = IFNet(config)
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    compare_shapes(path, shapes, expected, needed="the IFNet of RIFE 4.5 to 4.18")
    return network
