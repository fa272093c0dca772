"""Which size a video gets."""

from framepack.domain.buckets import bucket_size
from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelGeometry
from framepack.domain.request import GenerationRequest

__all__ = ["choose_size"]


def choose_size(
    request: GenerationRequest,
    model: str,
    geometry: ModelGeometry,
    resolution: int,
    shape: tuple[int, int],
) -> tuple[int, int]:
    """The size of a video, (width, height) in px.

    Args:
        request: names it, or leaves it to the resolution.
        model: its name, for messages.
        geometry: the sizes the model makes.
        resolution: size class, px.
        shape: (width, height) whose proportions the video takes.

    Raises:
        InvalidRequest: the model does not make it; the message names the nearest.
    """
    multiple = geometry.size_multiple
    if request.width is not None and request.height is not None:
        explicit = (request.width, request.height)
        nearest = (_nearest_side(request.width, geometry), _nearest_side(request.height, geometry))
        if explicit != nearest:
            raise InvalidRequest(
                f"size {explicit[0]}x{explicit[1]} px does not fit model {model}: sides are "
                f"multiples of {multiple} from {geometry.min_size} to {geometry.max_size} px; "
                f"the nearest is --width {nearest[0]} --height {nearest[1]}"
            )
        return explicit
    size = bucket_size(*shape, resolution, multiple)
    if _in_range(size, geometry):
        return size
    fitting = [
        candidate
        for candidate in range(multiple, 4096 + 1, multiple)
        if _in_range(bucket_size(*shape, candidate, multiple), geometry)
    ]
    advice = (
        f"the nearest that fits is --resolution {min(fitting, key=lambda r: abs(r - resolution))}"
        if fitting
        else "give --width and --height"
    )
    raise InvalidRequest(
        f"resolution {resolution} gives {size[0]}x{size[1]} px, but model {model} makes "
        f"{geometry.min_size} to {geometry.max_size} px per side; {advice}"
    )


def _nearest_side(side: int, geometry: ModelGeometry) -> int:
    multiple = geometry.size_multiple
    lowest = -(-geometry.min_size // multiple) * multiple
    highest = geometry.max_size // multiple * multiple
    return min(max(round(side / multiple) * multiple, lowest), highest)


def _in_range(size: tuple[int, int], geometry: ModelGeometry) -> bool:
    return all(geometry.min_size <= side <= geometry.max_size for side in size)
