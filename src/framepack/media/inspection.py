"""What a video or picture file is, and the request that travels in it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.portable import rename_section_pictures
from framepack.domain.request import GenerationRequest
from framepack.media.files import StrPath
from framepack.media.metadata import read_metadata, read_pictures
from framepack.media.stills import is_still, still_facts
from framepack.media.video import VideoInfo, probe

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """What a video file is and what it says about itself.

    Attributes:
        path: the file.
        info: size, frame rate, number of frames, duration, codec; a picture is one frame without
            rate and duration.
        document: request, plan, hashes of the weights, version and statistics; empty if
            the file does not carry them.
    """

    path: Path
    info: VideoInfo
    document: dict[str, Any]

    @property
    def is_picture(self) -> bool:
        """Whether the file is one picture, not a video."""
        return self.info.duration_s == 0

    @property
    def request(self) -> GenerationRequest | None:
        """The request that made the video, if the file carries it."""
        values = self.document.get("request")
        return GenerationRequest.parse(**values) if isinstance(values, dict) else None

    def restore(self, folder: StrPath) -> GenerationRequest:
        """Write the pictures that travel in the file; return the request that names them.

        ``request`` names pictures as they were called where the video was made; this one can be
        generated again anywhere.

        Args:
            folder: where ``NAME.image.png``, ``NAME.end_image.png`` and those of sections are
                written; made if it does not exist.

        Raises:
            InvalidRequest: the file carries no request, or the folder cannot be written.
        """
        request = self.request
        if request is None:
            raise InvalidRequest(f"{self.path} carries no request; it cannot be made again")
        wanted = [f"section-{index}" for index in range(len(request.section_pictures))]
        # A video to extend or to redraw brings its start picture itself.
        asked = [name for name in ("image", "end_image") if getattr(request, name) is not None]
        kept = {}
        for name, picture in read_pictures(self.document).items():
            if name not in (*asked, *wanted):
                continue
            path = Path(folder) / f"{self.path.stem}.{name}.png"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
            except OSError as error:
                raise InvalidRequest(f"cannot write {path}: {error.strerror or error}") from error
            kept[name] = path
        if missing := [name for name in wanted if name not in kept]:
            raise InvalidRequest(
                f"{self.path} lacks a section's picture ({missing[0]}); give the pictures again"
            )
        restored = rename_section_pictures(request, [kept.pop(name) for name in wanted])
        return GenerationRequest.parse(**{**dict(restored), **kept})


def inspect(path: StrPath) -> Inspection:
    """Read what a video or picture file is and what it says about itself. Imports no torch.

    Raises:
        InvalidRequest: missing, damaged, or no video or picture.
    """
    document = read_metadata(path)
    return Inspection(Path(path), _still_info(path) if is_still(path) else probe(path), document)


def _still_info(path: StrPath) -> VideoInfo:
    """A picture as one frame without duration."""
    width, height, codec, pixel_format = still_facts(path)
    return VideoInfo(width, height, Fraction(0), 1, 0.0, codec, pixel_format.lower())
