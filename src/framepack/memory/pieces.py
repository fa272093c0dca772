"""Weights that come and go together, in one piece of memory."""

import logging
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from framepack.models.tensor_parts import is_composed, parts_of, with_parts

__all__ = ["Piece"]

logger = logging.getLogger(__name__)

_ALIGNMENT = 256  # bytes; what vector units and copies like, whatever lies before


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
        if is_composed(self.home):
            return sum(_aligned(part.nbytes) for part in parts_of(self.home))
        return self.home.numel() * self.dtype.itemsize

    def put(self, tensor: Tensor) -> None:
        self.table[self.name] = tensor


@dataclass(eq=False)
class Piece:
    """Weights that come and go together, one after the other in one piece of memory."""

    places: list[_Place]
    num_bytes: int
    slab: Tensor | None = None
    views: dict[int, list[Tensor]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        modules: Iterable[nn.Module],
        taken: set[int],
        dtype: torch.dtype | None,
        runs: Sequence[Sequence[nn.Module]] = (),
    ) -> "Piece":
        """The tensors of modules, those that another piece has taken left out.

        Args:
            modules: with all modules inside them.
            taken: ids of modules that have their piece; these are added.
            dtype: what floating parameters become on the way to the device; None leaves their
                own, as buffers' always is.
            runs: linear layers whose weights lie side by side, and their biases too.
        """
        places: dict[tuple[int, str], _Place] = {}
        for module in modules:
            if id(module) in taken:
                continue
            taken.add(id(module))
            for table, becomes in ((module._parameters, dtype), (module._buffers, None)):
                for name, tensor in table.items():
                    if tensor is not None:
                        wanted = becomes if tensor.is_floating_point() else None
                        wanted = wanted or tensor.dtype
                        places[id(table), name] = _Place(table, name, tensor, 0, wanted)
        ordered: list[_Place] = []
        offset = 0
        for run in (*_joined(places, runs), *([place] for place in places.values())):
            for place in run:
                place.offset = offset
                offset += place.num_bytes
            offset = _aligned(offset)
            ordered += run
        return cls(ordered, offset)

    def gather(self, *, is_pinned: bool) -> None:
        """Copy the tensors into one piece of host memory, which is their home from now on."""
        with torch.inference_mode(False), torch.no_grad():
            slab = torch.empty(self.num_bytes, dtype=torch.uint8)
            self.slab = _pinned(slab) if is_pinned and self.num_bytes else slab
            for place in self.places:
                view = _view(self.slab, place)
                _fill(view, place.home)
                place.home = _like(view, place.home)
        self.rest()

    def copy_to(self, memory: Tensor) -> None:
        """Copy the weights into memory on the device, or queue it."""
        if self.slab is not None:
            memory[: self.num_bytes].copy_(self.slab, non_blocking=True)
            return
        for place in self.places:
            _fill(_view(memory, place), place.home)

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


def _joined(
    places: dict[tuple[int, str], _Place], runs: Sequence[Sequence[nn.Module]]
) -> list[list[_Place]]:
    """Take out what is to lie side by side; layers of another kind or elsewhere lie as they do."""
    joined = []
    for run in runs:
        for name in ("weight", "bias"):
            keys = [(id(layer._parameters), name) for layer in run]
            if not all(key in places and not is_composed(places[key].home) for key in keys):
                continue
            if len({places[key].dtype for key in keys}) == 1:
                joined.append([places.pop(key) for key in keys])
    return joined


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _fill(view: Tensor, home: Tensor) -> None:
    """Copy a tensor, or all that it consists of."""
    for to, part in zip(parts_of(view), parts_of(home), strict=True):
        to.copy_(part)


def _view(memory: Tensor, place: _Place) -> Tensor:
    if is_composed(place.home):
        views, offset = [], place.offset
        for part in parts_of(place.home):
            data = memory[offset : offset + part.nbytes]
            views.append(data.view(part.dtype).view(part.shape))
            offset += _aligned(part.nbytes)
        return with_parts(place.home, views)
    data = memory[place.offset : place.offset + place.num_bytes]
    return data.view(place.dtype).view(place.home.shape)


def _like(tensor: Tensor, model: Tensor) -> Tensor:
    """A parameter if the model is one."""
    return nn.Parameter(tensor, requires_grad=False) if isinstance(model, nn.Parameter) else tensor


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
