"""A download that goes on where it stopped: a file beside the target until all of it is there."""

import hashlib
import re
import secrets
from pathlib import Path
from typing import IO

import httpx2

from framepack.client.errors import BadAnswer, DownloadFailed
from framepack.client.exchange import error_of
from framepack.domain.errors import FramePackError

__all__ = ["Transfer"]

_WHOLE, _PART, _BEYOND = 200, 206, 416


class Transfer:
    """One file on its way, over as many answers as it takes.

    What came so far lies beside the target under a name made of the ETag, so that another process
    finds it too, and never goes on with a part of something else.

    Args:
        target: the file to be; replaced at once when all of it has come.

    Attributes:
        num_bytes: that came, those of earlier tries included.
        total: bytes of the whole, or None.

    Raises:
        FramePackError: the folder is not there.
    """

    def __init__(self, target: Path) -> None:
        if not target.parent.is_dir():
            raise FramePackError(f"there is no folder {target.parent}; make it first")
        if target.is_dir():
            raise FramePackError(f"{target} is a folder; name the file to write")
        self._target = target
        self._etag = ""
        self._part: Path | None = None
        self._file: IO[bytes] | None = None
        self.num_bytes = 0
        self.total: int | None = None

    def headers(self) -> dict[str, str]:
        """What is asked for now."""
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if self._part is not None and self._etag and self._part.exists():
            headers["Range"] = f"bytes={self._part.stat().st_size}-"
            headers["If-Range"] = self._etag
        return headers

    def begin(self, answer: httpx2.Response) -> bool:
        """Take in the head of an answer.

        Returns:
            Whether its body is to be written; otherwise another answer must be asked for.

        Raises:
            ClientError: it is no file. The body of an error must have been read.
        """
        if answer.status_code == _BEYOND:
            return self._begin_anew()
        if answer.status_code not in (_WHOLE, _PART):
            raise error_of(answer)
        etag = answer.headers.get("etag", "")
        if answer.status_code == _PART:
            return self._go_on(answer, etag)
        self.total = _size(answer.headers.get("content-length"))
        known = self._part
        self._etag = etag if etag.startswith('"') else ""
        self._part = self._part_path()
        if known is None and self._part.exists() and self._part.stat().st_size:
            return False
        if known is not None and known != self._part:  # it was a part of something else
            known.unlink(missing_ok=True)
        self.num_bytes = 0
        self._file = self._part.open("wb")
        return True

    def write(self, chunk: bytes) -> None:
        """Take in a piece of the body."""
        assert self._file is not None
        self._file.write(chunk)
        self.num_bytes += len(chunk)

    def pause(self) -> None:
        """The answer has ended, well or not."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._part is not None and not self._etag:  # nobody could go on with it
            self._part.unlink(missing_ok=True)

    def finish(self) -> None:
        """The body has come to its end: put the file in its place.

        Raises:
            DownloadFailed: it is shorter than announced.
        """
        assert self._file is not None
        assert self._part is not None
        self._file.close()
        self._file = None
        found = self._part.stat().st_size
        if self.total is not None and found != self.total:
            if found > self.total:  # two programs wrote to it at once
                self._part.unlink()
            raise DownloadFailed(
                f"{found} of {self.total} bytes came for {self._target}; try again"
            )
        self._part.replace(self._target)

    def _go_on(self, answer: httpx2.Response, etag: str) -> bool:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("content-range", ""))
        if found is None or self._part is None or etag not in ("", self._etag):
            raise BadAnswer(f"{answer.url} sent a part that was not asked for; try again")
        size = self._part.stat().st_size
        if int(found[1]) != size:
            return self._begin_anew()
        self.num_bytes, self.total = size, int(found[2])
        self._file = self._part.open("ab")
        return True

    def _begin_anew(self) -> bool:
        if self._part is not None:
            self._part.unlink(missing_ok=True)
        return False

    def _part_path(self) -> Path:
        word = hashlib.sha256(self._etag.encode()).hexdigest()[:16]
        return self._target.with_name(
            f".{self._target.name}.{word if self._etag else secrets.token_hex(8)}.part"
        )


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
