"""Write a model whose transformer is stored quantised, so that it need not be quantised again."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.domain.quantization import STORED_FORMATS, QuantFormat
from framepack.domain.settings import Settings
from framepack.models.parts import ComponentSource
from framepack.models.recipe import RECIPE_NAME, recipe_text
from framepack.models.spec import ModelSpec
from framepack.weights.checkpoint import load_transformer
from framepack.weights.gguf_files import check_gguf
from framepack.weights.locate import locate, read_json
from framepack.weights.quantize import check_format, quantize_network
from framepack.weights.quantized_files import save_quantized, stored_method

__all__ = ["store_quantized"]

_CPU = torch.device("cpu")


def store_quantized(
    spec: ModelSpec, folder: Path, kept_as: QuantFormat, settings: Settings
) -> Path:
    """Write the transformer of a model quantised, and a recipe with its other components.

    Args:
        spec: the model.
        folder: a new one.
        kept_as: one of torchao's formats.
        settings: where the model's weights are looked for.

    Returns:
        The recipe, which is a model to generate with.

    Raises:
        InvalidRequest: the format cannot be made here or is not stored, the folder exists, or the
            transformer is quantised already.
        MissingWeights: the transformer is not on this machine.
        WorkspaceError: the folder cannot be written.
    """
    if kept_as not in STORED_FORMATS:
        raise InvalidRequest(
            f"format {kept_as} is not stored; choose {', '.join(sorted(STORED_FORMATS))}"
        )
    check_format(kept_as, "transformer", _CPU)
    source = locate(spec, "transformer", settings)
    if (method := stored_method(source)) is not None:
        raise InvalidRequest(f"{source} is stored quantised with {method}; name original weights")
    if check_gguf(source):
        raise InvalidRequest(f"{source} holds a GGUF file; name original weights")
    if folder.exists():
        raise InvalidRequest(f"{folder} exists; name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            part = Path(made) / "model"
            _write(spec, source, part, kept_as, folder)
            part.replace(folder)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WorkspaceError(
            f"cannot write {folder}: {reason}; free some space or choose another folder"
        ) from error
    return folder / RECIPE_NAME


def _write(spec: ModelSpec, source: Path, part: Path, kept_as: QuantFormat, folder: Path) -> None:
    network = load_transformer(source, dtype=None)
    quantize_network(network, "transformer", kept_as, dtype=network.dtype, device=_CPU)
    save_quantized(network, part / "transformer", read_json(source / "config.json"), kept_as)
    place = folder.absolute()
    quantised = ComponentSource(path=place / "transformer")
    stored = replace(
        spec,
        title=f"{spec.title}, transformer in {kept_as}",
        sources={**spec.sources, "transformer": quantised},
    )
    (part / RECIPE_NAME).write_text(recipe_text(stored, place), encoding="utf-8")
