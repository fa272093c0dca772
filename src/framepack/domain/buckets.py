"""The picture sizes that the weights were trained at, and the one nearest to a picture.

Sizes are (width, height) in px everywhere in this project.

Source: the official program's table for 640, and its tie rule.
"""

from framepack.domain.errors import InvalidRequest

__all__ = ["BUCKETS", "BUCKET_RESOLUTION", "bucket_size", "nearest_bucket"]

BUCKET_RESOLUTION = 640
"""The size class of the table."""

_LANDSCAPE = ((960, 416), (864, 448), (832, 480), (768, 512), (704, 544), (672, 576), (640, 608))

# From the widest to the tallest: the order decides ties.
BUCKETS: tuple[tuple[int, int], ...] = (
    *_LANDSCAPE,
    *((height, width) for width, height in reversed(_LANDSCAPE)),
)
"""(width, height) in px of every trained shape at size class 640."""


def nearest_bucket(width: int, height: int) -> tuple[int, int]:
    """The trained shape nearest to a picture's, as (width, height) in px at size class 640.

    A tie goes to the taller shape, so a square picture gives 608 x 640.

    Args:
        width: picture width, px.
        height: picture height, px.

    Raises:
        InvalidRequest: a side is not positive.

    Source: official bucket rule, smallest |height * bucket width - width * bucket height|.
    """
    if width < 1 or height < 1:
        raise InvalidRequest(
            f"picture is {width}x{height} px; both sides must be at least 1 px, use another picture"
        )
    return min(reversed(BUCKETS), key=lambda bucket: abs(height * bucket[0] - width * bucket[1]))


def bucket_size(width: int, height: int, resolution: int, multiple: int = 16) -> tuple[int, int]:
    """Size to generate for a picture, (width, height) in px.

    Args:
        width: picture width, px.
        height: picture height, px.
        resolution: size class, px; 640 gives the table itself.
        multiple: both sides become multiples of this, px; at least one multiple.

    Raises:
        InvalidRequest: a side of the picture is not positive.
    """

    def scaled(side: int) -> int:
        return max(round(side * resolution / BUCKET_RESOLUTION / multiple), 1) * multiple

    bucket_width, bucket_height = nearest_bucket(width, height)
    return scaled(bucket_width), scaled(bucket_height)
