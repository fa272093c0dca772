"""Frames become one file, of whatever kind its suffix asks for."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from framepack.media.codecs import ANIMATIONS, VideoFormat
from framepack.media.files import StrPath, atomic_file
from framepack.media.metadata import dump_document, sidecar
from framepack.media.sheets import write_animation
from framepack.media.writer import VideoWriter

__all__ = ["write_video"]


def write_video(
    frames: Iterable[npt.NDArray[np.uint8]],
    path: StrPath,
    *,
    width: int,
    height: int,
    fps: float | Fraction,
    video_format: VideoFormat,
    document: Mapping[str, Any] | None = None,
    title: str = "",
    description: str = "",
    audio: StrPath | None = None,
) -> None:
    """Encode frames into a video, or into an animated picture if the suffix is of one.

    A video keeps one frame at a time in memory, an animated picture all of them.

    Args:
        frames: each [height, width, 3], uint8, RGB.
        path: the file, complete or absent.
        width, height: pixels, even.
        fps: frames per second.
        video_format: encoder, options and pixel format of a video.
        document: JSON that the file carries, or a file beside it if it cannot.
        title, description: the tags that players show.
        audio: file whose sound a video gets.

    Raises:
        InvalidRequest: the encoder refuses size, rate or container.
        WorkspaceError: the disk is full or the file cannot be written.
    """
    if Path(path).suffix.lower() in ANIMATIONS:
        write_animation(frames, path, fps=float(fps))
        if document is not None:
            with atomic_file(sidecar(path)) as temporary:
                temporary.write_text(dump_document(document), encoding="utf-8")
        return
    tags = {"title": title, "description": description}
    if document is not None:
        tags["comment"] = dump_document(document)
    with VideoWriter(
        path,
        width=width,
        height=height,
        fps=fps,
        video_format=video_format,
        tags={name: text for name, text in tags.items() if text},
        audio=audio,
        fast_start=True,
    ) as writer:
        for frame in frames:
            writer.write(frame[None])
