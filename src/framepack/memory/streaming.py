"""Weights that lie in host memory or in a file and come to the device for one block at a time.

It is attached from outside: each block's ``forward`` is wrapped, and while it runs its parameters
are views of a buffer on the device. All weights of a block are one piece of host memory, so that
one copy brings them; on CUDA that memory is pinned and a side stream copies the next block while
this one computes. Nothing is ever copied back: the host's weights are the originals.

Between two runs the parameters are the host's. Keys of the state dict, shapes and values stay.
"""

import functools
import logging
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from diffusers.models.attention import AttentionModuleMixin
from torch import Tensor, nn

from framepack.domain.errors import InvalidRequest
from framepack.memory.placement import NUM_BUFFERS, NetworkSize

__all__ = ["Streamer", "block_of"]

logger = logging.getLogger(__name__)

_ALIGNMENT = 256  # bytes; what vector units and copies like, whatever lies before


def block_of(name: str) -> str | None:
    """The block that a tensor belongs to, by its key: up to the first number; None outside."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: index + 1])
    return None


class Streamer:
    """Streams a network's blocks, or all its layers, through two buffers on a device.

    Building it moves the weights into its own host memory; LoRAs are merged before that, or
    between :meth:`release` and :meth:`bring`.

    Args:
        network: on the CPU, with its weights.
        device: where it computes.
        by: "block" for the members of its lists of layers, the rest being on the device all the
            time; "layer" for every layer by itself, an attention counting as one.
        from_disk: leave the weights where they are, which is in a mapped file, and read them
            from there each time.
        dtype: what floating weights become on the way to the device; None leaves their own.

    Raises:
        InvalidRequest: the network has adapters (PEFT) that are not merged.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        *,
        by: Literal["block", "layer"] = "block",
        from_disk: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        _refuse_adapters(network)
        self._network = network
        self._device = device
        names = _blocks(network) if by == "block" else _layers(network)
        self._names = names
        taken: set[int] = set()
        self._units = [
            _Piece.of(network.get_submodule(name).modules(), taken, dtype) for name in names
        ]
        self._rest = _Piece.of(network.modules(), taken, dtype)
        if not from_disk:
            for piece in (*self._units, self._rest):
                piece.gather(is_pinned=device.type == "cuda")
        self._resident: frozenset[int] = frozenset()
        self._buffers: list[_Buffer] = []
        self._held: list[Tensor] = []
        self._current: int | None = None
        self._last: int | None = None
        self._next: dict[int, int] = {}
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._unwrap = [
            undo
            for index, name in enumerate(names)
            for undo in self._wrap(index, network.get_submodule(name))
        ]

    def size(self, name: str, working_bytes: int = 0) -> NetworkSize:
        """What it takes, for the planner; the largest layer is the largest unit."""
        units = tuple(unit.num_bytes for unit in self._units)
        rest, largest = self._rest.num_bytes, max(units, default=0)
        return NetworkSize(name, rest, units, largest, working_bytes)

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Numbers of blocks by their names, which may have a prefix as in published files."""
        return [
            index
            for index, own in enumerate(self._names)
            if any(name == own or name.endswith(f".{own}") for name in names)
        ]

    @property
    def device_bytes(self) -> int:
        """Memory it has on the device now."""
        buffers = sum(buffer.memory.numel() for buffer in self._buffers)
        return buffers + sum(memory.numel() for memory in self._held)

    @property
    def is_brought(self) -> bool:
        """Whether the network can run."""
        return bool(self._buffers or self._held)

    def bring(self, resident: Collection[int] = ()) -> None:
        """Put the rest, the resident blocks and the buffers on the device.

        Args:
            resident: numbers of the blocks that stay there until :meth:`release`.
        """
        self.release()
        self._resident = frozenset(resident)
        with torch.inference_mode(False):
            for piece in (self._rest, *(self._units[index] for index in sorted(resident))):
                memory = torch.empty(piece.num_bytes, dtype=torch.uint8, device=self._device)
                piece.copy_to(memory)
                piece.bind(memory)
                self._held.append(memory)
            streamed = [i for i in range(len(self._units)) if i not in self._resident]
            largest = max((self._units[index].num_bytes for index in streamed), default=0)
            for _ in range(min(NUM_BUFFERS, len(streamed))):
                memory = torch.empty(largest, dtype=torch.uint8, device=self._device)
                self._buffers.append(_Buffer(memory))
        # The order of the network's own lists, until it is seen to run in another.
        self._next = dict(pairwise(streamed))
        if streamed:
            self._next[streamed[-1]] = streamed[0]
        if self._device.type == "cuda":
            # What follows on the side stream uses memory that this stream has just made.
            torch.cuda.synchronize(self._device)

    def release(self) -> None:
        """Free the device: the parameters are the host's again, as they were."""
        if self._device.type == "cuda" and self.is_brought:
            torch.cuda.synchronize(self._device)
        for piece in (*self._units, self._rest):
            piece.rest()
            piece.views.clear()
        self._buffers.clear()
        self._held.clear()
        self._resident = frozenset()
        self._current = self._last = None

    def close(self) -> None:
        """Give the network back as it was, in host memory."""
        self.release()
        for undo in self._unwrap:
            undo()
        self._unwrap = []
        for piece in (*self._units, self._rest):
            piece.unpin()

    # --- while the network runs --------------------------------------------------------------

    def _wrap(self, index: int, module: nn.Module) -> Iterator[Callable[[], object]]:
        """Bring a unit whenever it, or a part of it from outside of it, is called."""
        for part in (module, *module.children()):
            own = part.__dict__.get("forward")
            part.forward = self._bringing(index, part.forward)
            yield functools.partial(_put_back, part, own)

    def _bringing(self, index: int, plain: Callable[..., Any]) -> Callable[..., Any]:
        """A forward with the weights of a unit on the device."""

        @functools.wraps(plain)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if index in self._resident or not self.is_brought or self._current == index:
                return plain(*args, **kwargs)
            with self._using(index):
                return plain(*self._here(args), **self._here(kwargs))

        return forward

    @contextmanager
    def _using(self, index: int) -> Iterator[None]:
        """Have a unit's parameters on the device inside the block."""
        unit = self._units[index]
        buffer = self._holding(index) or self._fetch(index)
        if buffer.ready is not None:
            torch.cuda.current_stream(self._device).wait_event(buffer.ready)
        unit.bind(buffer.memory)
        before, self._current = self._current, index
        if self._last is not None and self._last != index:
            self._next[self._last] = index
        self._last = index
        following = self._next.get(index, index)
        if self._holding(following) is None:
            self._fetch(following)  # while this one computes
        try:
            yield
        finally:
            self._current = before
            if self._side is not None:
                buffer.done = torch.cuda.current_stream(self._device).record_event()
            unit.rest()

    def _holding(self, index: int) -> "_Buffer | None":
        return next((buffer for buffer in self._buffers if buffer.holds == index), None)

    def _fetch(self, index: int) -> "_Buffer":
        """Copy a unit into a buffer that no running unit uses."""
        buffer = next(
            each for each in self._buffers if self._current is None or each.holds != self._current
        )
        buffer.holds = index
        if self._side is None:
            self._units[index].copy_to(buffer.memory)
            return buffer
        with torch.cuda.stream(self._side):
            if buffer.done is not None:
                self._side.wait_event(buffer.done)
            self._units[index].copy_to(buffer.memory)
            buffer.ready = self._side.record_event()
        return buffer

    def _here(self, values: Any) -> Any:
        """Arguments on the device; callers ask resting weights where they are, and that is the
        host."""
        if isinstance(values, Tensor):
            return values if values.device == self._device else values.to(self._device)
        if isinstance(values, tuple):
            return tuple(map(self._here, values))
        if type(values) is dict:
            return {name: self._here(value) for name, value in values.items()}
        return values


@dataclass(eq=False)
class _Buffer:
    """Memory on the device for one unit.

    Attributes:
        memory: uint8.
        holds: number of the unit whose weights are in it, or on their way.
        ready: CUDA event after the copy.
        done: CUDA event after the last run that read it.
    """

    memory: Tensor
    holds: int | None = None
    ready: Any = None
    done: Any = None


@dataclass
class _Place:
    """A tensor of the network: the table of its module, its name there, its bytes in a piece."""

    table: dict[str, Any]
    name: str
    home: Tensor
    offset: int
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        return self.home.numel() * self.dtype.itemsize

    def put(self, tensor: Tensor) -> None:
        self.table[self.name] = tensor


@dataclass(eq=False)
class _Piece:
    """Weights that come and go together, one after the other in one piece of memory."""

    places: list[_Place]
    num_bytes: int
    slab: Tensor | None = None
    views: dict[int, list[Tensor]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, modules: Iterable[nn.Module], taken: set[int], dtype: torch.dtype | None
    ) -> "_Piece":
        """The tensors of modules, those that another piece has taken left out."""
        places: list[_Place] = []
        offset = 0
        for module in modules:
            if id(module) in taken:
                continue
            taken.add(id(module))
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is None:
                        continue
                    wanted = dtype if dtype and tensor.is_floating_point() else tensor.dtype
                    place = _Place(table, name, tensor, offset, wanted)
                    places.append(place)
                    offset += -(-place.num_bytes // _ALIGNMENT) * _ALIGNMENT
        return cls(places, offset)

    def gather(self, *, is_pinned: bool) -> None:
        """Copy the tensors into one piece of host memory, which is their home from now on."""
        with torch.inference_mode(False), torch.no_grad():
            slab = torch.empty(self.num_bytes, dtype=torch.uint8)
            self.slab = _pinned(slab) if is_pinned and self.num_bytes else slab
            for place in self.places:
                view = _view(self.slab, place)
                view.copy_(place.home)
                place.home = _like(view, place.home)
        self.rest()

    def copy_to(self, memory: Tensor) -> None:
        """Copy the weights into memory on the device, or queue it."""
        if self.slab is not None:
            memory[: self.num_bytes].copy_(self.slab, non_blocking=True)
            return
        for place in self.places:
            _view(memory, place).copy_(place.home)

    def bind(self, memory: Tensor) -> None:
        """Have the parameters be views of memory that holds the weights."""
        key = memory.data_ptr()
        if key not in self.views:
            with torch.inference_mode(False):
                self.views[key] = [_like(_view(memory, place), place.home) for place in self.places]
        for place, view in zip(self.places, self.views[key], strict=True):
            place.put(view)

    def rest(self) -> None:
        """Have the parameters be the host's."""
        for place in self.places:
            place.put(place.home)

    def unpin(self) -> None:
        """Let the system move the host memory again."""
        if self.slab is not None and hasattr(self.slab, "_unpin"):
            self.slab._unpin()


def _view(memory: Tensor, place: _Place) -> Tensor:
    data = memory[place.offset : place.offset + place.num_bytes]
    return data.view(place.dtype).view(place.home.shape)


def _like(tensor: Tensor, model: Tensor) -> Tensor:
    """A parameter if the model is one."""
    return nn.Parameter(tensor, requires_grad=False) if isinstance(model, nn.Parameter) else tensor


def _blocks(network: nn.Module) -> list[str]:
    """Names of the members of the network's outermost lists, in order."""
    names = [name for name, _ in (*network.named_parameters(), *network.named_buffers())]
    return list(dict.fromkeys(block for name in names if (block := block_of(name)) is not None))


def _layers(network: nn.Module, prefix: str = "") -> list[str]:
    """Names of the smallest modules whose weights are read by nobody but themselves."""
    found = []
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        owns = any(t is not None for t in (*child._parameters.values(), *child._buffers.values()))
        if owns or (isinstance(child, AttentionModuleMixin) and hasattr(child, "to_q")):
            found.append(path)
        else:
            found += _layers(child, f"{path}.")
    return found


def _put_back(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    """Undo a wrap; None where the class's own forward was in use."""
    module.__dict__.pop("forward", None)
    if forward is not None:
        module.forward = forward


def _refuse_adapters(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if hasattr(module, "base_layer") and hasattr(module, "lora_A"):
            raise InvalidRequest(
                f"{name} has a LoRA adapter that is not merged, and streamed weights would leave "
                "it behind; merge it (fuse_lora and unload_lora_weights), or give --lora"
            )


def _pinned(memory: Tensor) -> Tensor:
    """The same memory, fixed in place so that copies to the device need not wait.

    torch's own allocator for pinned memory rounds each piece up to a power of two.
    """
    runtime: Any = torch.cuda.cudart()
    code = int(runtime.cudaHostRegister(memory.data_ptr(), memory.numel(), 0))
    if code != 0:
        logger.warning("host memory cannot be pinned (CUDA error %d): copies are slower", code)
        return memory
    memory._unpin = weakref.finalize(  # type: ignore[attr-defined]
        memory, runtime.cudaHostUnregister, memory.data_ptr()
    )
    return memory
