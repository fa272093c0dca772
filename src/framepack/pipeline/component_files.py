"""Components from their folders: which class reads which, and whether they belong together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPTextModel,
    LlamaModel,
    SiglipImageProcessorPil,
    SiglipVisionModel,
)

from framepack.domain.errors import CheckpointError
from framepack.weights.checkpoint import (
    load_encoder,
    load_transformer,
    load_vae,
    quiet_transformers,
)
from framepack.weights.locate import read_json

__all__ = ["check_widths", "load_network", "load_processor"]

# Which width of the transformer's config each other component must agree with.
_WIDTHS = {
    "text_encoder": ("hidden_size", "text_embed_dim"),
    "text_encoder_2": ("hidden_size", "pooled_projection_dim"),
    "image_encoder": ("hidden_size", "image_proj_dim"),
    "vae": ("latent_channels", "in_channels"),
}


def load_network(name: str, folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Read a network of a model into the memory of a device.

    Args:
        name: a network among COMPONENTS.
        folder: of its config and weights.
        dtype: number format it gets.
        device: where it goes.

    Raises:
        CheckpointError: the files are damaged or of another kind.
    """
    if name == "transformer":
        return load_transformer(folder, dtype=dtype, device=device)
    if name == "vae":
        return load_vae(folder, dtype=dtype, device=device)
    if name == "text_encoder":
        return load_encoder(LlamaModel, folder, dtype=dtype, device=device)
    if name == "text_encoder_2":
        return load_encoder(CLIPTextModel, folder, dtype=dtype, device=device)
    return load_encoder(SiglipVisionModel, folder, dtype=dtype, device=device)


def load_processor(name: str, folder: Path) -> Any:
    """Read a tokenizer or the image processor.

    Raises:
        CheckpointError: the files are damaged or of another kind.
    """
    reader: Any = SiglipImageProcessorPil if name == "feature_extractor" else AutoTokenizer
    try:
        with quiet_transformers():
            return reader.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{name} in {folder} cannot be read: {error}") from error


def check_widths(folders: Mapping[str, Path]) -> None:
    """Compare the configs, so that mixed-up components are found before anything is loaded.

    Raises:
        CheckpointError: names two components that are not of one model.
    """
    transformer = read_json(folders["transformer"] / "config.json")
    for name, (theirs, ours) in _WIDTHS.items():
        found = read_json(folders[name] / "config.json").get(theirs)
        needed = transformer.get(ours)
        if found is None or needed is None or found == needed:
            continue
        raise CheckpointError(
            f"{name} in {folders[name]} has {theirs} {found}, but the transformer in "
            f"{folders['transformer']} needs {needed} ({ours}); use components of one model"
        )
