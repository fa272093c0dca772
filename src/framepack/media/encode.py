"""Frames, or one, become one file, of whatever kind its suffix asks for."""

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
from framepack.media.stills import TAGGED_STILLS, write_still
from framepack.media.writer import VideoWriter

__all__ = ["write_picture", "write_video"]


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
        _write_sidecar(path, document)
        return
    with VideoWriter(
        path,
        width=width,
        height=height,
        fps=fps,
        video_format=video_format,
        tags=_tags(document, title, description),
        audio=audio,
        fast_start=True,
    ) as writer:
        for frame in frames:
            writer.write(frame[None])


def write_picture(
    frame: npt.NDArray[np.uint8],
    path: StrPath,
    *,
    document: Mapping[str, Any] | None = None,
    title: str = "",
    description: str = "",
) -> None:
    """Write a frame as a picture.

    Args:
        frame: [height, width, 3], uint8, RGB.
        path: the file, complete or absent; ends in one of ``STILL_SUFFIXES``.
        document: JSON that the file carries, or a file beside it if it cannot.
        title, description: texts that a PNG carries.

    Raises:
        WorkspaceError: the disk is full or the file cannot be written.
    """
    if Path(path).suffix.lower() in TAGGED_STILLS:
        write_still(frame, path, _tags(document, title, description))
    else:
        write_still(frame, path)
        _write_sidecar(path, document)


def _tags(document: Mapping[str, Any] | None, title: str, description: str) -> dict[str, str]:
    tags = {"title": title, "description": description}
    if document is not None:
        tags["comment"] = dump_document(document)
    return {name: text for name, text in tags.items() if text}


def _write_sidecar(path: StrPath, document: Mapping[str, Any] | None) -> None:
    if document is not None:
        with atomic_file(sidecar(path)) as temporary:
            temporary.write_text(dump_document(document), encoding="utf-8")
