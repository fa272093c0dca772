"""What is to be left when a run is done, and whether the disk can hold it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from framepack.domain.errors import DiskFull
from framepack.domain.plan import Plan
from framepack.domain.request import ResolvedRequest
from framepack.media.codecs import JOINED_SUFFIXES
from framepack.media.outputs import Outputs

__all__ = ["Delivery", "check_free_space"]

_BYTES_PER_PIXEL = 0.25  # generous for H.264 at crf 16; noise-like video needs most of it
_LOSSLESS_BYTES_PER_PIXEL = 3  # FFV1 of noise; pictures take half as much
_RESERVE_BYTES = 64e6


@dataclass(frozen=True)
class Delivery:
    """What is to be left when a run is done.

    Attributes:
        outputs: the video file and the other forms of its frames.
        embed: put request, hashes, statistics and input pictures into the video file.
        thumbnail: write ``NAME.thumb.jpg`` beside the video.
        keep_run: leave the run directory.
    """

    outputs: Outputs
    embed: bool = True
    thumbnail: bool = True
    keep_run: bool = False

    @property
    def path(self) -> Path:
        """The video file."""
        return self.outputs.video

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; paths become absolute."""
        return {**vars(self), "outputs": self.outputs.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` gave."""
        return cls(**{**values, "outputs": Outputs.from_dict(values["outputs"])})

    def joins_segments(self, request: ResolvedRequest) -> bool:
        """Whether segments are in the video's own format and are joined as they are.

        Else they are lossless, and everything that is wanted is made of them at the end.
        """
        return (
            request.codec in (None, "libx264")
            and request.pixel_format in (None, "yuv420p")
            and self.path.suffix.lower() in JOINED_SUFFIXES
            and self.outputs.num_forms == 1
            and request.interpolate <= 1
            and not request.filters
        )


def check_free_space(plan: Plan, directory: Path, delivery: Delivery) -> None:
    """Refuse to begin a run that the disk cannot hold.

    Raises:
        DiskFull: says how much is free and how much may be needed.
    """
    pixels = plan.width * plan.height
    video = plan.num_frames * pixels * _BYTES_PER_PIXEL
    segments = video
    if not delivery.joins_segments(plan.request):
        segments = plan.num_kept_frames * pixels * _LOSSLESS_BYTES_PER_PIXEL
        lossless = plan.num_frames * pixels * _LOSSLESS_BYTES_PER_PIXEL
        video = lossless * delivery.outputs.num_forms
    # A new state is written beside its predecessor; the fp32 seam is nearly all of it.
    states = 2 * 4 * plan.latent_window_size * pixels * 3 * 4
    output = delivery.path.absolute().parent
    run_place, output_place = _existing(directory), _existing(output)
    needed = {run_place: segments + states + _RESERVE_BYTES}
    if output_place.stat().st_dev == run_place.stat().st_dev:
        needed[run_place] += video
    else:
        needed[output_place] = video
    for folder, size in needed.items():
        free = shutil.disk_usage(folder).free
        if free < size:
            raise DiskFull(
                f"the disk of {folder} has {free / 1e6:.0f} MB free, this video may need "
                f"{size / 1e6:.0f} MB; free some space or choose another folder"
            )


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
