"""Paths and files: atomic writing, the check of an output, opening a video to read."""

import os
import stat
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from framepack.domain.errors import FramePackError, InvalidRequest, WorkspaceError

__all__ = [
    "SELF_CONTAINED",
    "VIDEO_SUFFIXES",
    "StrPath",
    "atomic_file",
    "check_output_writable",
    "check_readable",
    "commit",
    "libav_name",
    "open_video",
    "partial_path",
    "shown",
]

StrPath = str | os.PathLike[str]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".gif", ".webp")

SELF_CONTAINED = MappingProxyType(
    {
        "format_whitelist": "mov,matroska,avi,flv,mpegts,mpeg,mpegvideo,m4v,asf,ogg,rm,gif,apng,"
        "ivf,obu,h264,hevc,av1,yuv4mpegpipe,mxf,nut,dv,wtv,wav,w64,aiff,au,caf,mp3,flac,aac,ac3,"
        "eac3,amr,ape,wv,tta,mpc,mpc8,dts,webp,webp_pipe,png_pipe,jpeg_pipe",
        "protocol_whitelist": "file",
    }
)
"""Options with which libav reads files that are all of what they show.

Without them a text called a video, such as a playlist or a list for ``concat``, has libav open
whatever files and addresses it names.
"""


def shown(path: StrPath) -> str:
    """A path as messages show it: on one line, and printable whatever bytes it is made of."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def libav_name(path: StrPath) -> str:
    """The absolute path, because libav takes a relative ``a:b.mp4`` for a protocol."""
    return os.fspath(Path(path).absolute())


def partial_path(target: StrPath) -> Path:
    """Where ``target`` is written until it is complete: hidden, in the same folder.

    The name is always the same for one target, so what a killed process leaves behind is
    overwritten by the next attempt, and at most 175 bytes long whatever the target's is.
    """
    target = Path(target)
    checksum = zlib.crc32(os.fsencode(target.name))
    return target.with_name(f".{target.name[:40]}.{checksum:08x}.part")


def commit(temporary: Path, target: Path) -> None:
    """Put a complete temporary file in its target's place, in one step and on the disk.

    Raises:
        OSError: the disk is full or the target cannot be replaced.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut can leave the new name on empty content
    temporary.replace(target)


@contextmanager
def atomic_file(target: StrPath) -> Iterator[Path]:
    """Write a file so that ``target`` is only ever absent, its old self, or complete.

    Yields:
        A temporary path in the target's folder (made if missing). It becomes ``target``
        when the block ends, and is removed when the block raises.

    Raises:
        WorkspaceError: the file system refused (disk full, no permission).
    """
    target = Path(target)
    temporary = partial_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        commit(temporary, target)
    except OSError as error:
        raise WorkspaceError(
            f"cannot write {shown(target)}: {_reason(error)}; free some space or choose "
            "another folder"
        ) from error
    finally:
        with suppress(OSError):  # after commit() it is gone
            temporary.unlink()


def check_output_writable(path: StrPath, suffixes: Sequence[str] = VIDEO_SUFFIXES) -> None:
    """Check, before any work, that a file can be written here. Leaves nothing behind.

    The folder may be missing if it can be made. An existing file may be replaced.

    Raises:
        InvalidRequest: wrong suffix, a folder or device, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InvalidRequest(
            f"output {shown(path)} ends in {path.suffix or 'no suffix'}, "
            f"{_either(suffixes)} is needed; write {shown(path.stem or 'out')}{suffixes[0]}"
        )
    try:
        found = _stat(path)
        if found and not stat.S_ISREG(found.st_mode):
            raise InvalidRequest(f"output {shown(path)} exists and is no file; choose another name")
        if found and not os.access(path, os.W_OK):
            raise InvalidRequest(f"output {shown(path)} is write-protected; choose another name")
        folder = _nearest_existing(path.absolute().parent)
        _stat(folder / path.name)  # raises for names this file system refuses
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"output {shown(path)} cannot be written: {_reason(error)}; choose another file "
            "or folder"
        ) from error


def _either(names: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def check_readable(path: StrPath, what: str) -> Path:
    """The path, if it is a file with something in it.

    Raises:
        InvalidRequest: missing, a folder, a device, empty, or not readable.
    """
    path = Path(path)
    try:
        found = _stat(path)
        if found is None:
            raise InvalidRequest(f"{what} {shown(path)} does not exist; check the path")
        if stat.S_ISDIR(found.st_mode):
            raise InvalidRequest(f"{what} {shown(path)} is a folder; give a file inside it")
        if not stat.S_ISREG(found.st_mode):
            raise InvalidRequest(f"{what} {shown(path)} is a device or pipe; give a file")
        if found.st_size == 0:
            raise InvalidRequest(f"{what} {shown(path)} is empty (0 bytes); give another file")
        with path.open("rb"):
            return path
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"{what} {shown(path)} cannot be read: {_reason(error)}; check the path"
        ) from error


@contextmanager
def open_video(
    path: StrPath, *, error: type[FramePackError] = InvalidRequest
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video for reading; libav's errors inside the block become ``error``.

    Raises:
        error: missing, empty, no video, or damaged.
    """
    try:
        path = check_readable(path, "video")
    except InvalidRequest as found:
        raise error(str(found)) from found
    try:
        with av.open(
            libav_name(path), metadata_errors="replace", container_options=dict(SELF_CONTAINED)
        ) as container:
            if not container.streams.video:
                raise error(f"{shown(path)} holds no video stream; give a video file")
            yield container, container.streams.video[0]
    except av.FFmpegError as found:
        raise error(
            f"{shown(path)} cannot be read as a video ({found.strerror}); the file is damaged or "
            "of another kind"
        ) from found


def _nearest_existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(20, f"{folder} is not a folder")
    return folder


def _stat(path: Path) -> os.stat_result | None:
    """What is at the path, or None. ``exists()`` would take an impossible name for missing."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
