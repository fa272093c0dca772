"""Video while it renders: parts made once, whoever watches, in the job's own folder.

Nothing is made before somebody asks for it. Whatever takes time runs in a few threads of its own,
so those who wait hold none of them, and nothing is done on the event loop.
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from framepack.domain.errors import FramePackError
from framepack.media.fragments import FILE_TYPE, free_box, moved, movie_box
from framepack.service.changes import Changes
from framepack.service.editions import Edition, Kind, Part, edition_of
from framepack.service.files import DataFolder
from framepack.service.live_files import make_preview, make_spritesheet, write_piece
from framepack.service.records import Job, NoSuchJob, WrongState
from framepack.service.run_reading import Piece
from framepack.service.section_pictures import section_frame, write_section_picture

__all__ = ["Live", "Preview"]

logger = logging.getLogger(__name__)

_THREADS = 2
_POLL_S = 0.1
_QUIET_S = 15.0  # then something is sent, so that a proxy does not take the stream for dead
_PAUSE_S = 0.2  # a job has news with every step
_NUM_PREVIEWS = 64
_BLOCK = 32 * 1024  # Chromium hands a file on in blocks of this size, and waits until one is full


@dataclass(frozen=True, slots=True)
class Preview:
    """A section in the making.

    Attributes:
        data: an animated WebP of a few kilobytes.
        tag: differs where the picture does.
    """

    data: bytes
    tag: str


class Live:
    """Makes what is streamed of the jobs in a data folder.

    Args:
        data: the jobs' files.
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="live")
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, ...], Future[None]] = {}
        self._previews: OrderedDict[str, Preview] = OrderedDict()
        self._is_closing = threading.Event()

    def close(self) -> None:
        """Begin nothing more, and stop after the part at work."""
        self._is_closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def edition(
        self, job: Job, *, kind: Kind | None = None, revision: int | None = None
    ) -> Edition:
        """What can be played of a job; see ``edition_of``."""
        folder = self._data.job(job.id)
        return await run_in_threadpool(edition_of, job, folder, kind=kind, revision=revision)

    async def init(self, job: Job, edition: Edition) -> bytes:
        """The initialisation segment of an edition, made if it is not there.

        Raises:
            NoSuchJob: there is no part yet, or the job's files were removed.
        """
        if not edition.parts:
            raise NoSuchJob(f"{job.id} has no part yet; wait for its first section")
        path = await self._file(job, edition, edition.init_name, edition.parts[0].piece)
        return await run_in_threadpool(path.read_bytes)

    async def part(self, job: Job, edition: Edition, part: Part) -> Path:
        """The media segment of a part, made if it is not there.

        Raises:
            NoSuchJob: the job's files were removed.
        """
        return await self._file(job, edition, part.name, part.piece)

    async def growing(
        self, read_job: Callable[[], Job], changes: Changes, kind: Kind
    ) -> AsyncIterator[bytes]:
        """One file of all parts, each sent as soon as it is there, until the job ends.

        Args:
            read_job: reads the job anew.
            changes: say when something happened to it.
            kind: of the edition.
        """
        yield FILE_TYPE
        size, num_sent = len(FILE_TYPE), 0
        job = await run_in_threadpool(read_job)
        with changes.listening(job.id) as listener:
            while True:
                job = await run_in_threadpool(read_job)
                edition = await self.edition(job, kind=kind)
                new = edition.parts[num_sent:]
                for part in new:
                    path = await self.part(job, edition, part)
                    data = await run_in_threadpool(path.read_bytes)
                    if num_sent == 0:
                        data = movie_box(await self.init(job, edition)) + data
                    size, num_sent = size + len(data), num_sent + 1
                    yield data
                if edition.is_over:
                    return
                if new:
                    padding = free_box(_to_full_block(size))
                    size += len(padding)
                    yield padding
                if not await listener.wait(_QUIET_S):
                    size += len(free_box())
                    yield free_box()
                await asyncio.sleep(_PAUSE_S)

    async def whole(self, job: Job, edition: Edition) -> tuple[int, AsyncIterator[bytes]]:
        """One file of an edition's parts, beginning at time 0: number of bytes, and the bytes."""
        init = await self.init(job, edition)
        paths = [await self.part(job, edition, part) for part in edition.parts]
        size = len(init) + sum(path.stat().st_size for path in paths)
        earlier = -edition.parts[0].first_frame

        async def content() -> AsyncIterator[bytes]:
            yield init
            for path in paths:
                segment = await run_in_threadpool(path.read_bytes)
                yield moved(segment, earlier, edition.fps)

        return size, content()

    async def preview(self, job: Job) -> Preview:
        """The section at work as a small picture that moves.

        Raises:
            NoSuchJob: there is none (yet).
        """
        folder = self._data.job(job.id)
        try:
            tag = f"{(folder.run / 'preview.webp').stat().st_mtime_ns:x}"
        except OSError as error:
            raise NoSuchJob(
                f"{job.id} has no preview; there is one while steps are taken"
            ) from error
        known = self._previews.get(job.id)
        if known is not None and known.tag == tag:
            return known

        def make() -> None:
            self._previews[job.id] = Preview(make_preview(folder), tag)
            while len(self._previews) > _NUM_PREVIEWS:
                self._previews.popitem(last=False)

        await self._made(job, (job.id, "preview", tag), make)
        return self._previews[job.id]

    async def spritesheet(self, job: Job, video: Path) -> Path:
        """The spritesheet of a finished video, made at the first call.

        Args:
            job: completed.
            video: what it left.

        Returns:
            The JPEG. Beside it is the JSON that says where the frames are; see ``Spritesheet``.

        Raises:
            NoSuchJob: the video cannot be read any more.
        """
        folder = self._data.job(job.id)
        path = folder.live / "spritesheet.jpg"
        if not path.is_file():
            await self._made(job, (job.id, "spritesheet"), lambda: make_spritesheet(folder, video))
        return path

    async def section_picture(self, job: Job, section: int) -> Path:
        """A small picture of a section, made at the first call; see ``section_frame``.

        Raises:
            NoSuchJob: there is no such section, or nothing of it to show.
        """
        folder = self._data.job(job.id)
        before = None
        while True:
            shown = await run_in_threadpool(section_frame, job, folder, section)
            path = folder.live / shown.file_name
            make = partial(write_section_picture, folder, shown)
            try:
                if not path.is_file():
                    await self._made(job, (job.id, path.name), make)
            except NoSuchJob:
                # A run that went on meanwhile has another frame in its place.
                if shown == before:
                    raise
                before = shown
            else:
                return path

    async def _file(self, job: Job, edition: Edition, name: str, piece: Piece) -> Path:
        """A file of the live folder; all that belongs to the same piece is made with it."""
        folder = self._data.job(job.id)
        path = folder.live / name
        if not path.is_file():
            await self._made(
                job,
                (job.id, edition.kind, piece.path.name, piece.key),
                lambda: write_piece(folder, edition, piece, is_closing=self._is_closing.is_set),
                is_there=path.is_file,
            )
        return path

    async def _made(
        self,
        job: Job,
        key: tuple[str, ...],
        make: Callable[[], object],
        *,
        is_there: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until something is made, or enough of it, by one thread however many ask for it.

        Raises:
            NoSuchJob: it cannot be made; the message says why.
            WrongState: the server is stopping.
        """
        future = asyncio.wrap_future(self._once(key, make))
        while not is_there() and not future.done():
            await asyncio.wait({future}, timeout=_POLL_S)
        if is_there():
            return
        if future.cancelled():
            raise WrongState("the server is stopping; ask again when it is back")
        try:
            await future
        except FramePackError as error:
            logger.warning("%s: %s", job.id, error)
            raise NoSuchJob(f"{job.id} has nothing to show here: {error}") from error
        if self._is_closing.is_set():
            raise WrongState("the server is stopping; ask again when it is back")

    def _once(self, key: tuple[str, ...], make: Callable[[], object]) -> "Future[None]":
        with self._lock:
            if self._is_closing.is_set():
                raise WrongState("the server is stopping; ask again when it is back")
            if key not in self._under_way:
                self._under_way[key] = self._threads.submit(self._make, key, make)
            return self._under_way[key]

    def _make(self, key: tuple[str, ...], make: Callable[[], object]) -> None:
        try:
            make()
        finally:
            with self._lock:
                del self._under_way[key]


def _to_full_block(size: int) -> int:
    """Bytes to add to so many, at least 8, so that the last block is full."""
    return 8 + -(size + 8) % _BLOCK
