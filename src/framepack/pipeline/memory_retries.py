"""Go on more modestly where memory runs out in the middle of a run."""

import gc
import logging
from collections.abc import Callable, Generator
from typing import TypeVar

import torch

from framepack.domain.errors import is_out_of_memory
from framepack.domain.events import Event, MemoryRanOut
from framepack.pipeline.components import Components
from framepack.pipeline.device import DeviceMemoryError
from framepack.pipeline.statistics import RunStatistics

__all__ = ["retrying"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


def retrying(
    make: Callable[[], Generator[Event, None, T]],
    components: Components,
    stats: RunStatistics,
    *,
    section: int | None = None,
) -> Generator[Event, None, T]:
    """Make something, again in the next way of ``Components.fall_back`` where memory runs out.

    Args:
        make: begins anew from what is stored or given.
        components: are placed more modestly each time, and stay so.
        stats: of the run.
        section: index of the section that is made.

    Returns:
        What was made.

    Raises:
        Exception: whatever ``make`` raises, want of memory only after the last way.
    """
    while True:
        try:
            return (yield from make())
        except (DeviceMemoryError, MemoryError, RuntimeError) as error:
            if not (isinstance(error, DeviceMemoryError) or is_out_of_memory(error)):
                raise
            way = components.fall_back()
            if way is None:
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        # The error is gone by now, and with it what its frames held.
        gc.collect()
        if components.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning("memory ran out (%s); next: %s", reason, way.title)
        yield MemoryRanOut(elapsed_s=stats.elapsed_s, way=way.title, reason=reason, section=section)
