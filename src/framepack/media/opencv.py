"""OpenCV as another writer of videos, where it is installed.

OpenCV says little about what goes wrong: what it wrote is read again and counted. Its encoders
are those of its own build, named by four characters.
"""

import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.codecs import CONTAINERS
from framepack.media.files import StrPath, atomic_file, shown
from framepack.media.video import probe

__all__ = ["check_opencv", "write_video_with_opencv"]

_DEFAULTS = {".webm": "VP90"}
_DEFAULT = "mp4v"
_TRIAL_FRAMES = 2
_STDERR = 2


def check_opencv(
    path: StrPath, codec: str | None, *, width: int, height: int, fps: float | Fraction
) -> str:
    """Find out whether OpenCV can write a video, by writing a short one that is thrown away.

    Args:
        path: of the video; its suffix is the container.
        codec: four characters such as ``mp4v``; None for the container's default.
        width, height: pixels.
        fps: frames per second.

    Returns:
        The four characters.

    Raises:
        InvalidRequest: OpenCV is not installed, or its build cannot write this.
    """
    cv2 = _opencv()
    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise InvalidRequest(
            f"OpenCV writes {', '.join(CONTAINERS)}, not {suffix or 'files without suffix'}; "
            "choose another name, or leave --cv2 out"
        )
    chosen = codec or _DEFAULTS.get(suffix, _DEFAULT)
    if len(chosen) != 4 or not chosen.isascii():
        raise InvalidRequest(
            f"codec {chosen!r} is not one of OpenCV's, which have four characters, such as mp4v or "
            "avc1; give one of them, or leave --codec or --cv2 out"
        )
    black = np.zeros((height, width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory(prefix="framepack-") as folder:
        trial = Path(folder) / f"trial{suffix}"
        _write(cv2, [black] * _TRIAL_FRAMES, trial, chosen, float(fps))
        problem = _problem(trial, _TRIAL_FRAMES, width, height)
    if problem is not None:
        raise InvalidRequest(
            f"OpenCV {cv2.__version__} cannot write {width}x{height} px as {chosen} to "
            f"{shown(Path(path).name)}: {problem}; give another --codec, or leave --cv2 out"
        )
    return chosen


def write_video_with_opencv(
    frames: Iterable[npt.NDArray[np.uint8]],
    path: StrPath,
    *,
    width: int,
    height: int,
    fps: float | Fraction,
    codec: str,
) -> None:
    """Encode frames by OpenCV, one at a time in memory.

    Args:
        frames: each [height, width, 3], uint8, RGB.
        path: the file, complete or absent.
        width, height: pixels.
        fps: frames per second.
        codec: what :func:`check_opencv` gave.

    Raises:
        InvalidRequest: OpenCV is not installed.
        WorkspaceError: what was written is not what was given: the disk is full or the place
            cannot be written.
    """
    cv2 = _opencv()
    with atomic_file(path) as part:
        # OpenCV knows the container by the suffix alone.
        whole = part.with_name(f"{part.name}{Path(path).suffix.lower()}")
        try:
            number = _write(cv2, frames, whole, codec, float(fps))
            problem = _problem(whole, number, width, height)
            if problem is not None:
                raise WorkspaceError(
                    f"cannot write {shown(path)}: {problem}; free some space or choose another "
                    "folder"
                )
            whole.replace(part)
        finally:
            whole.unlink(missing_ok=True)


def _opencv() -> ModuleType:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise InvalidRequest(
            f"--cv2 needs OpenCV, which cannot be imported ({error}); install it with `pip install "
            "opencv-python-headless`, or leave --cv2 out"
        ) from error


def _write(
    cv2: ModuleType,
    frames: Iterable[npt.NDArray[np.uint8]],
    path: Path,
    codec: str,
    fps: float,
) -> int:
    """Write what can be written; return the number of frames that were given."""
    writer = None
    number = 0
    try:
        for frame in frames:
            number += 1
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                fourcc = cv2.VideoWriter.fourcc(*codec)
                with _quiet_console():
                    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size)
                if not writer.isOpened():
                    break
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    finally:
        if writer is not None:
            writer.release()
    return number


@contextmanager
def _quiet_console() -> Iterator[None]:
    """Keep what C code writes to the console away: what is wrong is found by reading the file."""
    try:
        console = os.dup(_STDERR)
    except OSError:  # there is none
        yield
        return
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(console, _STDERR)
            os.close(console)


def _problem(path: Path, num_frames: int, width: int, height: int) -> str | None:
    """What is wrong with a file that ought to hold these frames; None if nothing is."""
    if not path.is_file() or path.stat().st_size == 0:
        return "its build has no such encoder, or the place cannot be written"
    try:
        info = probe(path)
    except InvalidRequest:
        return "what it wrote cannot be read"
    found, needed = (
        (info.num_frames, info.width, info.height),
        (num_frames, width, height),
    )
    if found != needed:
        return (
            f"it wrote {found[0]} frames of {found[1]}x{found[2]} px, needed are {needed[0]} of "
            f"{needed[1]}x{needed[2]}"
        )
    return None
