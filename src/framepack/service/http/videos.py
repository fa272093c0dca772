"""``/v1/videos``: OpenAI's Videos API with our extensions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from framepack.domain.errors import InvalidRequest
from framepack.service.http import examples
from framepack.service.http.body import AnyBody, Body, NeededBody
from framepack.service.http.checking import checked
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import (
    Deleted,
    PlanObject,
    VideoList,
    VideoObject,
    list_values,
    plan_values,
    video_values,
)
from framepack.service.http.received import job_of, received
from framepack.service.http.redo import Again, redo_body
from framepack.service.http.schemas import request_body
from framepack.service.http.wire import Asked, read_asked
from framepack.service.inputs import Input
from framepack.service.records import STATES, Job, State
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1/videos", tags=["Videos"], responses=COMMON)

POLL_MS = 1000
"""What clients that ask again and again are told to wait."""

Who = Annotated[Caller, Depends(caller)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="The same key with the same request is the same video.",
    ),
]
_VIDEO = examples.answer(VideoObject, "The video, finished or not.", examples.VIDEO)


class Move(BaseModel):
    """Where a waiting video is to stand."""

    model_config = ConfigDict(extra="forbid")

    priority: int | None = Field(
        None, ge=-1000, le=1000, description="It goes behind others of the same."
    )
    before: str | None = Field(None, description="The waiting video that it goes ahead of.")


class Cancel(BaseModel):
    """What is to become of a video that is to end."""

    model_config = ConfigDict(extra="forbid")

    keep: bool = Field(False, description="Make a video of the frames so far.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _answer(job: Job) -> JSONResponse:
    headers = {} if job.has_ended else {"openai-poll-after-ms": str(POLL_MS)}
    return JSONResponse(video_values(job), headers=headers)


@contextmanager
def _understood(
    request: Request, who: Caller, body: Body
) -> Iterator[tuple[Asked, dict[str, Input]]]:
    """A request and its files; errors inside are told in the words of whoever sent it."""
    asked = read_asked(body)
    try:
        with received(_service(request), asked, who) as files:
            yield asked, files
    except InvalidRequest as error:
        told = asked.in_their_words(error)
        if told is error:
            raise
        raise told from error


async def _made(
    request: Request, who: Caller, body: Body, make: Callable[[Asked, dict[str, Input]], Job]
) -> JSONResponse:
    """Read a request, have a job made of it in a thread, and answer with it."""

    def work() -> JSONResponse:
        with _understood(request, who, body) as (asked, files):
            return _answer(make(asked, files))

    return await checked(request, work)


@router.post("", responses=_VIDEO, openapi_extra=request_body(examples.CREATE))
async def create_video(
    request: Request, who: Who, body: NeededBody, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Ask for a video; it is queued and made in its turn."""

    def make(asked: Asked, files: dict[str, Input]) -> Job:
        return _service(request).submit(
            asked.fields,
            inputs=files,
            options=asked.options,
            owner=who.owner,
            priority=asked.priority,
            idempotency_key=idempotency_key,
        )

    return await _made(request, who, body, make)


@router.post(
    "/plan",
    responses=examples.answer(PlanObject, "What would be made.", examples.PLANNED),
    openapi_extra=request_body(examples.PLAN),
)
async def plan_video(request: Request, who: Who, body: NeededBody) -> JSONResponse:
    """Say what would be made of a request: size, frames, every section, time and memory.

    Nothing is kept.
    """

    def work() -> JSONResponse:
        with _understood(request, who, body) as (asked, files):
            plan = _service(request).plan(asked.fields, files, asked.options)
            return JSONResponse(plan_values(plan, _service(request).estimate(plan)))

    return await checked(request, work)


@router.post(
    "/extensions",
    responses=_VIDEO,
    openapi_extra=request_body(examples.EXTENSION, needs_video=True),
)
async def extend_any(
    request: Request, who: Who, body: NeededBody, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Go on from the end of a video: a job's, or a file. The seconds are what is added."""
    return await _from_video(request, who, body, "extend", idempotency_key)


@router.post(
    "/edits",
    responses=_VIDEO,
    openapi_extra=request_body(examples.EDIT, needs_video=True),
)
async def edit_any(
    request: Request, who: Who, body: NeededBody, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Draw a video anew: a job's, or a file."""
    return await _from_video(request, who, body, "video", idempotency_key)


@router.get("", responses=examples.answer(VideoList, "A page of videos.", examples.VIDEOS))
def list_videos(
    request: Request,
    who: Who,
    after: Annotated[str | None, Query(description="The id that the last page ended with.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Videos of a page.")] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By creation.")] = "desc",
    search: Annotated[
        str, Query(max_length=500, description="Words of prompts, a seed, or how an id begins.")
    ] = "",
    state: Annotated[
        str | None, Query(description=f"Some of {', '.join(STATES)}, between commas.")
    ] = None,
    group: Annotated[str | None, Query(max_length=200, description="The videos' group.")] = None,
) -> JSONResponse:
    """List videos, the newest first."""
    page = _service(request).store.page(
        owner=who.sees,
        after=after,
        limit=limit,
        newest_first=order == "desc",
        states=_states(state),
        group=group,
        search=search,
    )
    return JSONResponse(list_values(page))


def _states(text: str | None) -> list[State] | None:
    if not text:
        return None
    found: list[State] = [known for known in STATES if known in text.split(",")]
    unknown = set(text.split(",")) - set(found)
    if unknown:
        raise InvalidRequest(
            f"state is {min(unknown)[:40]!r}; it must be some of {', '.join(STATES)}, between "
            "commas"
        )
    return found


@router.get("/{video_id}", responses=_VIDEO)
def get_video(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Say how far a video is. The header openai-poll-after-ms says when to ask again."""
    return _answer(_service(request).store.get(video_id, owner=who.sees))


@router.delete(
    "/{video_id}",
    responses=examples.answer(Deleted, "It is gone.", examples.gone("video", examples.VIDEO["id"])),
)
def delete_video(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Forget a video and remove its files. One that is being made must be cancelled first."""
    _service(request).delete(video_id, sees=who.sees)
    return JSONResponse({"id": video_id, "object": "video.deleted", "deleted": True})


@router.post("/{video_id}/cancel", responses=_VIDEO)
def cancel_video(
    request: Request, who: Who, video_id: str, asked: Cancel | None = None
) -> JSONResponse:
    """Have a video end. One that is being made stops within a step.

    With keep, a video is made of the frames so far: `output.partial` names it, and
    `output.partial_frames` is there as soon as it is known how many they are.
    """
    service, keep = _service(request), asked is not None and asked.keep
    return _asked_of(request, who, video_id, lambda job_id: service.cancel(job_id, keep=keep))


@router.post("/{video_id}/partial", responses=_VIDEO)
async def keep_partial(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Make a video of the frames of one that was paused, cancelled or failed, and wait for it."""
    service = _service(request)
    await run_in_threadpool(service.store.get, video_id, owner=who.sees)
    return await run_in_threadpool(_answer, await service.partials.make(video_id))


@router.post("/{video_id}/pause", responses=_VIDEO)
def pause_video(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Have a video wait. One that is being made stops within a step, and later goes on."""
    return _asked_of(request, who, video_id, _service(request).store.pause)


@router.post("/{video_id}/resume", responses=_VIDEO)
def resume_video(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Let a paused video go on."""
    return _asked_of(request, who, video_id, _service(request).store.unpause)


@router.post("/{video_id}/retry", responses=_VIDEO)
def retry_video(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Queue a failed or cancelled video again; it goes on where it stopped."""
    return _asked_of(request, who, video_id, _service(request).store.retry)


@router.post(
    "/{video_id}/move",
    responses=_VIDEO,
    openapi_extra={
        "requestBody": {
            "content": {"application/json": {"examples": examples.named(examples.MOVE)}}
        }
    },
)
def move_video(request: Request, who: Who, video_id: str, move: Move) -> JSONResponse:
    """Change the turn of a waiting video."""
    store = _service(request).store
    if (move.priority is None) == (move.before is None):
        raise InvalidRequest("give either priority or before: where the video is to stand")
    if move.before is not None:
        store.get(move.before, owner=who.sees)
        if move.before == video_id:
            raise InvalidRequest("before names the video itself; name another one")
    return _asked_of(
        request,
        who,
        video_id,
        lambda job_id: store.move(job_id, priority=move.priority, before=move.before),
    )


@router.post(
    "/{video_id}/remix",
    responses=_VIDEO,
    openapi_extra=request_body(examples.REMIX, optional=True),
)
async def remix_video(
    request: Request, who: Who, body: AnyBody, video_id: str, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make a video again with another prompt, or with anything else changed."""

    def make(asked: Asked, files: dict[str, Input]) -> Job:
        return _service(request).remix(
            video_id,
            asked.fields,
            inputs=files,
            sees=who.sees,
            **_sent(asked, who, idempotency_key),
        )

    return await _made(request, who, body, make)


@router.post("/{video_id}/redo", responses=_VIDEO, openapi_extra=redo_body())
async def redo_section(
    request: Request,
    who: Who,
    body: NeededBody,
    video_id: str,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make one section again, and those rendered after it; the others stay as they are."""
    again = Again.read(body.values)

    def make(asked: Asked, files: dict[str, Input]) -> Job:
        return _service(request).redo(
            video_id,
            section=again.section,
            prompt=again.prompt,
            image=files.get("image"),
            seed=again.seed,
            sees=who.sees,
            **_sent(asked, who, idempotency_key),
        )

    return await _made(request, who, Body(again.others(body.values), body.is_form), make)


@router.post(
    "/{video_id}/extend",
    responses=_VIDEO,
    openapi_extra=request_body(examples.REMIX, optional=True),
)
async def extend_video(
    request: Request, who: Who, body: AnyBody, video_id: str, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Go on from the end of a finished video; the seconds are what is added.

    A forward-only video is gone on from its latents if nothing but prompt, seconds and seed is
    said, and the prompt is then that of the new sections. Else it is gone on from its frames. The
    answer's notes say which.
    """
    return await _from_video(request, who, body, "extend", idempotency_key, video_id)


@router.post(
    "/{video_id}/edit",
    responses=_VIDEO,
    openapi_extra=request_body(examples.REMIX, optional=True),
)
async def edit_video(
    request: Request, who: Who, body: AnyBody, video_id: str, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Draw a finished video anew."""
    return await _from_video(request, who, body, "video", idempotency_key, video_id)


# --- Inside ------------------------------------------------------------------------------------


async def _from_video(
    request: Request,
    who: Caller,
    body: Body,
    field: Literal["extend", "video"],
    idempotency_key: str | None,
    video_id: str | None = None,
) -> JSONResponse:
    """A video made from a video: a job's, or one that is sent as ``video``."""
    service = _service(request)
    if video_id is None and body.values.get("video") in (None, ""):
        raise InvalidRequest("video is missing; send the file, or the id of a finished video")
    said = video_id or body.values.pop("video")
    source = job_of(said)

    def make(asked: Asked, files: dict[str, Input]) -> Job:
        given: str | Input = source if source is not None else files.pop(field)
        do = service.extend if field == "extend" else service.edit
        sent = _sent(asked, who, idempotency_key)
        return do(given, asked.fields, inputs=files, sees=who.sees, **sent)

    if source is None:
        body.values[field] = said
    return await _made(request, who, body, make)


def _sent(asked: Asked, who: Caller, idempotency_key: str | None) -> dict[str, Any]:
    sent: dict[str, Any] = {
        "owner": who.owner,
        "priority": asked.priority,
        "idempotency_key": idempotency_key,
    }
    if asked.options.model_fields_set:
        sent["options"] = asked.options
    return sent


def _asked_of(
    request: Request, who: Caller, video_id: str, ask: Callable[[str], Job]
) -> JSONResponse:
    _service(request).store.get(video_id, owner=who.sees)
    return _answer(ask(video_id))
