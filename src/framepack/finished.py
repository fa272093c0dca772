"""The Python face for finished videos: cut them, join them, put them into another time.

Bad input is refused before a file is written. Importing this module imports no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.domain.clips import ClipEdit

if TYPE_CHECKING:
    from framepack.media.files import StrPath

__all__ = ["Clip", "edit_clip"]


@dataclass(frozen=True)
class Clip:
    """A video that was written.

    Attributes:
        path: the file.
        width, height: pixels.
        fps: frames per second.
        num_frames: its frames.
        notes: lines that people should see.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    num_frames: int
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return float(self.num_frames / self.fps)


def edit_clip(
    videos: "StrPath | Sequence[StrPath]",
    *,
    output: "StrPath",
    edit: ClipEdit | None = None,
    codec: str | None = None,
    codec_options: str = "",
    pixel_format: str | None = None,
    audio: "StrPath | None" = None,
    sound: bool = True,
    embed: bool = True,
    on_progress: Callable[[int, int], object] | None = None,
    **fields: Any,
) -> Clip:
    """Join, trim, crop, filter, scale, speed up, reverse or repeat finished videos.

    Args:
        videos: one or several, which are joined. Those of another size or rate than the first
            are fitted to it.
        output: the file to write: mp4, mkv, mov, webm, gif or webp by its suffix.
        edit: what to do, or None to build it from ``fields``.
        codec: encoder, as in a request.
        codec_options: options of the encoder, such as ``crf:18``.
        pixel_format: layout of the file's pixels.
        audio: a file whose sound takes the place of the videos' own.
        sound: False for no sound.
        embed: name the edit and its videos, with their requests, in the file.
        on_progress: called with frames done and frames in all.
        fields: fields of ``ClipEdit``.

    Raises:
        InvalidRequest: bad input; nothing was written.
        WorkspaceError: the disk is full or cannot be written.
    """
    import framepack
    from framepack.media.clips import plan_clip, write_clip

    many = [videos] if isinstance(videos, str) or hasattr(videos, "__fspath__") else list(videos)
    asked = ClipEdit.parse(**({} if edit is None else dict(edit)) | fields)
    encoding = {"codec": codec, "codec_options": codec_options, "pixel_format": pixel_format}
    job = plan_clip(many, output, asked, encoding=encoding, audio=audio, sound=sound)
    document = {**job.document(), "version": framepack.__version__} if embed else None
    write_clip(job, document=document, on_step=_counted(on_progress, job.num_steps))
    return Clip(
        path=job.outputs.video,
        width=job.size.width,
        height=job.size.height,
        fps=job.fps,
        num_frames=job.length.num_frames,
        notes=job.notes,
    )


def _counted(
    on_progress: Callable[[int, int], object] | None, total: int
) -> Callable[[], object] | None:
    """What counts steps for somebody who wants to know how many are done."""
    if on_progress is None:
        return None
    numbers = iter(range(1, total + 1))
    return lambda: on_progress(next(numbers), total)
