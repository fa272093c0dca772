"""A video's frames in one picture, and where in it each is: for the bar people seek with.

Shape letters (docs/notation.md): H W size in pixels.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any, Self

from PIL import Image

from framepack.domain.errors import WorkspaceError
from framepack.media.files import StrPath, atomic_file, shown
from framepack.media.video import probe, read_timed_frames

__all__ = ["Spritesheet", "write_spritesheet"]

_PER_SECOND = 4


@dataclass(frozen=True)
class Spritesheet:
    """Where the tiles are: row by row from the top left, all of one size, without gaps.

    Attributes:
        columns: tiles in a row.
        width, height: of a tile, pixels.
        times_s: when each tile's frame is shown, seconds from the start.
        duration_s: of the video, seconds.
    """

    columns: int
    width: int
    height: int
    times_s: tuple[float, ...]
    duration_s: float

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return ceil(len(self.times_s) / self.columns)

    def place(self, tile: int) -> tuple[int, int]:
        """Left and top edge of a tile, pixels."""
        return tile % self.columns * self.width, tile // self.columns * self.height

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {**asdict(self), "times_s": list(self.times_s), "rows": self.rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` gave."""
        fields = {name: values[name] for name in ("columns", "width", "height", "duration_s")}
        return cls(**fields, times_s=tuple(values["times_s"]))

    def to_webvtt(self, address: str) -> str:
        """WebVTT as players take it: for each stretch of time the tile that shows it.

        Args:
            address: of the picture, as seen from the place of this text.
        """
        ends = [*self.times_s[1:], self.duration_s]
        cues = [
            f"{_clock(start)} --> {_clock(end)}\n"
            f"{address}#xywh={','.join(map(str, (*self.place(tile), self.width, self.height)))}\n"
            for tile, (start, end) in enumerate(zip(self.times_s, ends, strict=True))
        ]
        return "\n".join(["WEBVTT\n", *cues])


def write_spritesheet(
    video: StrPath, path: StrPath, *, max_tiles: int = 64, max_side: int = 160
) -> Spritesheet:
    """Write a JPEG of frames of a video, four of each second, and ``NAME.json`` beside it.

    Args:
        video: any that can be read; it is decoded once, a frame at a time.
        path: the picture; it appears after its description, complete or not at all.
        max_tiles: frames at most, evenly spaced.
        max_side: the longer side of a tile, pixels; smaller frames keep their size.

    Raises:
        InvalidRequest: the video is missing, damaged, or no video.
        WorkspaceError: the file cannot be written.
    """
    info = probe(video)
    num_tiles = max(1, min(max_tiles, info.num_frames, ceil(info.duration_s * _PER_SECOND)))
    wanted = {tile * info.num_frames // num_tiles for tile in range(num_tiles)}
    scale = min(1.0, max_side / max(info.width, info.height))
    size = (max(1, round(info.width * scale)), max(1, round(info.height * scale)))
    columns = ceil(sqrt(num_tiles))
    picture = Image.new("RGB", (columns * size[0], ceil(num_tiles / columns) * size[1]))
    times: list[float] = []
    sheet = Spritesheet(columns, *size, (), info.duration_s)
    for index, (time, frame) in enumerate(read_timed_frames(video)):
        if index in wanted:
            tile = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
            picture.paste(tile, sheet.place(len(times)))
            times.append(round(float(time), 6))
    if len(times) != num_tiles:
        raise WorkspaceError(
            f"{shown(video)} ends early: {len(times)} of {num_tiles} frames were found; make it "
            "again"
        )
    sheet = Spritesheet(columns, *size, tuple(times), info.duration_s)
    path = Path(path)
    with atomic_file(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(sheet.to_dict()), encoding="utf-8")
    with atomic_file(path) as part:
        picture.save(part, "JPEG", quality=80)
    return sheet


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
