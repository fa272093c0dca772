"""Cut finished videos: everything checked first, then one pass over their frames.

Frames pass through one by one, so memory does not grow with the length; what is played backward
or again waits on the disk, beside the result.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from framepack.domain.clips import ClipEdit, ClipLength, FrameSize, clip_length
from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.media.audio import AUDIO_CODECS
from framepack.media.clip_frames import (
    Enlarger,
    Source,
    joined_frames,
    open_source,
    played,
    retimed,
    shaped,
)
from framepack.media.clip_sound import write_sound
from framepack.media.codecs import NO_VIDEO
from framepack.media.encode import write_video
from framepack.media.files import StrPath, shown
from framepack.media.filters import check_filters
from framepack.media.metadata import read_metadata
from framepack.media.outputs import Outputs, check_encoding, format_of, settle_codec
from framepack.media.writer import frame_rate

__all__ = ["ClipJob", "plan_clip", "write_clip"]

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ClipJob:
    """A clip that can be written: everything is checked and counted.

    Attributes:
        edit: what is done.
        sources: the videos it is done to.
        outputs: the file, and the sound that was given for it.
        encoding: codec, options, pixel format, and the rate in frames per second.
        length: its frames, step by step.
        rate: frames per second of the joined videos.
        fps: frames per second of the clip.
        size: of its pictures.
        keeps_sound: the videos' own sound goes with it.
        notes: lines that people should see.
        enlarger: what makes pictures larger after they are cropped, or None.
    """

    edit: ClipEdit
    sources: tuple[Source, ...]
    outputs: Outputs
    encoding: GenerationRequest
    length: ClipLength
    rate: Fraction
    fps: Fraction
    size: FrameSize
    keeps_sound: bool
    notes: tuple[str, ...]
    enlarger: Enlarger | None = None

    @property
    def num_steps(self) -> int:
        """How often :func:`write_clip` reports: once for each frame that is kept or written."""
        return self.length.num_frames + (self.length.num_once if self.edit.reverse else 0)

    def document(self) -> dict[str, Any]:
        """What was done to which videos, and the requests that these carry, for the file."""
        sources = [
            {"name": source.path.name, "request": read_metadata(source.path).get("request")}
            for source in self.sources
        ]
        edit = self.edit.model_dump(mode="json", exclude_defaults=True)
        clip: dict[str, Any] = {"edit": edit, "sources": sources}
        if self.enlarger is not None:
            clip["upscaler"] = dict(self.enlarger.document)
        return {"program": "framepack", "clip": clip}


def plan_clip(
    videos: Sequence[StrPath],
    output: StrPath,
    edit: ClipEdit,
    *,
    encoding: Mapping[str, Any] | None = None,
    audio: StrPath | None = None,
    sound: bool = True,
    enlarger: Enlarger | None = None,
) -> ClipJob:
    """Check everything, and count the frames.

    Args:
        videos: one or more, in the order in which they are joined.
        output: the file to write.
        edit: what is done to them.
        encoding: fields ``codec``, ``codec_options``, ``pixel_format``, ``crf`` and ``preset`` of
            a request.
        audio: a file whose sound takes the place of the videos' own.
        sound: False for no sound.
        enlarger: what makes pictures larger after they are cropped.

    Raises:
        InvalidRequest: a video, filter, place or encoder that does not serve, or an edit that
            leaves nothing.
    """
    if not videos:
        raise InvalidRequest("no video was given; name one or more")
    sources = tuple(open_source(video) for video in videos)
    rate = sources[0].rate
    fps = rate if edit.fps is None else frame_rate(edit.fps)
    lengths = [source.length_at(rate) for source in sources]
    length = clip_length(edit, lengths, rate=rate, fps=fps)
    size = _final_size(edit, sources[0].size, rate, enlarger)
    outputs = Outputs.of(output, audio=audio)
    given = {name: value for name, value in (encoding or {}).items() if value is not None}
    asked = GenerationRequest.parse(fps=float(fps), **given)
    if asked.codec == NO_VIDEO:
        raise InvalidRequest("a clip is a video; leave --codec none out")
    outputs.check(asked.codec)
    asked, codec_line = settle_codec(asked, outputs.video)
    check_encoding(asked, outputs.video, width=size.width, height=size.height, fps=fps)
    keeps, sound_line = _sound(edit, sources, outputs, sound=sound)
    fitted_line = _fitted_line(sources)
    return ClipJob(
        edit=edit,
        sources=sources,
        outputs=outputs,
        encoding=asked,
        length=length,
        rate=rate,
        fps=fps,
        size=size,
        keeps_sound=keeps,
        notes=tuple(filter(None, (fitted_line, sound_line, codec_line))),
        enlarger=enlarger,
    )


def write_clip(
    job: ClipJob,
    *,
    document: Mapping[str, Any] | None = None,
    on_step: Callable[[], object] | None = None,
) -> None:
    """Write a clip that :func:`plan_clip` checked.

    Args:
        job: the clip.
        document: JSON that the file carries; None for none.
        on_step: called ``job.num_steps`` times.

    Raises:
        InvalidRequest: a video changed since, or a filter drops frames late.
        WorkspaceError: the disk is full or the file cannot be written.
    """
    video, on_step = job.outputs.video, on_step or _nothing
    video.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".framepack-", dir=video.parent) as name:
        audio = job.outputs.audio
        if job.keeps_sound:
            audio = write_sound(
                job.sources, job.edit, job.length, rate=job.rate, fps=job.fps, folder=Path(name)
            )
        write_video(
            _frames(job, Path(name), on_step),
            video,
            width=job.size.width,
            height=job.size.height,
            fps=job.fps,
            video_format=format_of(job.encoding),
            document=document,
            audio=audio,
        )


def _frames(job: ClipJob, folder: Path, on_step: Callable[[], object]) -> Iterator[Frame]:
    edit, length = job.edit, job.length
    joined = joined_frames(
        job.sources, size=job.sources[0].size, rate=job.rate, num_faded=length.num_faded
    )
    kept = islice(joined, length.first, length.end)
    frames = shaped(
        kept,
        crop=edit.crop,
        enlarger=job.enlarger,
        filters=edit.filters,
        size=edit.size,
        rate=job.rate,
    )
    for frame in played(retimed(frames, length, edit), edit, length, folder, on_step):
        yield frame
        on_step()


def _final_size(
    edit: ClipEdit, size: FrameSize, rate: Fraction, enlarger: Enlarger | None
) -> FrameSize:
    """The size after crop, enlarging, filters and scaling, each of which is checked."""
    if edit.crop is not None:
        width, height, left, top = edit.crop
        if left + width > size.width or top + height > size.height:
            raise InvalidRequest(
                f"--crop {edit.crop} reaches outside of the picture of {size} px; give a part "
                "inside it"
            )
        size = FrameSize(width, height)
    if enlarger is not None:
        size = FrameSize(size.width * enlarger.scale, size.height * enlarger.scale)
    if edit.filters:
        size = FrameSize(
            *check_filters(edit.filters, width=size.width, height=size.height, fps=rate)
        )
    if edit.size is not None:
        return edit.size
    if size.width % 2 or size.height % 2 or min(size) < 16:
        even = FrameSize(max(size.width // 2 * 2, 16), max(size.height // 2 * 2, 16))
        raise InvalidRequest(
            f"the clip would be {size} px, and videos need even numbers of 16 or more; add "
            f"--size {even}"
        )
    return size


def _sound(
    edit: ClipEdit, sources: Sequence[Source], outputs: Outputs, *, sound: bool
) -> tuple[bool, str | None]:
    """Whether the videos' own sound goes with the clip, and a line if it is lost."""
    if not sound and outputs.audio is not None:
        raise InvalidRequest("sound was given and none was wanted; leave --audio or --no-audio out")
    if not sound or outputs.audio is not None or not any(each.has_sound for each in sources):
        return False, None
    if edit.reverse or edit.ping_pong:
        return False, "Without sound: it is left out of what plays backward."
    if outputs.video.suffix.lower() not in AUDIO_CODECS:
        return False, f"Without sound: a {outputs.video.suffix} file carries none."
    return True, None


def _fitted_line(sources: Sequence[Source]) -> str | None:
    """A line if videos have to be fitted to the first one."""
    first = sources[0]
    names = [
        shown(source.path.name)
        for source in sources[1:]
        if (source.size, source.rate) != (first.size, first.rate)
    ]
    if not names:
        return None
    return (
        f"Fitted to {first.size} px at {float(first.rate):g} frames/s like "
        f"{shown(first.path.name)}: {', '.join(names)}."
    )


def _nothing() -> None:
    """Report to nobody."""
