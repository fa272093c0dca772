"""Files that are sent ahead of the request that uses them."""

import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from framepack.service.inputs import Input, link_or_copy
from framepack.service.records import NoSuchJob, QuotaExceeded, StoreFull

__all__ = ["Upload", "Uploads"]

_ID = re.compile(r"upload_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent.

    Attributes:
        id: "upload_" and 24 hexadecimal digits.
        name: as the sender calls it.
        num_bytes: its size.
        owner: id of the key that it was sent with; "" without keys.
        created_at: Unix time in seconds.
        expires_at: when it is removed; jobs that use it keep it.
    """

    id: str
    name: str
    num_bytes: int
    owner: str
    created_at: float
    expires_at: float


class Uploads:
    """The files of one folder, each with a small one beside it that says whose it is.

    Args:
        folder: exists.
        keep_s: seconds until a file is removed.
        most_bytes: all files together.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_s: float,
        most_bytes: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._keep_s = keep_s
        self._most_bytes = most_bytes
        self._clock = clock

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._folder

    def keep(self, path: Path, *, name: str, owner: str) -> Upload:
        """Take a file over.

        Args:
            path: the file, on the same disk; it is moved away.
            name: as the sender calls it.
            owner: whose it is.

        Raises:
            QuotaExceeded: there are too many bytes already.
            StoreFull: the disk refused.
        """
        self.sweep()
        size = path.stat().st_size
        there = sum(upload.num_bytes for upload in self._all())
        if there + size > self._most_bytes:
            raise QuotaExceeded(
                f"{there / 1e6:.0f} MB of uploads wait for their requests, and {size / 1e6:.1f} MB "
                f"more pass the limit of {self._most_bytes / 1e6:.0f} MB; delete some, or try "
                "again later"
            )
        now = self._clock()
        upload = Upload(
            f"upload_{secrets.token_hex(12)}", name[:200], size, owner, now, now + self._keep_s
        )
        try:
            path.replace(self._folder / upload.id)
            self._note(upload.id).write_text(json.dumps(asdict(upload)), encoding="utf-8")
        except OSError as error:
            raise StoreFull(
                f"the upload cannot be kept: {error.strerror}; free some space"
            ) from error
        return upload

    def keep_copy(self, path: Path, *, name: str, owner: str) -> Upload:
        """Take a copy of a file that is never changed; one that is here already is found again.

        Args:
            path: the file, which stays.
            name: as the sender is to call it.
            owner: whose the copy is.

        Raises:
            FileNotFoundError: there is no such file.
            QuotaExceeded, StoreFull: see :meth:`keep`.
        """
        soon = self._clock() + self._keep_s / 2
        for upload in self.list(sees=owner):
            if (upload.owner, upload.name) == (owner, name) and upload.expires_at > soon:
                with suppress(OSError):
                    if (self._folder / upload.id).samefile(path):
                        return upload
        with tempfile.TemporaryDirectory(prefix="request-", dir=self._folder) as folder:
            copy = Path(folder) / "file"
            try:
                link_or_copy(path, copy)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise StoreFull(
                    f"the upload cannot be kept: {error.strerror}; free some space"
                ) from error
            return self.keep(copy, name=name, owner=owner)

    def get(self, upload_id: str, *, sees: str | None) -> Upload:
        """An upload by its id.

        Args:
            upload_id: its id.
            sees: whose uploads there are for the caller; None for all.

        Raises:
            NoSuchJob: there is none, or it is somebody else's.
        """
        upload = self._read(upload_id) if _ID.fullmatch(upload_id) else None
        is_theirs = upload is not None and sees in (None, upload.owner)
        if upload is None or not is_theirs or upload.expires_at <= self._clock():
            raise NoSuchJob(f"there is no upload {upload_id[:60]!r}; send the file again")
        return upload

    def input(self, upload_id: str, *, sees: str | None) -> Input:
        """An upload as a file of a request; see :meth:`get`."""
        upload = self.get(upload_id, sees=sees)
        return Input(self._folder / upload.id, name=upload.name)

    def list(self, *, sees: str | None) -> tuple[Upload, ...]:
        """Every upload, the newest first; see :meth:`get`."""
        found = [upload for upload in self._all() if sees in (None, upload.owner)]
        return tuple(sorted(found, key=lambda upload: upload.created_at, reverse=True))

    def delete(self, upload_id: str, *, sees: str | None) -> None:
        """Remove an upload; see :meth:`get`."""
        self._remove(self.get(upload_id, sees=sees).id)

    def sweep(self) -> None:
        """Remove what has expired."""
        now = self._clock()
        for upload in self._all():
            if upload.expires_at <= now:
                self._remove(upload.id)

    def _all(self) -> Iterator[Upload]:
        for entry in os.scandir(self._folder):
            if _ID.fullmatch(entry.name):
                upload = self._read(entry.name)
                if upload is not None:
                    yield upload

    def _read(self, upload_id: str) -> Upload | None:
        try:
            values: Any = json.loads(self._note(upload_id).read_text(encoding="utf-8"))
            return Upload(**values)
        except (OSError, ValueError, TypeError):  # somebody removed it, or died while writing it
            return None

    def _note(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.json"

    def _remove(self, upload_id: str) -> None:
        for path in (self._folder / upload_id, self._note(upload_id)):
            with suppress(OSError):
                path.unlink()
