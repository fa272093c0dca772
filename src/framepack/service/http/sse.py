"""``GET /v1/videos/{id}/events``: a job's log as server-sent events, from any place in it on."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from framepack.domain.errors import InvalidRequest
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import event_values
from framepack.service.records import JobEvent, NoSuchJob
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1/videos", tags=["Videos"], responses=COMMON)

_BATCH = 200
_KEEP_ALIVE_S = 15.0
_RETRY_MS = 1000
_LAST_SEQ = 2**62


@router.get(
    "/{video_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events, until the video has ended.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'id: 4\nevent: StepDone\ndata: {"event": "StepDone", "step": 1}\n\n',
                }
            },
        },
        204: {"description": "The video has ended, and the client has had all of its events."},
    },
)
async def follow_video(
    request: Request,
    video_id: str,
    who: Annotated[Caller, Depends(caller)],
    last_event_id: Annotated[
        str | None, Header(description="Number of the last event that the client has had.")
    ] = None,
    after: Annotated[
        int, Query(ge=0, le=_LAST_SEQ, description="The same, where no header can be sent.")
    ] = 0,
) -> Response:
    """Follow a video: everything that happened to it and everything that will, in order."""
    service: Service = request.app.state.service
    seen = _number(last_event_id) if last_event_id is not None else after
    job = await run_in_threadpool(service.store.get, video_id, owner=who.sees)
    if job.has_ended and not await run_in_threadpool(
        service.store.events, video_id, after=seen, limit=1
    ):
        return Response(status_code=204)
    return StreamingResponse(
        _told(service, video_id, seen),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def _told(service: Service, job_id: str, seen: int) -> AsyncIterator[bytes]:
    """The log as lines, with a comment where nothing happens for long."""
    yield f"retry: {_RETRY_MS}\n\n".encode()
    with service.changes.listening(job_id) as listener:
        while True:
            lines, seen, is_over = await listener.read(seen, partial(_news, service, job_id, seen))
            if lines:
                yield lines
            if is_over or service.changes.is_over:
                return  # a client that has not had the end asks the next server for the rest
            if not lines and not await listener.wait(_KEEP_ALIVE_S):
                yield b": still here\n\n"


def _news(service: Service, job_id: str, seen: int) -> tuple[bytes, int, bool]:
    """Lines for what is new, the number of the last of them, and whether no more will come."""
    try:
        has_ended = service.store.get(job_id).has_ended  # before the events, which end it
    except NoSuchJob:
        return b"", seen, True
    events = service.store.events(job_id, after=seen, limit=_BATCH)
    lines = b"".join(map(_lines, events))
    is_over = has_ended and len(events) < _BATCH
    return lines, events[-1].seq if events else seen, is_over


def _lines(event: JobEvent) -> bytes:
    data = json.dumps(event_values(event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n".encode()


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InvalidRequest(
            f"Last-Event-ID is {text[:40]!r}; it must be the number of an event, or be left out"
        )
    return int(text)
