"""Where a model's networks are: in memory when they are first needed, on the device while in use.

One scheme serves every device: what fits stays. When the next network does not fit beside the
others, those not used for longest make room. One that does not fit even alone is streamed, block
by block. ``Settings.offload`` asks for one of these ways, and a budget for less of the device.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from framepack.domain.errors import InvalidRequest
from framepack.memory.placement import NetworkPlacement, NetworkSize, PlacementError
from framepack.models.tensor_parts import moved
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.component_files import load_network, load_quantized
from framepack.pipeline.device import DeviceMemoryError, memory_bytes
from framepack.pipeline.execution import Execution
from framepack.pipeline.offloading import (
    MemoryLimits,
    Slot,
    measure,
    place_streamed,
    stored_bytes,
)
from framepack.pipeline.quantizing import Quantization
from framepack.pipeline.run_loras import RunLoras
from framepack.weights.lora import LoraFile

__all__ = ["NETWORKS", "LoadProgress", "Networks"]

logger = logging.getLogger(__name__)

LoadProgress = Callable[[str], None]
"""Called with a component's name when its files begin to be read."""

# Networks that are needed at the same time and so come and go together, in order of use.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "text": ("text_encoder", "text_encoder_2"),
    "vision": ("image_encoder",),
    "vae": ("vae",),
    "transformer": ("transformer",),
}
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}

NETWORKS = frozenset(_GROUP_OF)
"""Components that are networks; the others read text and pictures for them."""

# These alternate in every section: reading them from disk each time would be slow.
_KEPT_ON_HOST = frozenset({"vae", "transformer"})
_HOST = torch.device("cpu")


class Networks:
    """The networks of one model, each brought to the device when it is asked for.

    Args:
        title: of the model, for messages.
        folders: network to folder; empty where networks were handed over by :meth:`adopt`.
        device: where they run.
        dtypes: number format by network.
        memory_share: of the device's memory, that is reckoned with.
        limits: how much of the device, and in which ways.
        progress: told each network's name as it is read.
        execution: how the transformer computes; as it is set by others when None.
        quantization: which of them are quantised, and how.

    Attributes:
        dtypes: number format by network, of what is not quantised.
        quantization: which networks are quantised, and how.
        slots: where each group of networks is.
    """

    def __init__(
        self,
        title: str,
        folders: Mapping[str, Path],
        device: torch.device,
        dtypes: Mapping[str, torch.dtype],
        *,
        memory_share: float,
        limits: MemoryLimits,
        progress: LoadProgress,
        execution: Execution | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        self.quantization = quantization or Quantization()
        self.dtypes = dict(dtypes)
        self.slots = {group: Slot({}) for group in _GROUPS}
        self._title = title
        self._folders = folders
        self._device = device
        self._memory_share = memory_share
        self._limits = limits
        self._progress = progress
        self._section_tokens: int | None = None
        self._clock = 0
        self._loras = RunLoras()
        self._are_placed = False
        self._execution = execution

    def adopt(self, modules: Mapping[str, nn.Module], *, are_placed: bool) -> None:
        """Take networks that are in memory already, each with its own number format.

        Args:
            modules: one for every name of ``NETWORKS``.
            are_placed: each is where it belongs, or has hooks that bring it there; none is moved.
        """
        self._are_placed = are_placed
        for name, group in _GROUP_OF.items():
            module, slot = modules[name], self.slots[group]
            module.eval()
            slot.modules[name] = module if are_placed else moved(module, self._device)
            if name == "transformer" and not are_placed:
                _pack(module)
            slot.on_device = True
            self.dtypes[name] = next(module.parameters()).dtype

    def get(self, name: str, working_bytes: int = 0) -> Any:
        """A network, on the device, with room to work beside it if possible."""
        group = _GROUP_OF[name]
        slot = self.slots[group]
        if self._are_placed:
            return _brought_by_its_hook(slot.modules[name])
        self._clock += 1
        slot.last_used = self._clock
        if not slot.on_device:
            self._bring(group, self._make_room(group, self._needed_bytes(group), working_bytes))
        elif working_bytes:
            self._evict_for(group, working_bytes)
        if name == "transformer" and self._execution is not None:
            self._execution.apply(slot.modules[name], is_streamed=bool(slot.streamers))
        return slot.modules[name]

    def load(self, name: str) -> bool:
        """Read a network now if it fits beside the others; return whether it did."""
        if self._limits.is_exclusive:
            return True  # it would drive out the one before: it is read when it is used
        group = _GROUP_OF[name]
        if not self.slots[group].on_device and not self._fits(self._needed_bytes(group)):
            return False
        self.get(name)
        return True

    def expect(self, num_tokens: int) -> None:
        """Say how many tokens the sections to come have, which decides what may stay.

        Args:
            num_tokens: see ``offloading.section_tokens``.
        """
        slot = self.slots["transformer"]
        if num_tokens != self._section_tokens and slot.on_device and slot.streamers:
            self._evict(slot)  # comes back with as many resident blocks as fit now
        self._section_tokens = num_tokens

    def choose_execution(
        self, num_tokens: int, *, began_with: str | None = None, approximate: bool = False
    ) -> None:
        """Choose who computes attention in the run to come; see :meth:`Execution.choose`."""
        if self._execution is not None:
            self._execution.choose(num_tokens, began_with=began_with, approximate=approximate)

    @property
    def execution_record(self) -> Mapping[str, str]:
        """What of the transformer's way to compute changes roundings."""
        return self._execution.record if self._execution is not None else {}

    def place_anew(self, limits: MemoryLimits, memory_share: float) -> None:
        """Have all networks leave the device, to come back as other limits have it.

        Args:
            limits, memory_share: as for the class.
        """
        self._limits, self._memory_share = limits, memory_share
        if self._are_placed:
            return
        for slot in self.slots.values():
            if self._folders:
                self._drop(slot)  # whatever state a lack of memory left it in
            elif slot.on_device:
                self._evict(slot)

    def follow_memory(self) -> None:
        """Between two steps: give up resident blocks if others took memory, or take some back."""
        slot = self.slots["transformer"]
        if slot.on_device and slot.elastic:
            slot.follow_memory(self.free()[0])

    def make_working_room(self, num_bytes: int) -> None:
        """Have so much of the device free if possible, for work beside the networks."""
        if not self._are_placed:
            self._evict_for("", num_bytes)

    @contextmanager
    def with_loras(
        self, loras: Sequence[tuple[LoraFile, float]], *, are_weighed: bool = False
    ) -> Iterator[None]:
        """Have LoRAs merged into the transformer inside the block, and none after it.

        Where there are files the merged network is dropped at the end and read again when it
        is needed, which spares the memory for a second copy; else its weights are put back.

        Args:
            loras: files and their weights.
            are_weighed: ``weigh_loras`` will be called, for which the weights are kept.

        A quantised transformer is read again with other LoRAs or weights, because they are merged
        before it is quantised.

        Raises:
            InvalidRequest: one does not fit the transformer, or that is stored quantised.
        """
        slot = self.slots["transformer"]
        self._refuse_merging(loras)
        is_read_again = bool(loras) and self.quantization.is_quantized("transformer")
        keeps = (are_weighed or not self._folders) and not is_read_again
        self._loras = RunLoras(loras, keeps_originals=keeps)
        if is_read_again:
            self._drop(slot)
        if loras and slot.streamers:
            self._evict(slot)  # they are merged where the weights rest
            if slot.is_from_disk:
                slot.forget()
        if slot.on_device:
            self._loras.merge(slot.modules["transformer"])
        try:
            yield
        finally:
            used, self._loras = self._loras, RunLoras()
            if slot.streamers and used.is_merged:
                self._evict(slot)
            if used.keeps_originals:
                used.remove()
            elif used.is_merged:
                slot.forget()
                slot.on_device = False

    def weigh_loras(self, weights: Sequence[float]) -> None:
        """Give the LoRAs other weights inside the block of ``with_loras``.

        Args:
            weights: one for each, in order.
        """
        if self.quantization.is_quantized("transformer"):
            if tuple(weights) != tuple(weight for _, weight in self._loras.loras):
                self._drop(self.slots["transformer"])
                self._loras.weigh(weights)
            return
        self.get("transformer")  # on another device sums would round differently
        if self.slots["transformer"].streamers:
            self._evict(self.slots["transformer"])
        self._loras.weigh(weights)

    def _bring(self, group: str, placed: Mapping[str, NetworkPlacement]) -> None:
        """Load a group, or move it from host memory, to the device.

        Args:
            group: it.
            placed: those of its networks that are streamed.
        """
        slot = self.slots[group]
        for name in _GROUPS[group]:
            if name in placed:
                self._stream(slot, name, placed[name])
                continue
            slot.stop_streaming(name)
            if name in slot.modules:
                slot.modules[name] = moved(slot.modules[name], self._device)
            else:
                self._progress(name)
                logger.info("loading %s from %s", name, self._folders[name])
                slot.modules[name] = self._read(name, self._device)
            if name == "transformer" and not self.quantization.is_quantized(name):
                _pack(slot.modules[name])
                self._loras.merge(slot.modules[name])
        slot.on_device = True

    def _stream(self, slot: Slot, name: str, placement: NetworkPlacement) -> None:
        """Have a network's blocks or layers come to the device when they run."""
        slot.prepare(name, placement)
        if name not in slot.modules:
            self._progress(name)
            logger.info("reading %s from %s, to be streamed", name, self._folders[name])
            # Where LoRAs are merged, they are added in the number format that is computed in.
            is_merged = name == "transformer" and bool(self._loras.loras)
            as_stored = placement.from_disk and not is_merged
            slot.modules[name] = self._read(name, _HOST, as_stored=as_stored)
        if name not in slot.streamers:
            slot.modules[name] = moved(slot.modules[name], _HOST)
        is_quantized = self.quantization.is_quantized(name)
        if name == "transformer" and not is_quantized:
            self._loras.merge(slot.modules[name])
        dtype = None if is_quantized else self.dtypes[name]  # scales have their own
        slot.stream(name, placement, self._device, dtype, self.free()[0])

    def _read(self, name: str, device: torch.device, *, as_stored: bool = False) -> nn.Module:
        """A network from its files, quantised if that is asked for.

        Args:
            name: it.
            device: where it goes.
            as_stored: leave tensors in the number format of the files.
        """
        folder, dtype = self._folders[name], self.dtypes[name]
        kept_as = self.quantization.format_of(name)
        if kept_as != "none":
            merge = self._loras.merge if name == "transformer" and self._loras.loras else None
            return load_quantized(name, folder, dtype, device, kept_as=kept_as, prepare=merge)
        as_stored = as_stored and not self.quantization.is_quantized(name)
        return load_network(name, folder, None if as_stored else dtype, device)

    def _refuse_merging(self, loras: Sequence[tuple[LoraFile, float]]) -> None:
        if loras and "transformer" in self.quantization.stored:
            raise InvalidRequest(
                f"LoRAs are merged before quantising, and the transformer of {self._title} is "
                "stored quantised; use the original weights and --quantize"
            )

    def _drop(self, slot: Slot) -> None:
        """Have a network read from its files when it is needed again."""
        slot.forget()
        slot.on_device = False
        if self.slots["transformer"] is slot:
            self._loras.forget()

    def _make_room(
        self, group: str, needed_bytes: int, working_bytes: int
    ) -> Mapping[str, NetworkPlacement]:
        """Have room for a group, and if possible working memory beside it.

        Returns:
            Those of its networks that must be streamed, by name.

        Raises:
            DeviceMemoryError: it does not fit in any way that is allowed.
        """
        limits, slot = self._limits, self.slots[group]
        if limits.offload != "none":
            self._evict_for(
                group, sys.maxsize if limits.is_exclusive else needed_bytes + working_bytes
            )
        if limits.allows_whole and self._fits(needed_bytes):
            return {}
        host_free, _ = memory_bytes(_HOST)
        free, total = self.free()
        sizes = [self._size(name) for name in _GROUPS[group]]
        try:
            self._refuse_streaming(group)
            placed = place_streamed(limits, self._device, sizes, free, host_free + slot.host_bytes)
            self._refuse_left_in_file(placed)
            return placed
        except PlacementError as error:
            raise DeviceMemoryError(
                f"the {group} of {self._title} needs {needed_bytes / 1e9:.1f} GB with working "
                f"memory; {self._device} has {max(free, 0) / 1e9:.1f} of {total / 1e9:.1f} GB free "
                f"for it{error}. Free or allow more memory there, use a larger device or a smaller "
                "size, --offload sequential, --device cpu with enough RAM, or --model tiny"
            ) from error

    def _refuse_streaming(self, group: str) -> None:
        """What cannot be streamed is on the device as a whole or not at all."""
        for name in _GROUPS[group]:
            if self.quantization.stays_whole(name):
                kept_as = self.quantization.format_of(name)
                raise PlacementError(f"; in {kept_as} it cannot be streamed")

    def _refuse_left_in_file(self, placed: Mapping[str, NetworkPlacement]) -> None:
        """What is quantised as it is read is in memory from then on."""
        for name, placement in placed.items():
            if placement.from_disk and self.quantization.leaves_its_file(name):
                raise PlacementError(
                    "; disk: what is quantised, or from a GGUF file, cannot stay in its file"
                )

    def _evict_for(self, group: str, needed_bytes: int) -> None:
        """Move the longest unused groups away until enough is free or none is left."""
        others = [slot for name, slot in self.slots.items() if name != group and slot.on_device]
        _, total = self.free()
        left_out = int(total * (1 - self._memory_share))
        for slot in sorted(others, key=lambda slot: slot.last_used):
            if self._fits(needed_bytes + left_out):
                return
            self._evict(slot)

    def _evict(self, slot: Slot) -> None:
        alternates = bool(_KEPT_ON_HOST & slot.modules.keys())
        keep = self._device.type != "cpu" and alternates
        host_free, _ = memory_bytes(torch.device("cpu"))
        if slot.streamers and (alternates or not self._folders):
            slot.release()
        elif not self._folders or (keep and stored_bytes(slot.modules) < 0.8 * host_free):
            for name, module in slot.modules.items():
                slot.modules[name] = moved(module, "cpu")
        else:
            slot.forget()  # read from disk again when they are needed again
            if self.slots["transformer"] is slot:
                self._loras.forget()
        slot.on_device = False

    def _fits(self, needed_bytes: int) -> bool:
        return needed_bytes <= self.free()[0]

    def free(self) -> tuple[int, int]:
        """Free and total bytes of the device that may be used."""
        held = sum(slot.held_bytes for slot in self.slots.values())
        return self._limits.apply(*memory_bytes(self._device), held)

    def _needed_bytes(self, group: str) -> int:
        """Weights of a group on the device, and what it takes to run them."""
        sizes = [self._size(name) for name in _GROUPS[group]]
        return sum(size.weight_bytes + size.working_bytes for size in sizes)

    def _size(self, name: str) -> NetworkSize:
        slot = self.slots[_GROUP_OF[name]]
        place = self._folders.get(name) or slot.modules[name]
        sizes = self.quantization.sizes(name, place, self.dtypes[name])
        return measure(name, place, self.dtypes[name], self._section_tokens, sizes=sizes)


def _pack(transformer: nn.Module) -> None:
    """Make passes faster, once the weights are where they stay."""
    if isinstance(transformer, FramePackTransformer3DModel):
        transformer.pack_projections()


def _brought_by_its_hook(module: nn.Module) -> nn.Module:
    """The module, on the device even where only a part of it is about to be called."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(module)
    return module
