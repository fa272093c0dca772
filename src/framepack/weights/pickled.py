"""Weights that are published as pickle files: read without running code, converted once."""

import os
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from safetensors.torch import save_file
from torch import Tensor

from framepack.domain.errors import CheckpointError
from framepack.weights.hashing import HashCache

__all__ = ["PICKLE_SUFFIXES", "as_safetensors"]

PICKLE_SUFFIXES = (".pth", ".pt", ".pkl")
"""Suffixes of files that are converted."""

_WRAPPERS = ("params_ema", "params", "state_dict")
"""What training programs call the weights in a file that could hold more; the averaged first."""


def as_safetensors(path: Path) -> Path:
    """The file itself, or the safetensors file that a pickle file was converted to.

    torch's weights-only loader builds tensors and plain containers and refuses anything else, so
    a file cannot run code. What was converted stays in the user's cache folder, under the hash
    of the file it was made from.

    Args:
        path: a file with one dictionary from names to tensors, or such a one under the name that
            training programs give it.

    Raises:
        CheckpointError: damaged, holds other things than tensors, or wants to run code.
    """
    if path.suffix.lower() not in PICKLE_SUFFIXES:
        return path
    folder = user_cache_path("framepack", appauthor=False) / "converted"
    target = folder / f"{HashCache().sha256(path)}.safetensors"
    if not target.is_file():
        tensors = _read(path)
        try:
            _save(tensors, target)
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be converted, because {target} cannot be written: "
                f"{error.strerror or error}; free some space, or use a .safetensors file"
            ) from error
    return target


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the protocol; what cannot be read is an error
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        # torch's own text advises to switch the protection off, so it is not shown.
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors and could run code; fetch it again, or "
            "use a .safetensors file"
        ) from error
    if isinstance(found, dict):
        found = next(
            (found[name] for name in _WRAPPERS if isinstance(found.get(name), dict)), found
        )
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise CheckpointError(
            f"{path} holds no dictionary from names to tensors; needed: the weights alone, as "
            "published"
        )
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _save(tensors: dict[str, Tensor], target: Path) -> None:
    """Write the file so that it is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        save_file(tensors, name)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)  # gone already once it has taken its place
