"""Which networks of a model are quantised: by the settings as they are read, or in their files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from framepack.domain.errors import InvalidRequest
from framepack.domain.quantization import (
    PARTS,
    QuantFormat,
    can_be_streamed,
    in_words,
    weight_bytes,
)
from framepack.domain.settings import Settings
from framepack.models.tensor_parts import num_bytes
from framepack.weights.checkpoint import find_weight_files, stored_shapes
from framepack.weights.gguf_files import check_gguf
from framepack.weights.quantize import (
    check_format,
    is_quantized,
    takes_format,
)
from framepack.weights.quantized_files import check_stored, stored_method, stored_sizes

__all__ = ["Quantization"]

_STREAMED = ("balanced", "group", "sequential", "disk")


@dataclass(frozen=True)
class Quantization:
    """What is quantised.

    Attributes:
        formats: by component, of those that are quantised as they are read.
        stored: by component, what those were quantised with that are stored so.
        from_gguf: whether the transformer is read from a GGUF file, and is exact from then on.
    """

    formats: Mapping[str, QuantFormat] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    from_gguf: bool = False

    @classmethod
    def of(
        cls,
        settings: Settings,
        folders: Mapping[str, Path],
        device: torch.device,
    ) -> Self:
        """What the settings ask for, and what the files hold.

        Args:
            settings: what is asked for.
            folders: by component.
            device: where networks run.

        Raises:
            InvalidRequest: it cannot run here, or files are quantised already.
            CheckpointError: files are quantised in a way that is not read.
        """
        transformer = folders["transformer"]
        check_stored(transformer)
        from_gguf = check_gguf(transformer)
        if from_gguf and settings.offload == "disk":
            raise InvalidRequest(
                f"offload disk reads blocks from safetensors, and {transformer} holds a GGUF file; "
                "use another way"
            )
        method = stored_method(transformer)
        stored = {"transformer": method} if method else {}
        formats: dict[str, QuantFormat] = {}
        for part, kept_as in settings.quantize.items():
            check_format(kept_as, part, device)
            if not can_be_streamed(kept_as) and settings.offload in _STREAMED:
                raise InvalidRequest(
                    f"quantize asks for {part}={kept_as}, which cannot be streamed, and offload is "
                    f"{settings.offload}; use auto, none or model, or fp8 or int8"
                )
            if part == "transformer" and settings.offload == "disk":
                raise InvalidRequest(
                    f"quantize asks for {part}={kept_as}, but offload disk reads blocks from their "
                    "file, where they are not quantised; use another way, or store them quantised "
                    "with framepack models quantize"
                )
            for component in PARTS[part]:
                _refuse_twice(folders[component], part, kept_as)
                formats[component] = kept_as
        return cls(formats, stored, from_gguf)

    @property
    def title(self) -> str:
        """For logs and the record of a run: ``transformer fp8``, or "none"."""
        words = {name: f"stored by {method}" for name, method in self.stored.items()}
        words |= self.formats
        if self.from_gguf:
            words["transformer"] = f"from GGUF {words.get('transformer', '')}".strip()
        return in_words(words)

    def format_of(self, component: str) -> QuantFormat:
        """How a component's weights are to be kept once they are read."""
        return self.formats.get(component, "none")

    def is_quantized(self, component: str) -> bool:
        """Whether a component is quantised, as it is read or in its files."""
        return component in self.formats or component in self.stored

    def leaves_its_file(self, component: str) -> bool:
        """Whether a component is in memory once it is read, since it is not computed with as the
        file has it."""
        is_gguf = component == "transformer" and self.from_gguf
        return is_gguf or component in self.formats

    def stays_whole(self, component: str) -> bool:
        """Whether a component cannot be streamed."""
        return component in self.formats and not can_be_streamed(self.formats[component])

    def sizes(self, component: str, place: Path | nn.Module, dtype: torch.dtype) -> dict[str, int]:
        """Bytes that each tensor takes in memory, by key; a language model head is never used.

        Args:
            component: it.
            place: its folder, of which headers alone are read, or the network.
            dtype: number format that it computes in.
        """
        if isinstance(place, nn.Module):
            sizes = _sizes_in_memory(place, dtype)
        elif component in self.stored:
            sizes = stored_sizes(place, dtype)
        else:
            kept_as = self.format_of(component)
            sizes = {
                key: _size(key, tuple(shape), component, kept_as, dtype)
                for key, shape in stored_shapes(find_weight_files(place)).items()
            }
        return {key: size for key, size in sizes.items() if not key.startswith("lm_head.")}


def _sizes_in_memory(network: nn.Module, dtype: torch.dtype) -> dict[str, int]:
    if is_quantized(network):
        return {key: num_bytes([tensor]) for key, tensor in network.state_dict().items()}
    state: Mapping[str, Any] = network.state_dict()
    return {key: tensor.numel() * dtype.itemsize for key, tensor in state.items()}


def _size(
    key: str, shape: tuple[int, ...], component: str, kept_as: QuantFormat, dtype: torch.dtype
) -> int:
    own = key.removeprefix("model.")  # language models are published inside a larger one
    if kept_as != "none" and takes_format(own, len(shape), component):
        out, width = shape
        return weight_bytes(kept_as, (out, width))
    return prod(shape) * dtype.itemsize


def _refuse_twice(folder: Path, part: str, kept_as: str) -> None:
    method = stored_method(folder)
    if method is not None:
        raise InvalidRequest(
            f"quantize asks for {part}={kept_as}, but {folder} is stored quantised with {method} "
            "and is used as it is; leave it out, or name the original weights"
        )
