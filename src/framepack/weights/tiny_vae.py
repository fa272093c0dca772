"""Read the tiny VAE's decoder from published weights, strictly."""

from pathlib import Path

import torch

from framepack.domain.errors import CheckpointError
from framepack.models.tiny_vae import TinyVaeDecoder, TinyVaeLayout
from framepack.weights.checkpoint import compare_shapes, read_tensors, stored_shapes
from framepack.weights.locate import WeightFiles
from framepack.weights.pickled import as_safetensors

__all__ = ["load_tiny_vae", "read_tiny_vae_layout"]

_OTHER_HALF = "encoder."  # pictures are encoded by the model's own VAE


def read_tiny_vae_layout(path: Path) -> TinyVaeLayout:
    """The sizes of the decoder in a file of weights.

    Args:
        path: .safetensors, or a pickle file, which is converted once.

    Raises:
        CheckpointError: damaged, of another layout, or with tensors that the layout does not
            have; names them.
    """
    return _checked_network(path).layout


def load_tiny_vae(
    path: Path, *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> TinyVaeDecoder:
    """Read the decoder; the encoder's tensors are left out.

    Args:
        path: as for :func:`read_tiny_vae_layout`.
        dtype: number format it gets.
        device: where it goes.

    Raises:
        CheckpointError: as for :func:`read_tiny_vae_layout`.
    """
    network = _checked_network(path)
    tensors = {
        name: tensor.to(device=device, dtype=dtype)
        for name, tensor in read_tensors(_files(path))
        if not name.startswith(_OTHER_HALF)
    }
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _files(path: Path) -> WeightFiles:
    return WeightFiles((as_safetensors(path),))


def _checked_network(path: Path) -> TinyVaeDecoder:
    """The network on the ``meta`` device, in which the file's tensors have their places."""
    shapes = {
        name: shape
        for name, shape in stored_shapes(_files(path)).items()
        if not name.startswith(_OTHER_HALF)
    }
    try:
        layout = TinyVaeLayout.of(shapes)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} cannot be the tiny VAE: {error}; needed: a file of "
            "github.com/madebyollin/taehv, such as taehv.safetensors for HunyuanVideo"
        ) from error
    with torch.device("meta"):
        network = TinyVaeDecoder(layout)
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    compare_shapes(path, shapes, expected, needed="the TAEHV layout")
    return network
