"""How much of the device a model may take, and what is on it: for ``Components``."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from framepack.domain.choices import Offload
from framepack.domain.plan import Plan
from framepack.domain.settings import Settings
from framepack.memory.placement import (
    Mode,
    NetworkPlacement,
    NetworkSize,
    PlacementError,
    place_group,
    section_working_bytes,
)
from framepack.memory.streaming import Streamer, block_of
from framepack.memory.watermarks import Watermarks, follow
from framepack.models.spec import ModelSpec
from framepack.models.tensor_parts import num_bytes
from framepack.weights.checkpoint import find_weight_files, stored_shapes
from framepack.weights.locate import read_json

__all__ = [
    "MemoryLimits",
    "Slot",
    "limit_allocator",
    "measure",
    "place_streamed",
    "section_tokens",
    "stored_bytes",
]

logger = logging.getLogger(__name__)

_WORKING_SHARE = 0.15  # activations of a network in proportion to its weights
_MOST_ENCODING_BYTES = 500_000_000  # a whole prompt in Llama 8B takes 0.15 GB
_NEVER_BY_BLOCKS = frozenset({"vae"})  # half a GB, and its own tiles are what it needs
# Keys of a transformer's blocks: what reads the conditioning vector alone, and what counts as one
# layer; see FramePackTransformerBlock.tabled and layers.
_TABLED = re.compile(r"(?:^|\.)(?:single_)?transformer_blocks\.\d+\.(?:norm|norm1|norm1_context)\.")
_TOGETHER = re.compile(
    r"((?:^|\.)(?:single_)?transformer_blocks\.\d+\.)(attn|proj_mlp|ff|ff_context)\."
)
_VISION_TOKENS = 729  # of SigLIP so400m at 384 px


@dataclass(frozen=True)
class MemoryLimits:
    """What may be used.

    Attributes:
        offload: see ``Settings.offload``.
        budget_bytes: of the device; None for all of it.
        reserve_bytes: of the device, or of the budget, to be left alone.
    """

    offload: Offload = "auto"
    budget_bytes: int | None = None
    reserve_bytes: int = 0

    @classmethod
    def of(cls, settings: Settings, offload: Offload | None = None) -> Self:
        """Those of the settings, or with another way to place networks."""
        return cls(offload or settings.offload, settings.budget_bytes, settings.reserve_bytes)

    def apply(self, free: int, total: int, held: int) -> tuple[int, int]:
        """Free and total bytes that may be used.

        Args:
            free, total: of the device.
            held: what networks take of it now.
        """
        if self.budget_bytes is not None:
            free, total = min(free, self.budget_bytes - held), min(total, self.budget_bytes)
        return free - self.reserve_bytes, total - self.reserve_bytes

    @property
    def allows_whole(self) -> bool:
        """Whether a network may be on the device as a whole."""
        return self.offload in ("auto", "none", "model")

    @property
    def is_exclusive(self) -> bool:
        """Whether each network has the device to itself while it works."""
        return self.offload not in ("auto", "none")

    def ways(self, device: torch.device) -> tuple[Mode, ...]:
        """What is tried, in order, for networks that are not to be on the device as a whole."""
        if self.offload in ("none", "model"):
            return ()
        if self.offload != "auto":
            return (self.offload,)
        # On a CPU both sides of a copy are the same memory; only the file is elsewhere.
        return ("disk",) if device.type == "cpu" else ("balanced", "sequential")


@dataclass
class Slot:
    """Networks that come and go together: what is loaded, where it is, when it was used.

    Attributes:
        modules: by component; those that are not here must be read from disk.
        streamers: of those that are streamed.
        made_as: how these were made: by block or layer, and whether from disk.
        elastic: working memory of those whose resident blocks follow what is free, in bytes.
        calm: see ``memory.watermarks.follow``.
    """

    modules: dict[str, nn.Module]
    on_device: bool = False
    last_used: int = 0
    streamers: dict[str, Streamer] = field(default_factory=dict)
    made_as: dict[str, tuple[Literal["block", "layer"], bool]] = field(default_factory=dict)
    elastic: dict[str, int] = field(default_factory=dict)
    calm: int = 0

    @property
    def is_from_disk(self) -> bool:
        """Whether weights are left in their files."""
        return any(from_disk for _, from_disk in self.made_as.values())

    @property
    def held_bytes(self) -> int:
        """What it takes on the device now."""
        if not self.on_device:
            return 0
        whole = {n: module for n, module in self.modules.items() if n not in self.streamers}
        return stored_bytes(whole) + sum(each.device_bytes for each in self.streamers.values())

    @property
    def host_bytes(self) -> int:
        """What streamed weights take of the machine's memory now."""
        return stored_bytes({name: self.modules[name] for name in self.streamers})

    def prepare(self, name: str, placement: NetworkPlacement) -> None:
        """Drop a network that was made to be streamed in another way."""
        if name in self.streamers and self.made_as[name] != _manner(placement):
            self.stop_streaming(name)

    def stream(
        self,
        name: str,
        placement: NetworkPlacement,
        device: torch.device,
        dtype: torch.dtype | None,
        room_bytes: int,
    ) -> None:
        """Bring a network, which is in host memory, to the device as it is to be streamed.

        Raises:
            PlacementError: its layers, now known to the byte, do not fit.
        """
        if name not in self.streamers:
            by, from_disk = self.made_as[name] = _manner(placement)
            self.streamers[name] = Streamer(
                self.modules[name], device, by=by, from_disk=from_disk, dtype=dtype
            )
        if placement.form == "layers":
            size = self.streamers[name].size(name, placement.working_bytes)
            place_group([size], room_bytes, "group")
        streamer = self.streamers[name]
        streamer.bring(streamer.numbers(placement.resident_names))
        self.calm = 0
        self.elastic.pop(name, None)
        if placement.is_elastic:
            self.elastic[name] = placement.working_bytes

    def follow_memory(self, free_bytes: int) -> None:
        """Let resident blocks leave, or some come back, by what is free beside them."""
        for name, working_bytes in self.elastic.items():
            streamer = self.streamers.get(name)
            if streamer is None or not streamer.is_brought:
                continue
            size = streamer.size(name, working_bytes)
            marks, now = Watermarks.of(size), streamer.resident
            then, self.calm = follow(size, tuple(now), free_bytes, self.calm, marks)
            if now != frozenset(then):
                logger.info("%s: %d blocks stay from now on, not %d", name, len(then), len(now))
                streamer.keep(then)

    def stop_streaming(self, name: str) -> None:
        """Have a network whole again in host memory, or drop it if it never was there."""
        if name in self.streamers:
            _, from_disk = self.made_as[name]
            self.streamers.pop(name).close()
            if from_disk:
                self.forget(name)

    def release(self) -> None:
        """Have what is streamed leave the device; its weights in host memory stay."""
        for streamer in self.streamers.values():
            streamer.release()

    def forget(self, *names: str) -> None:
        """Drop networks, all of them unless some are named."""
        for name in names or tuple(self.modules):
            streamer = self.streamers.pop(name, None)
            if streamer is not None:
                streamer.close()
            self.modules.pop(name, None)
            self.made_as.pop(name, None)


def limit_allocator(device: torch.device, limits: MemoryLimits) -> None:
    """Have CUDA refuse what is beyond a budget, so that it is an error and never taken."""
    if device.type == "cuda" and limits.budget_bytes is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        room = min(limits.budget_bytes - limits.reserve_bytes, total)
        torch.cuda.set_per_process_memory_fraction(max(room / total, 0.0), device)


def measure(
    name: str,
    place: Path | nn.Module,
    dtype: torch.dtype,
    num_tokens: int | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
) -> NetworkSize:
    """What a network takes, from the headers of its files or from its tensors.

    Args:
        name: a component.
        place: its folder, or the network.
        dtype: number format it runs in.
        num_tokens: of a section, where that is known.
        sizes: bytes of each tensor by its key, where not all are in that number format.
    """
    if sizes is None:
        sizes = {key: count * dtype.itemsize for key, count in _counts(place).items()}
    rest, layers = 0, dict[str, int]()
    blocks: dict[str, int] = {}
    tabled: dict[str, int] = {}
    for key, tensor_bytes in sizes.items():
        block = None if name in _NEVER_BY_BLOCKS else block_of(key)
        if block is None:
            rest += tensor_bytes
        elif _TABLED.search(key):
            tabled[_layer_of(key)] = tabled.get(_layer_of(key), 0) + tensor_bytes
        else:
            blocks[block] = blocks.get(block, 0) + tensor_bytes
        layers[_layer_of(key)] = layers.get(_layer_of(key), 0) + tensor_bytes
    # Files have their tensors in any order; blocks run in that of their numbers.
    names = tuple(sorted(blocks, key=_number))
    in_blocks = tuple(blocks[block] for block in names)
    weights = rest + sum(in_blocks) + sum(tabled.values())
    working = int(weights * _WORKING_SHARE)
    if name == "transformer" and num_tokens is not None:
        working = section_working_bytes(num_tokens, _width(place), dtype.itemsize)
    elif name not in ("transformer", "vae"):
        working = min(working, _MOST_ENCODING_BYTES)
    return NetworkSize(
        name,
        rest,
        in_blocks,
        max(layers.values(), default=0),
        working,
        names,
        tabled_bytes=sum(tabled.values()),
        tabled_layer_bytes=max(tabled.values(), default=0),
    )


def place_streamed(
    limits: MemoryLimits,
    device: torch.device,
    sizes: Sequence[NetworkSize],
    room_bytes: int,
    host_bytes: int,
) -> dict[str, NetworkPlacement]:
    """Place networks that work side by side, the first way that is allowed and fits.

    Args:
        limits: what is allowed.
        device: where they work.
        sizes: of the networks.
        room_bytes: what they may take of the device.
        host_bytes: memory of the machine for weights that are streamed from it; where it is too
            small, those of the two large networks are read from their files instead.

    Returns:
        Those that are streamed, by name.

    Raises:
        PlacementError: none fits; says what each needed, or nothing if none is allowed.
    """
    weights = sum(size.weight_bytes for size in sizes)
    tried = []
    for way in limits.ways(device):
        is_short = way in ("balanced", "group", "sequential") and weights > host_bytes
        way = "disk" if is_short and way == "sequential" else way
        try:
            placed = place_group(sizes, room_bytes, way, from_disk=is_short)
        except PlacementError as error:
            tried.append(f"; {way}: {error}")
            continue
        for each in placed:
            logger.info("%s: %s, %d blocks stay", each.name, each.form, len(each.resident))
        return {each.name: each for each in placed if each.form != "whole"}
    raise PlacementError("".join(tried))


def section_tokens(plan: Plan, spec: ModelSpec) -> int:
    """Tokens that the transformer sees in a section: noisy, history, text and picture."""
    width, height = spec.geometry.latent_size(plan.width, plan.height)
    packed = spec.geometry.layout.tokens(height, width, plan.latent_window_size)
    return sum(packed.values()) + spec.prompt_template.pad_to + _VISION_TOKENS


def stored_bytes(modules: Mapping[str, nn.Module]) -> int:
    """Bytes of all weights."""
    return sum(num_bytes((*module.parameters(), *module.buffers())) for module in modules.values())


def _manner(placement: NetworkPlacement) -> tuple[Literal["block", "layer"], bool]:
    return "layer" if placement.form == "layers" else "block", placement.from_disk


def _counts(place: Path | nn.Module) -> dict[str, int]:
    """Numbers in each tensor, by key; a language model head is never used."""
    shapes: Mapping[str, Any]
    if isinstance(place, nn.Module):
        shapes = {name: tensor.shape for name, tensor in place.state_dict().items()}
    else:
        shapes = stored_shapes(find_weight_files(place))
    return {key: prod(shape) for key, shape in shapes.items() if not key.startswith("lm_head.")}


def _number(block: str) -> tuple[str, int]:
    path, _, number = block.rpartition(".")
    return path, int(number)


def _layer_of(key: str) -> str:
    """What ``sequential`` takes as one layer: a module with weights, or a whole attention."""
    if match := _TOGETHER.search(key):
        return key[: match.end(1)] + ("attn" if match[2] == "proj_mlp" else match[2])
    parts = key.split(".")
    return ".".join(parts[: parts.index("attn") + 1 if "attn" in parts else -1])


def _width(place: Path | nn.Module) -> int:
    """Token width of a transformer."""
    config: Any = place.config if isinstance(place, nn.Module) else None
    if config is None:
        assert isinstance(place, Path)
        config = read_json(place / "config.json")
    return int(config["num_attention_heads"]) * int(config["attention_head_dim"])
