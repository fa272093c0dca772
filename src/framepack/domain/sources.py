"""What must be known of a video that another one is made from."""

from dataclasses import dataclass

__all__ = ["VideoFacts"]


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """A video as its file announces it.

    Attributes:
        width: px, as shown.
        height: px, as shown.
        duration_s: seconds.
    """

    width: int
    height: int
    duration_s: float

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px."""
        return self.width, self.height

    def num_frames(self, fps: float) -> int:
        """Frames that it has at another frame rate, at least 1."""
        return max(round(self.duration_s * fps), 1)
