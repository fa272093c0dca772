"""Weights that are on the device only while they are used, as the blocks see it.

Whoever streams weights (``framepack.memory.streaming``) says so on the modules; code that reads a
module's weights without calling it asks here for them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol

from torch import nn

__all__ = [
    "WeightStream",
    "here",
    "is_streamed",
    "mark",
    "mark_block",
    "only_brings",
    "shown",
    "unmark",
]

_OF_MODULE, _OF_BLOCK = "weight_stream", "weight_streams"  # attributes that mark a module


class WeightStream(Protocol):
    """Weights that come and go together."""

    def here(self) -> AbstractContextManager[None]:
        """Have them on the device inside the block."""

    def shown(self) -> AbstractContextManager[None]:
        """Have the parameters be as they are on the device, but for what they hold."""


def mark(module: nn.Module, stream: WeightStream) -> None:
    """Say that a module's weights are streamed."""
    module.__dict__[_OF_MODULE] = stream


def mark_block(block: nn.Module, streams: Sequence[WeightStream]) -> None:
    """Say which streams the weights of a block come by, those of its parts included."""
    block.__dict__[_OF_BLOCK] = tuple(streams)


def unmark(module: nn.Module) -> None:
    """Undo :func:`mark` and :func:`mark_block`."""
    module.__dict__.pop(_OF_MODULE, None)
    module.__dict__.pop(_OF_BLOCK, None)


def is_streamed(block: nn.Module) -> bool:
    """Whether any weights of a block are streamed."""
    return bool(block.__dict__.get(_OF_BLOCK))


def here(module: nn.Module) -> AbstractContextManager[None]:
    """Have the weights of a module on the device inside the block, if they are streamed."""
    stream: WeightStream | None = module.__dict__.get(_OF_MODULE)
    return nullcontext() if stream is None else stream.here()


@contextmanager
def shown(block: nn.Module) -> Iterator[None]:
    """Have the parameters of a block look inside as they do on the device; nothing is copied."""
    streams: Sequence[WeightStream] = block.__dict__.get(_OF_BLOCK, ())
    with ExitStack() as stack:
        for stream in streams:
            stack.enter_context(stream.shown())
        yield


def only_brings(forward: Callable[..., Any]) -> bool:
    """Whether a forward that stands in for a module's own does no more than bring its weights."""
    return bool(getattr(forward, "only_brings", False))
