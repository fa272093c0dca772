"""A text encoder whose weights stay in their files until they are used."""

from pathlib import Path

import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel

from framepack.domain.errors import CheckpointError
from framepack.weights.checkpoint import compare_shapes, quiet_transformers, read_tensors
from framepack.weights.locate import find_weight_files

__all__ = ["map_llama"]

_PREFIX, _HEAD = "model.", "lm_head."  # of checkpoints with a language model head


def map_llama(folder: Path) -> LlamaModel:
    """Make a Llama whose parameters are views of its files, in the files' number format.

    Nothing is read but the headers; the system reads a weight when it is looked at, and may drop
    it from memory again.

    Args:
        folder: of ``config.json`` and safetensors, with or without a language model head.

    Raises:
        CheckpointError: damaged files, or tensors other than the config describes; names them.
        MissingWeights: no weight file, or a shard is missing.
    """
    files = find_weight_files(folder)
    try:
        with quiet_transformers(), torch.device("meta"):
            config = LlamaConfig.from_pretrained(folder, local_files_only=True)
            model = LlamaModel(config)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder} does not describe a Llama: {error}") from error
    tensors = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in read_tensors(files)
        if not name.startswith(_HEAD)
    }
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    compare_shapes(folder, {name: tensor.shape for name, tensor in tensors.items()}, expected)
    model.load_state_dict(tensors, strict=True, assign=True)
    # Its frequencies are worked out and in no file.
    model.rotary_emb = type(model.rotary_emb)(config=config)
    assert not any(buffer.is_meta for buffer in model.buffers()), "a buffer is not in the files"
    nn.Module.eval(model).requires_grad_(False)
    return model
