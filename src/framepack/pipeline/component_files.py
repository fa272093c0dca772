"""Components from their folders: which class reads which, and whether they belong together."""

from collections.abc import Callable, Mapping
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
from framepack.domain.quantization import QuantFormat
from framepack.weights.checkpoint import (
    load_encoder,
    load_transformer,
    load_vae,
    quiet_transformers,
)
from framepack.weights.gguf_files import holds_gguf
from framepack.weights.locate import find_weight_files, read_json
from framepack.weights.mapped_encoder import map_llama
from framepack.weights.quantize import quantize_network

__all__ = ["check_vocabulary", "check_widths", "load_network", "load_processor", "load_quantized"]

# Which width of the transformer's config each other component must agree with.
_WIDTHS = {
    "text_encoder": ("hidden_size", "text_embed_dim"),
    "text_encoder_2": ("hidden_size", "pooled_projection_dim"),
    "image_encoder": ("hidden_size", "image_proj_dim"),
    "vae": ("latent_channels", "in_channels"),
}

# What the names of the kinds of network have in common that a component can be.
_KINDS = {
    "transformer": "Transformer3DModel",
    "vae": "AutoencoderKLHunyuanVideo",
    "text_encoder": "Llama",
    "text_encoder_2": "CLIP",
    "image_encoder": "SigLIP",
}


def load_quantized(
    name: str,
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    *,
    kept_as: QuantFormat,
    prepare: Callable[[nn.Module], object] | None = None,
) -> nn.Module:
    """Read a network and quantise it on its way to a device.

    What the files of the two large networks hold stays in them until it is needed; the small
    encoders, and a transformer that is changed first, are in host memory as a whole for a moment.

    Args:
        name: a network among COMPONENTS.
        folder: of its config and weights, which are not quantised.
        dtype: number format of what is not quantised, and that it computes in.
        device: where it goes.
        kept_as: the format of its linear layers.
        prepare: changes the network before it is quantised, as merging LoRAs does.

    Raises:
        CheckpointError: the files are damaged or of another kind.
    """
    as_stored = name in ("transformer", "text_encoder") and prepare is None
    if name == "transformer" and holds_gguf(find_weight_files(folder)):
        as_stored = False  # as stored means fp32 there
    network = load_network(name, folder, None if as_stored else dtype, torch.device("cpu"))
    if prepare is not None:
        prepare(network)
    quantize_network(network, name, kept_as, dtype=dtype, device=device)
    return network


def load_network(
    name: str, folder: Path, dtype: torch.dtype | None, device: torch.device
) -> nn.Module:
    """Read a network of a model into the memory of a device.

    Args:
        name: a network among COMPONENTS.
        folder: of its config and weights.
        dtype: number format it gets; None keeps that of the files, which the transformer and
            the large text encoder can, and on the CPU their weights stay in the mapped files.
        device: where it goes.

    Raises:
        CheckpointError: the files are damaged or of another kind.
    """
    if name == "transformer":
        return load_transformer(folder, dtype=dtype, device=device)
    if dtype is None:
        assert name == "text_encoder", f"{name} cannot stay in its files"
        return map_llama(folder)
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


def check_vocabulary(name: str, tokenizer: Any, encoder: Path) -> None:
    """Compare a tokenizer with the encoder that reads its tokens.

    Args:
        name: of the tokenizer among COMPONENTS.
        tokenizer: it.
        encoder: the encoder's folder.

    Raises:
        CheckpointError: it has tokens that the encoder does not know.
    """
    known = read_json(encoder / "config.json").get("vocab_size")
    if isinstance(known, int) and len(tokenizer) > known:
        raise CheckpointError(
            f"{name} has {len(tokenizer)} tokens, but the encoder in {encoder} knows {known}; use "
            "components of one model"
        )


def check_widths(folders: Mapping[str, Path]) -> None:
    """Compare the configs, so that mixed-up components are found before anything is loaded.

    Raises:
        CheckpointError: names two components that are not of one model.
    """
    configs = {name: read_json(folders[name] / "config.json") for name in _KINDS}
    for name, config in configs.items():
        # transformers and diffusers write what kind of network it is under these names.
        kind = str(config.get("model_type") or config.get("_class_name") or _KINDS[name])
        if _KINDS[name].lower() not in kind.lower():
            raise CheckpointError(
                f"{name} in {folders[name]} is {kind}, but {_KINDS[name]} is needed; name another "
                "folder for it"
            )
    transformer = configs["transformer"]
    for name, (theirs, ours) in _WIDTHS.items():
        found = configs[name].get(theirs)
        needed = transformer.get(ours)
        if found is None or needed is None or found == needed:
            continue
        raise CheckpointError(
            f"{name} in {folders[name]} has {theirs} {found}, but the transformer in "
            f"{folders['transformer']} needs {needed} ({ours}); use components of one model"
        )
