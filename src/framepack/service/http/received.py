"""The files of a request, wherever they come from: its body, a data URL, an upload, a job."""

import base64
import binascii
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile

from framepack.domain.errors import InvalidRequest
from framepack.service.http.guard import Caller
from framepack.service.http.wire import Asked
from framepack.service.inputs import VIDEOS, Input
from framepack.service.records import NoSuchJob, StoreFull, WrongState
from framepack.service.service import Service

__all__ = [
    "job_of",
    "read_input",
    "received",
    "received_file",
    "reference",
    "request_folder",
]

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_KEYS = ("image_url", "video_url", "url", "file_id", "id")


@contextmanager
def received(service: Service, asked: Asked, caller: Caller) -> Iterator[dict[str, Input]]:
    """The files of a request, by word; those that nobody takes are removed afterwards.

    Raises:
        InvalidRequest: says of which field, and how files are sent.
        StoreFull: no space is left.
    """
    with request_folder(service) as folder:
        try:
            yield {
                word: read_input(service, caller, folder, word, said)
                for word, said in asked.files.items()
            }
        except OSError as error:
            raise StoreFull(f"a file cannot be kept: {error.strerror}; free some space") from error


@contextmanager
def received_file(service: Service, upload: UploadFile) -> Iterator[Path]:
    """A file of a form on the disk of the uploads, until it is taken or the block ends."""
    with request_folder(service) as folder:
        try:
            yield _copied(upload, folder / "file")
        except OSError as error:
            raise StoreFull(f"a file cannot be kept: {error.strerror}; free some space") from error


@contextmanager
def request_folder(service: Service) -> Iterator[Path]:
    """A folder for the files of a request, which goes when the block ends."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="request-", dir=service.data.uploads)
    except OSError as error:
        raise StoreFull(f"a file cannot be kept: {error.strerror}; free some space") from error
    with folder as name:
        yield Path(name)


def read_input(service: Service, caller: Caller, folder: Path, word: str, said: Any) -> Input:
    """The file that one value of a request stands for.

    Args:
        service: has the uploads and the videos.
        caller: sent it.
        folder: where files of the body go.
        word: what it is for.
        said: a part of a form, a data URL, or the id of an upload, or of a video where one is
            needed.

    Raises:
        InvalidRequest: it stands for no file.
    """
    if isinstance(said, list) and len(said) == 1:
        (said,) = said
    if isinstance(said, UploadFile):
        return Input(_copied(said, folder / word), name=said.filename or word, is_ours=True)
    text = reference(word, said)
    if _DATA_URL.match(text):
        path = folder / word
        path.write_bytes(_decoded(word, text))
        return Input(path, name=word, is_ours=True)
    if text.startswith("upload_"):
        try:
            return service.uploads.input(text, sees=caller.sees)
        except NoSuchJob as error:
            raise InvalidRequest(f"{word}: {error}") from error
    if text.startswith("video_") and word in VIDEOS:
        return _video_of(service, caller, text)
    if re.match(r"https?:", text, re.IGNORECASE):
        raise InvalidRequest(
            f"{word} is an address, and this server fetches nothing from elsewhere; send the file "
            "itself, a data URL, or the id of an upload"
        )
    raise InvalidRequest(
        f"{word} is {_short(text)}, which is no file; send the file itself in a form, a base64 "
        "data URL, or the id of an upload"
    )


def _video_of(service: Service, caller: Caller, job_id: str) -> Input:
    """The video of a job, to make another one from.

    Raises:
        InvalidRequest: there is no such job, or it has no video.
    """
    try:
        job = service.store.get(job_id, owner=caller.sees)
        return Input(service.file_of(job, "video"), name=f"video of {job_id}")
    except (NoSuchJob, WrongState) as error:
        raise InvalidRequest(f"video: {error}") from error


def job_of(said: Any) -> str | None:
    """The id of the job that is named where a video is needed; None if a file is."""
    if isinstance(said, UploadFile):
        return None
    text = reference("video", said)
    return text if text.startswith("video_") else None


def reference(word: str, said: Any) -> str:
    """The text that names a file, out of the objects that clients wrap it in."""
    for _ in range(3):
        if not isinstance(said, Mapping):
            break
        keys = [key for key in _KEYS if said.get(key) is not None]
        if len(keys) != 1 or set(said) - set(_KEYS) - {"detail", "type"}:
            raise InvalidRequest(
                f"{word} is {_short(said)}; it must have one of {', '.join(_KEYS)}"
            )
        said = said[keys[0]]
    if not isinstance(said, str):
        raise InvalidRequest(
            f"{word} is {_short(said)}; it must be a file, a data URL, or the id of an upload"
        )
    return said.strip()


def _decoded(word: str, text: str) -> bytes:
    encoded = text.partition(",")[2]
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest(f"{word} is a data URL whose base64 is broken: {error}") from error
    if not content:
        raise InvalidRequest(f"{word} is an empty data URL (0 bytes); give another one")
    return content


def _copied(upload: UploadFile, path: Path) -> Path:
    upload.file.seek(0)
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, 1 << 20)
    return path


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
