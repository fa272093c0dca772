"""Weights that lie in host memory or in a file and come to the device for one block at a time.

It is attached from outside: each block's ``forward`` is wrapped, and while it runs its parameters
are views of a buffer on the device. All weights of a block are one piece of host memory, so that
one copy brings them; on CUDA that memory is pinned and a side stream copies the next block while
this one computes. Nothing is ever copied back: the host's weights are the originals.

What makes modulation vectors of the conditioning vector is a piece by itself: its results are kept
for as long as that vector is, and then need not be brought with their block.

Between two runs the parameters are the host's. Keys of the state dict, shapes and values stay.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from diffusers.models.attention import AttentionModuleMixin
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from framepack.domain.errors import InvalidRequest
from framepack.memory.pieces import Piece
from framepack.memory.placement import NUM_BUFFERS, NetworkSize
from framepack.models.blocks import FramePackSingleTransformerBlock, FramePackTransformerBlock
from framepack.models.fused import projections
from framepack.models.streamed import mark, mark_block, unmark

__all__ = ["Streamer", "block_of"]

_REST = -1  # stands for the weights outside all units where those have numbers


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
        self._names = _blocks(network) if by == "block" else []
        tabled = [(name,) for name in _tabled(network)]
        parts = [*((n,) for n in self._names), *tabled] if by == "block" else _layers(network)
        modules = [tuple(map(network.get_submodule, names)) for names in parts]
        self._num_blocks = len(self._names) if by == "block" else len(parts)
        self._units, self._rest = _pieces(network, modules, self._num_blocks, dtype)
        if not from_disk:
            for piece in (*self._units, self._rest):
                piece.gather(is_pinned=device.type == "cuda")
        self._tables = {i: WeakIdKeyDictionary() for i, each in enumerate(parts) if each in tabled}
        self._resident: frozenset[int] = frozenset()
        self._buffers: list[_Buffer] = []
        self._held: dict[int, Tensor] = {}
        self._active: list[int] = []
        self._last: int | None = None
        self._next: dict[int, int] = {}
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._unwrap = list(self._wrap(modules))

    def size(self, name: str, working_bytes: int = 0) -> NetworkSize:
        """What it takes, for the planner; the largest layer is the largest unit."""
        units = [unit.num_bytes for unit in self._units]
        blocks, tabled = units[: self._num_blocks], units[self._num_blocks :]
        return NetworkSize(
            name,
            self._rest.num_bytes,
            tuple(blocks),
            max(units, default=0),
            working_bytes,
            tabled_bytes=sum(tabled),
            tabled_layer_bytes=max(tabled, default=0),
        )

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
        return buffers + sum(memory.numel() for memory in self._held.values())

    @property
    def is_brought(self) -> bool:
        """Whether the network can run."""
        return bool(self._buffers or self._held)

    @property
    def resident(self) -> frozenset[int]:
        """Numbers of the blocks that stay on the device."""
        return self._resident

    def bring(self, resident: Collection[int] = ()) -> None:
        """Put the rest, the resident blocks and the buffers on the device.

        Args:
            resident: numbers of the blocks that stay there until :meth:`release`.
        """
        self.release()
        self._hold(_REST, self._rest)
        self.keep(resident)

    def keep(self, resident: Collection[int]) -> None:
        """Have other blocks stay on the device from now on; between two runs of the network.

        Args:
            resident: their numbers. Those that stay already are not copied again.
        """
        self._wait()
        wanted = frozenset(resident)
        for index in self._resident - wanted:
            unit = self._units[index]
            unit.rest()
            unit.views.clear()
            del self._held[index]
        blocks = [index for index in range(self._num_blocks) if index not in wanted]
        tabled = list(range(self._num_blocks, len(self._units)))
        self._make_buffers([self._units[index].num_bytes for index in (*blocks, *tabled)])
        for index in sorted(wanted - self._resident):
            self._hold(index, self._units[index])
        self._resident = wanted
        # The order of the network's own lists, until it is seen to run in another.
        self._next = dict(pairwise(blocks)) | dict(pairwise((*tabled, *blocks[:1])))
        if blocks:
            self._next[blocks[-1]] = blocks[0]
        # What follows on the side stream uses memory that this stream has just made.
        self._wait()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # what was given up is for other programs

    def _hold(self, index: int, piece: Piece) -> None:
        """Copy a piece to memory of its own on the device."""
        with torch.inference_mode(False):
            memory = torch.empty(piece.num_bytes, dtype=torch.uint8, device=self._device)
            piece.copy_to(memory)
            piece.bind(memory)
            self._held[index] = memory

    def _make_buffers(self, sizes: Sequence[int]) -> None:
        """Have buffers for the largest of what is streamed, empty ones."""
        largest, number = max(sizes, default=0), min(NUM_BUFFERS, len(sizes))
        if [buffer.memory.numel() for buffer in self._buffers] != [largest] * number:
            for unit in self._units:
                if unit not in (self._units[index] for index in self._resident):
                    unit.views.clear()  # of buffers that are no more
            self._buffers.clear()
        with torch.inference_mode(False):
            while len(self._buffers) < number:
                memory = torch.empty(largest, dtype=torch.uint8, device=self._device)
                self._buffers.append(_Buffer(memory))
        for buffer in self._buffers:
            buffer.holds = buffer.ready = buffer.done = None
        self._last = None

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def release(self) -> None:
        """Free the device: the parameters are the host's again, as they were."""
        if self.is_brought:
            self._wait()
        for piece in (*self._units, self._rest):
            piece.rest()
            piece.views.clear()
        for table in self._tables.values():
            table.clear()  # the weights may change
        self._buffers.clear()
        self._held.clear()
        self._resident = frozenset()
        self._last = None

    def close(self) -> None:
        """Give the network back as it was, in host memory."""
        self.release()
        for undo in self._unwrap:
            undo()
        self._unwrap = []
        for piece in (*self._units, self._rest):
            piece.unpin()

    # --- while the network runs --------------------------------------------------------------

    def _wrap(self, units: Sequence[tuple[nn.Module, ...]]) -> Iterator[Callable[[], object]]:
        """Bring a unit whenever it, or a part of it from outside of it, is called."""
        streams = [_Stream(self, index) for index in range(len(units))]
        roots = {id(root): index for index, unit in enumerate(units) for root in unit}
        for index, unit in enumerate(units):
            for part in (part for root in unit for part in (root, *root.children())):
                if roots.get(id(part), index) != index:
                    continue  # has weights that are brought by themselves
                own = part.__dict__.get("forward")
                wrap = self._remembering if id(part) in roots else self._bringing
                forward: Any = wrap(index, part.forward)
                forward.only_brings = own is None
                part.forward = forward
                mark(part, streams[index])
                yield functools.partial(_put_back, part, own)
        for block in _framepack_blocks(self._network):
            inside = {roots[id(part)] for part in block.modules() if id(part) in roots}
            mark_block(block, [streams[index] for index in sorted(inside)])
            yield functools.partial(unmark, block)

    def _bringing(self, index: int, plain: Callable[..., Any]) -> Callable[..., Any]:
        """A forward with the weights of a unit on the device."""

        @functools.wraps(plain)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._is_here(index):
                return plain(*args, **kwargs)
            with self._using(index):
                return plain(*self._here(args), **self._here(kwargs))

        return forward

    def _remembering(self, index: int, plain: Callable[..., Any]) -> Callable[..., Any]:
        """The same; where results are kept in a table, without the weights if it has them."""
        brought, table = self._bringing(index, plain), self._tables.get(index)
        if table is None:
            return brought

        @functools.wraps(plain)
        def forward(temb: Tensor) -> Any:
            if not self.is_brought:
                return brought(temb)  # weights may change now
            if temb not in table:
                table[temb] = brought(temb)
            return table[temb]

        return forward

    def _is_here(self, index: int) -> bool:
        """Whether a unit's weights need not be brought."""
        return index in self._resident or index in self._active or not self.is_brought

    def here(self, index: int) -> AbstractContextManager[None]:
        """Have a unit's weights on the device inside the block."""
        return nullcontext() if self._is_here(index) else self._using(index)

    @contextmanager
    def shown(self, index: int) -> Iterator[None]:
        """Have a unit's parameters be views of a buffer, whatever it holds."""
        is_here = self._is_here(index)
        if not is_here:
            self._units[index].bind(self._buffers[0].memory)
        try:
            yield
        finally:
            if not is_here:
                self._units[index].rest()

    @contextmanager
    def _using(self, index: int) -> Iterator[None]:
        unit = self._units[index]
        buffer = self._holding(index) or self._fetch(index)
        assert buffer is not None, "more units are at work than there are buffers"
        if buffer.ready is not None:
            torch.cuda.current_stream(self._device).wait_event(buffer.ready)
        unit.bind(buffer.memory)
        self._active.append(index)
        if self._last is not None and self._last != index:
            self._next[self._last] = index
        self._last = index
        following = self._next.get(index, index)
        if not self._is_here(following) and self._holding(following) is None:
            self._fetch(following)  # while this one computes
        try:
            yield
        finally:
            self._active.remove(index)
            if self._side is not None:
                buffer.done = torch.cuda.current_stream(self._device).record_event()
            unit.rest()

    def _holding(self, index: int) -> "_Buffer | None":
        return next((buffer for buffer in self._buffers if buffer.holds == index), None)

    def _fetch(self, index: int) -> "_Buffer | None":
        """Copy a unit into a buffer that no running unit uses; None if all are in use."""
        free = [each for each in self._buffers if each.holds not in self._active]
        if not free:
            return None
        # What ran last is needed later than what was brought ahead of its time.
        buffer = next((each for each in free if each.holds == self._last), free[0])
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


@dataclass(frozen=True, eq=False)
class _Stream:
    """One unit of a streamer, as a network's own code knows it (``models.streamed``)."""

    streamer: Streamer
    index: int

    def here(self) -> AbstractContextManager[None]:
        return self.streamer.here(self.index)

    def shown(self) -> AbstractContextManager[None]:
        return self.streamer.shown(self.index)


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


def _pieces(
    network: nn.Module,
    units: Sequence[tuple[nn.Module, ...]],
    num_blocks: int,
    dtype: torch.dtype | None,
) -> tuple[list[Piece], Piece]:
    """The weights of each unit, and those of none; a block has what other units leave of it."""
    taken: set[int] = set()
    runs = [run for block in _framepack_blocks(network) for run in projections(block)]
    found: dict[int, Piece] = {}
    for index in (*range(num_blocks, len(units)), *range(num_blocks)):
        inside = (module for root in units[index] for module in root.modules())
        found[index] = Piece.of(inside, taken, dtype, runs)
    return [found[index] for index in range(len(units))], Piece.of(network.modules(), taken, dtype)


def _blocks(network: nn.Module) -> list[str]:
    """Names of the members of the network's outermost lists, in order."""
    names = [name for name, _ in (*network.named_parameters(), *network.named_buffers())]
    return list(dict.fromkeys(block for name in names if (block := block_of(name)) is not None))


def _framepack_blocks(network: nn.Module) -> list[Any]:
    """The blocks that may run fused, in order."""
    kinds = FramePackTransformerBlock, FramePackSingleTransformerBlock
    return [module for module in network.modules() if isinstance(module, kinds)]


def _tabled(network: nn.Module) -> list[str]:
    """Names of the parts of blocks that read the conditioning vector alone."""
    kinds = FramePackTransformerBlock, FramePackSingleTransformerBlock
    return [
        f"{name}.{part}"
        for name, block in network.named_modules()
        if isinstance(block, kinds)
        for part in block.tabled
    ]


def _layers(network: nn.Module, prefix: str = "") -> list[tuple[str, ...]]:
    """Names of the smallest modules whose weights are read by nobody but themselves.

    In a block that may run fused they are those that it reads at the same time.
    """
    found: list[tuple[str, ...]] = []
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        owns = any(t is not None for t in (*child._parameters.values(), *child._buffers.values()))
        if isinstance(child, FramePackTransformerBlock | FramePackSingleTransformerBlock):
            found += [tuple(f"{path}.{part}" for part in parts) for parts in child.layers]
        elif owns or (isinstance(child, AttentionModuleMixin) and hasattr(child, "to_q")):
            found.append((path,))
        else:
            found += _layers(child, f"{path}.")
    return found


def _put_back(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    """Undo a wrap; None where the class's own forward was in use."""
    unmark(module)
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
