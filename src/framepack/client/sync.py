"""The client for programs that wait."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

import httpx2

from framepack.client import calls
from framepack.client.calls import Call, File, Source, Wanted
from framepack.client.errors import ClientError, StillWorking, VideoNotMade
from framepack.client.exchange import (
    CONNECT_S,
    EVENTS_S,
    TRANSFER_S,
    Access,
    Patience,
    arguments,
    broken,
    ended_early,
    options,
    read_answer,
)
from framepack.client.following import EventLog
from framepack.client.records import Health, Model, Page, Upload, Variant, Video, VideoEvent
from framepack.client.requests import Draft
from framepack.client.transfer import Transfer

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A server, and the videos it makes. One per thread; use it in a ``with`` block.

    Args:
        url: the server's address; default: ``FRAMEPACK_URL``, else http://127.0.0.1:7860.
        api_key: default: ``FRAMEPACK_API_KEY``, else none.
        patience_s: once the server has answered, how long a request goes on trying while it is
            away, as in a restart.
        transport: of httpx2, in place of the network.

    Raises:
        InvalidRequest: the address is none.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        patience_s: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        access = Access(url, api_key)
        self.url = access.url
        self._http = httpx2.Client(**options(access), transport=transport)
        self._patience_s = patience_s
        self._was_reached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # --- Asking for videos ---------------------------------------------------------------------

    def create(
        self,
        prompt: str = "",
        *,
        image: Source | None = None,
        end_image: Source | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Video:
        """Queue a video.

        Args:
            prompt: what happens in it.
            image: the first frame: a path, bytes, or the id of an upload. So are ``end_image``,
                ``video``, ``extend``, ``audio`` and the pictures of ``section_images``.
            end_image: the last frame.
            priority: the higher go first.
            idempotency_key: with it, the same request again is the same video, today and
                tomorrow. Without, each call has one of its own, so that a broken connection makes
                no second video.
            fields: others of ``framepack.GenerationRequest``, and ``container``, ``thumbnail``,
                ``frames``, ``raw``.

        Raises:
            RequestRefused: the server says what to change.
            InvalidRequest: a file is not there.
        """
        body = self._body(prompt=prompt, image=image, end_image=end_image, **fields)
        return self._send(calls.create(body, priority=priority, key=idempotency_key))

    def plan(self, prompt: str = "", **fields: Any) -> Mapping[str, Any]:
        """What would be made of a request; nothing is queued.

        Returns:
            model, variant, size, seconds, fps, num_frames, num_sections, seed, notes, and under
            ``plan`` every section, as ``framepack.Plan.to_dict()`` has it.
        """
        return self._send(calls.plan(self._body(prompt=prompt, **fields)))

    def remix(self, video_id: str, prompt: str | None = None, **fields: Any) -> Video:
        """Queue the same video again, with another prompt or other fields."""
        return self._send(calls.remix(video_id, self._body(prompt=prompt, **fields)))

    def extend(
        self, video_id: str, prompt: str | None = None, *, seconds: float = 4.0, **fields: Any
    ) -> Video:
        """Queue a video that goes on from the end of a finished one and has both."""
        body = self._body(prompt=prompt, seconds=seconds, **fields)
        return self._send(calls.extend(video_id, body))

    def redo(
        self,
        video_id: str,
        section: int,
        *,
        prompt: str | None = None,
        image: Source | None = None,
        seed: int | None = None,
    ) -> Video:
        """Queue the same video with one section made again, and those rendered after it.

        Args:
            video_id: the video.
            section: 0 is its first one, -1 its last.
            prompt: what happens in it, as a section prompt says it; None for what it was.
            image: picture that stands for the start picture in it.
            seed: of its noise; a fresh one if nothing else is said.
        """
        body = self._body(section=section, prompt=prompt, image=image, seed=seed)
        return self._send(calls.redo(video_id, body))

    def upload(self, source: Source, name: str | None = None) -> Upload:
        """Send a file ahead; its id stands in place of a path."""
        return self._send(calls.upload(File.of(source, name)))

    # --- Videos --------------------------------------------------------------------------------

    def get(self, video_id: str) -> Video:
        """Read a video."""
        return self._send(calls.get(video_id))

    def list(
        self, *, newest_first: bool = True, page_size: int = 50, **wanted: Unpack[Wanted]
    ) -> Iterator[Video]:
        """All videos, or those that are wanted, read page by page as they are taken."""
        after = None
        while True:
            page = self.page(after=after, limit=page_size, newest_first=newest_first, **wanted)
            yield from page.videos
            after = page.last_id
            if not page.has_more or after is None:
                return

    def page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        **wanted: Unpack[Wanted],
    ) -> Page:
        """Some videos: those after one, in the order in which they were asked for."""
        return self._send(calls.page(after=after, limit=limit, newest_first=newest_first, **wanted))

    def cancel(self, video_id: str, *, keep: bool = False) -> Video:
        """Have it end; if it runs, within a step.

        Args:
            video_id: the video.
            keep: make a video of the frames so far. When ``raw["output"]`` has "partial_frames"
                and that is not 0, :meth:`download` gets it as the variant "partial".
        """
        return self._send(calls.cancel(video_id, keep=keep))

    def pause(self, video_id: str) -> Video:
        """Have it wait; if it runs, it stops within a step and later goes on from there."""
        return self._send(calls.pause(video_id))

    def unpause(self, video_id: str) -> Video:
        """Have a paused one go on."""
        return self._send(calls.unpause(video_id))

    def retry(self, video_id: str) -> Video:
        """Queue one again that failed or was cancelled; it goes on where it stopped."""
        return self._send(calls.retry(video_id))

    def delete(self, video_id: str) -> None:
        """Forget it, with its files."""
        self._send(calls.delete(video_id))

    # --- Following -----------------------------------------------------------------------------

    def wait(
        self,
        video_id: str,
        *,
        on_change: Callable[[Video], object] | None = None,
        timeout_s: float | None = None,
        poll_s: float = 1.0,
    ) -> Video:
        """Wait until it is completed.

        Args:
            video_id: the video.
            on_change: called with the video as it is, and again whenever it has changed.
            timeout_s: how long to wait; None for ever.
            poll_s: seconds between two looks.

        Raises:
            VideoNotMade: it failed or was cancelled.
            StillWorking: the time is over.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        seen: Video | None = None
        while True:
            video = self.get(video_id)
            if on_change is not None and video != seen:
                on_change(video)
            seen = video
            if video.state == "completed":
                return video
            if video.has_ended:
                raise VideoNotMade(video)
            if until is not None and time.monotonic() + poll_s > until:
                raise StillWorking(f"{video_id} is {video.state} after {timeout_s:g} s")
            time.sleep(poll_s)

    def events(self, video_id: str, *, after: int = 0) -> Iterator[VideoEvent]:
        """Its log as it grows, until it has ended. A connection that breaks is made anew.

        Args:
            video_id: the video.
            after: number of the last event that is known already.
        """
        log, patience = EventLog(after), self._patience()
        while True:
            try:
                with self._stream(calls.events_path(video_id), log.headers(), EVENTS_S) as answer:
                    if log.has_body(answer):
                        for sent in httpx2.EventSource(answer):
                            patience.renew()
                            event = log.take(sent)
                            if event is not None:
                                yield event
                    if log.is_over(answer):
                        return
                error: ClientError = ended_early(self.url, video_id)
            except httpx2.TransportError as cause:
                error = broken(self.url, cause)
            except ClientError as refusal:
                error = refusal
            self._rest(patience, error)

    def download(
        self,
        video_id: str,
        path: str | Path,
        *,
        variant: Variant = "video",
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> Path:
        """Write a finished video, or a picture of it, to a file.

        The file appears when all of it has come, in place of an older one. A download that broke
        goes on where it stopped, even in another process.

        Args:
            video_id: the video.
            path: the file to write; its folder must be there.
            variant: "video", "thumbnail" or "spritesheet".
            on_progress: called with the bytes that came and those of the whole, or None.

        Raises:
            WrongMoment: it is not finished.
            DownloadFailed, ServerUnreachable: it did not come whole.
        """
        target = Path(path)
        transfer, patience = Transfer(target), self._patience()
        while True:
            try:
                with self._stream(
                    calls.content_path(video_id, variant), transfer.headers(), TRANSFER_S
                ) as answer:
                    if transfer.begin(answer):
                        for chunk in answer.iter_bytes():
                            patience.renew()
                            transfer.write(chunk)
                            if on_progress is not None:
                                on_progress(transfer.num_bytes, transfer.total)
                        transfer.finish()
                        return target
                continue
            except httpx2.TransportError as cause:
                error = broken(self.url, cause)
            except ClientError as refusal:
                error = refusal
            finally:
                transfer.pause()
            self._rest(patience, error)

    # --- The server ----------------------------------------------------------------------------

    def models(self) -> tuple[Model, ...]:
        """The weights that it can use."""
        return self._send(calls.models())

    def health(self) -> Health:
        """How it is."""
        return self._send(calls.health(self._send(calls.version())))

    # --- Inside --------------------------------------------------------------------------------

    def _body(self, **fields: Any) -> dict[str, Any]:
        """The JSON of a request whose files were sent ahead."""
        draft = Draft(fields)
        return draft.body(
            {key: self._send(calls.upload(file)).id for key, file in draft.files.items()}
        )

    def _patience(self, *, is_repeatable: bool = True) -> Patience:
        return Patience(self._patience_s, is_repeatable=is_repeatable)

    def _rest(self, patience: Patience, error: ClientError) -> None:
        """Wait before the next try, or raise what there is no use in trying again."""
        time.sleep(patience.wait_s(error, was_reached=self._was_reached))

    def _send(self, call: Call[T]) -> T:
        patience = self._patience(is_repeatable=call.is_repeatable)
        while True:
            try:
                with ExitStack() as files:
                    answer = self._http.request(**arguments(call, files))
                self._was_reached = True
                return read_answer(call, answer)
            except httpx2.TransportError as cause:
                error = broken(self.url, cause)
            except ClientError as refusal:
                error = refusal
            self._rest(patience, error)

    @contextmanager
    def _stream(
        self, path: str, headers: Mapping[str, str], read_s: float
    ) -> Iterator[httpx2.Response]:
        """An answer that is read piece by piece; that of an error is read already."""
        timeout = httpx2.Timeout(read_s, connect=CONNECT_S)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            self._was_reached = True
            if not answer.is_success:
                answer.read()
            yield answer
