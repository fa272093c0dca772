"""A server in a few lines that says what API.md says, and fails as it is told to."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

VIDEO: dict[str, Any] = {
    "id": "video_1",
    "object": "video",
    "created_at": 1_700_000_000,
    "completed_at": None,
    "expires_at": None,
    "status": "queued",
    "model": "tiny",
    "prompt": "the camera pans left",
    "progress": 0,
    "seconds": "4",
    "size": "128x96",
    "remixed_from_video_id": None,
    "error": None,
}
"""A video object with nothing but what the OpenAI shape has."""


def video(**changes: Any) -> dict[str, Any]:
    """A video object with other values."""
    return {**VIDEO, **changes}


def refusal(status: int, message: str, **more: Any) -> httpx2.Response:
    """An answer with an error object."""
    headers = more.pop("headers", None)
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return httpx2.Response(status, json={"error": {**error, **more}}, headers=headers)


def stream_of(*events: tuple[int, str, dict[str, Any]], breaks: bool = False) -> httpx2.Response:
    """An answer that streams events, and may break off after them."""

    class _Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b": here\n\n"
            for seq, kind, data in events:
                yield f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
            if breaks:
                raise httpx2.ReadError("connection reset by peer")

        async def __aiter__(self) -> Any:
            for chunk in self:
                yield chunk

    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=_Body())


def file_of(
    content: bytes, request: httpx2.Request, *, etag: str = '"one"', cut: int | None = None
) -> httpx2.Response:
    """An answer with a file or the part of it that is asked for; ``cut``: bytes until it breaks."""
    headers = {"etag": etag, "content-type": "video/mp4", "accept-ranges": "bytes"}
    start, status = 0, 200
    asked = request.headers.get("range")
    if asked and request.headers.get("if-range") == etag:
        start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
        if start >= len(content):
            return httpx2.Response(416, headers={"content-range": f"bytes */{len(content)}"})
        headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    body = content[start:]
    headers["content-length"] = str(len(body))

    class _Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield body[:cut]
            if cut is not None and cut < len(body):
                raise httpx2.ReadError("connection reset by peer")

        async def __aiter__(self) -> Any:
            for chunk in self:
                yield chunk

    return httpx2.Response(status, headers=headers, stream=_Body())


@dataclass
class Stub:
    """Answers requests one after the other, and remembers them.

    Attributes:
        answers: what to answer; the last one again and again. An exception is raised.
        requests: what was asked.
    """

    answers: list[httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]]
    requests: list[httpx2.Request] = field(default_factory=list)

    def transport(self) -> httpx2.MockTransport:
        """Takes the place of the network."""
        return httpx2.MockTransport(self._answer)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)
