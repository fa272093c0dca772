"""Fill networks from safetensors files: strictly, one tensor at a time, with one copy in memory.

Pickle files are never read. A network is built on the ``meta`` device, which costs no memory,
and each tensor of the files is cast, moved and put in its place.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from framepack.domain.errors import CheckpointError
from framepack.models.autoencoder import use_direct_convolutions
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.gguf_files import (
    gguf_architecture,
    gguf_shapes,
    gguf_tensors,
    holds_gguf,
    is_gguf,
    unmerged,
)
from framepack.weights.locate import (
    WeightFiles,
    are_weights_present,
    find_weight_files,
    locate,
    locate_all,
    read_json,
)
from framepack.weights.quantized_files import read_quantized, stored_method

__all__ = [
    "WeightFiles",
    "are_weights_present",
    "compare_shapes",
    "find_weight_files",
    "load_encoder",
    "load_model",
    "load_state_dict",
    "load_transformer",
    "load_vae",
    "locate",
    "locate_all",
    "num_parameters",
    "quiet_transformers",
    "read_tensors",
    "stored_shapes",
]

Network = TypeVar("Network", bound=nn.Module)
Encoder = TypeVar("Encoder", bound=PreTrainedModel)

_MOST_NAMES = 5


def load_transformer(
    folder: Path, *, dtype: torch.dtype | None, device: torch.device | str = "cpu"
) -> FramePackTransformer3DModel:
    """Load the FramePack transformer; see ``load_model``."""
    model: FramePackTransformer3DModel = load_model(
        FramePackTransformer3DModel, folder, dtype=dtype, device=device
    )
    return model


def load_vae(
    folder: Path, *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> AutoencoderKLHunyuanVideo:
    """Load the causal video VAE; see ``load_model``."""
    vae: AutoencoderKLHunyuanVideo = load_model(
        AutoencoderKLHunyuanVideo, folder, dtype=dtype, device=device
    )
    use_direct_convolutions(vae)
    return vae


def load_model(
    network: type[Network],
    folder: Path,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str = "cpu",
) -> Network:
    """Load a network of the diffusers kind from a folder in the published layout.

    What is stored quantised in torchao's layout stays as it is stored.

    Args:
        network: its class; ``config.json`` gives the arguments.
        folder: holds ``config.json`` and safetensors, in one file or in shards with an index, or
            one GGUF file.
        dtype: number format of every floating tensor; None keeps that of the files.
        device: where the tensors end up.

    Returns:
        The network in evaluation mode, without gradients.

    Raises:
        CheckpointError: a config field the class does not know, a tensor that is missing,
            unexpected or of another shape, or a damaged file. All are named.
        MissingWeights: no weight file, or a shard is missing.
    """
    config = _network_config(network, folder)
    with torch.device("meta"):
        try:
            model = network(**config)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder / 'config.json'} does not describe a {network.__name__}: {error}"
            ) from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if stored_method(folder) is not None:
        assert dtype is not None, "what is stored quantised computes in a number format"
        tensors = read_quantized(folder, model, dtype=dtype, device=device)
        found = {name: tensor.shape for name, tensor in tensors.items()}
        compare_shapes(folder, found, expected)
    else:
        tensors = load_state_dict(folder, dtype=dtype, device=device, expected=expected)
    model.load_state_dict(tensors, strict=True, assign=True)
    assert not any(buffer.is_meta for buffer in model.buffers()), "a buffer is not in state_dict"
    nn.Module.eval(model).requires_grad_(False)
    return model


def load_encoder(
    network: type[Encoder],
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Encoder:
    """Load a text or vision encoder of the transformers kind.

    transformers renames the keys of older checkpoints as it reads them; a text encoder saved
    with its language model head is accepted and the head left out.

    Args:
        network: its class, such as ``LlamaModel``.
        folder: as for ``load_model``.
        dtype: number format of every floating tensor.
        device: where the tensors end up.

    Raises:
        CheckpointError: as for ``load_model``.
        MissingWeights: as for ``load_model``.
    """
    files = find_weight_files(folder)
    _check_shards(files)
    try:
        with quiet_transformers():
            loaded: Any = network.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} does not hold a {network.__name__}: {error}") from error
    model: Encoder = loaded[0]
    report = loaded[1]
    unexpected = {key for key in report["unexpected_keys"] if not key.startswith("lm_head.")}
    mismatched = [f"{key} {list(a)}, needed {list(b)}" for key, a, b in report["mismatched_keys"]]
    _raise_if_unfit(folder, report["missing_keys"], unexpected, mismatched)
    nn.Module.eval(model).requires_grad_(False)
    nn.Module.to(model, device)
    return model


def load_state_dict(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    expected: Mapping[str, torch.Size] | None = None,
) -> dict[str, Tensor]:
    """Read all tensors of a network.

    Args:
        folder: holds one safetensors file, or shards with an index.
        dtype: number format for floating tensors; None keeps the files' own.
        device: where they end up.
        expected: names and shapes; any difference is an error, found before a tensor is read.

    Raises:
        CheckpointError: damaged file, shards that contradict their index, or tensors that
            differ from ``expected``; names them.
        MissingWeights: no weight file, or a shard is missing.
    """
    files = find_weight_files(folder)
    _check_shards(files)
    if expected is not None:
        _check_expected(folder, files, expected)
    tensors = {}
    for name, stored in read_tensors(files):
        tensor = stored if expected is None else stored.reshape(expected[name])
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        tensors[name] = tensor.to(device=device, dtype=wanted)
    return tensors


def _check_expected(folder: Path, files: WeightFiles, expected: Mapping[str, torch.Size]) -> None:
    if not holds_gguf(files):
        compare_shapes(folder, stored_shapes(files), expected)
        return
    (path,) = files.files
    kind = gguf_architecture(path) or "nothing about its network"
    needed = f"the config.json beside it (it says it holds {kind})"
    compare_shapes(path, unmerged(stored_shapes(files), expected), expected, needed=needed)


def read_tensors(files: WeightFiles) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor, on the CPU, as stored.

    Raises:
        CheckpointError: a file is damaged.
    """
    for path in files.files:
        if is_gguf(path):
            yield from gguf_tensors(path)
            continue
        with _opened(path) as shard:
            for name in shard.keys():  # noqa: SIM118
                yield name, shard.get_tensor(name)


def num_parameters(files: WeightFiles) -> int:
    """Numbers stored in the files, from their headers alone.

    Raises:
        CheckpointError: a file is damaged.
    """
    return sum(shape.numel() for shape in stored_shapes(files).values())


def stored_shapes(files: WeightFiles) -> dict[str, torch.Size]:
    """Shapes of the tensors in the files, from their headers alone.

    Raises:
        CheckpointError: a file is damaged.
    """
    shapes: dict[str, torch.Size] = {}
    for path in files.files:
        if is_gguf(path):
            shapes |= gguf_shapes(path)
            continue
        with _opened(path) as shard:
            for name in shard.keys():  # noqa: SIM118
                shapes[name] = torch.Size(shard.get_slice(name).get_shape())
    return shapes


def compare_shapes(
    place: Path,
    found: Mapping[str, torch.Size],
    expected: Mapping[str, torch.Size],
    *,
    needed: str = "its config.json",
) -> None:
    """Refuse tensors that are missing, unexpected or of another shape.

    Args:
        place: where they are, for the message.
        found: shapes by name.
        expected: what the network has.
        needed: what they ought to fit.

    Raises:
        CheckpointError: names some of each kind.
    """
    mismatched = [
        f"{name} {list(shape)}, needed {list(expected[name])}"
        for name, shape in found.items()
        if name in expected and shape != expected[name]
    ]
    missing, unexpected = expected.keys() - found, found.keys() - expected
    _raise_if_unfit(place, missing, unexpected, mismatched, needed=needed)


def _network_config(network: type[nn.Module], folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = {key: value for key, value in read_json(path).items() if not key.startswith("_")}
    config.pop("quantization_config", None)
    unknown = sorted(config.keys() - inspect.signature(network).parameters.keys())
    if unknown:
        raise CheckpointError(
            f"{path} has {', '.join(unknown)}, which {network.__name__} does not know; "
            "needed: the config of a FramePack model in the diffusers layout"
        )
    return config


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; its errors become CheckpointError."""
    try:
        with safe_open(path, framework="pt", device="cpu") as shard:
            yield shard
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file: {error}; "
            "fetch it again (`framepack models download` checks every file)"
        ) from error


def _check_shards(files: WeightFiles) -> None:
    """Every file opens, and each shard holds exactly what the index says."""
    if holds_gguf(files):
        return
    for path in files.files:
        with _opened(path) as shard:
            stored = set(shard.keys())
        if files.weight_map is None:
            continue
        promised = {name for name, where in files.weight_map.items() if where == path.name}
        _raise_if_unfit(path, promised - stored, stored - promised, (), needed="its index")


def _compare(
    folder: Path, found: Mapping[str, torch.Size], expected: Mapping[str, torch.Size]
) -> None:
    mismatched = [
        f"{name} {list(shape)}, needed {list(expected[name])}"
        for name, shape in found.items()
        if name in expected and shape != expected[name]
    ]
    _raise_if_unfit(folder, expected.keys() - found, found.keys() - expected, mismatched)


def _raise_if_unfit(
    place: Path,
    missing: object,
    unexpected: object,
    mismatched: object,
    *,
    needed: str = "its config.json",
) -> None:
    parts = [
        f"{title} {_some(names)}"
        for title, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", mismatched),
        )
        if names
    ]
    if parts:
        raise CheckpointError(
            f"{place} does not fit {needed}: {'; '.join(parts)}. "
            "Use files of one and the same model, or fetch them again"
        )


def _some(names: Any) -> str:
    ordered = sorted(names)
    rest = len(ordered) - _MOST_NAMES
    return ", ".join(ordered[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load tables off the terminal while loading."""
    bars: Any = transformers_logging
    level, had_bars = bars.get_verbosity(), bars.is_progress_bar_enabled()
    bars.set_verbosity_error()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        bars.set_verbosity(level)
        if had_bars:
            bars.enable_progress_bar()
