"""Watching a video while it renders: one growing file, playlists of parts, previews, the sheet."""

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from framepack.domain.errors import FramePackError
from framepack.media.fragments import decoder_name
from framepack.media.spritesheet import Spritesheet
from framepack.service.editions import Edition, Kind, master_playlist, media_playlist
from framepack.service.http import examples
from framepack.service.http.content import PartialFile
from framepack.service.http.errors import COMMON, RESPONSES
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import named_values
from framepack.service.links import Links
from framepack.service.live import Live
from framepack.service.records import Job
from framepack.service.service import Service

__all__ = ["live_of", "router"]

logger = logging.getLogger(__name__)

_PLAYLIST = "application/vnd.apple.mpegurl"
_FOR_GOOD = "private, max-age=31536000, immutable"
_REVISION_HEADER = {
    "FramePack-Revision": {
        "description": "Grows whenever something is added to what can be played.",
        "schema": {"type": "integer"},
    }
}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.live = Live(app.state.service.data)
    try:
        yield
    finally:
        await run_in_threadpool(app.state.live.close)


router = APIRouter(
    prefix="/v1/videos/{video_id}", tags=["Videos"], lifespan=_lifespan, responses=COMMON
)

VideoId = Annotated[str, Path(description="The video's id.")]
Revision = Annotated[
    int | None,
    Query(ge=1, le=10**9, description="What could be played then; the newest unless given."),
]


def live_of(request: Request) -> Live:
    """What makes the parts; a dependency of routes."""
    found = request.app.state.live
    assert isinstance(found, Live), "the router's lifespan makes it"
    return found


async def _job(request: Request, video_id: VideoId, who: Annotated[Caller, Depends(caller)]) -> Job:
    service: Service = request.app.state.service
    return await run_in_threadpool(service.store.get, video_id, owner=who.sees)


JobOfCaller = Annotated[Job, Depends(_job)]
LiveParts = Annotated[Live, Depends(live_of)]


class MadePlan(BaseModel):
    """What a video is made by."""

    object: Literal["video.plan"] = "video.plan"
    plan: dict[str, Any] = Field(description="Every section, as `framepack plan --json` has it.")


@router.get(
    "/plan",
    responses=examples.answer(MadePlan, "What is made.", examples.MADE_PLAN),
    summary="Every section of a video",
)
def get_plan(job: JobOfCaller) -> JSONResponse:
    """The plan that a video is made by, from the moment it is queued."""
    # As it was written: an older version of this program may have planned it.
    return JSONResponse(MadePlan(plan=named_values(job.plan)).model_dump())


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Fragmented MP4. Of a forward-only video that renders: all parts, each "
            "as soon as it is there, until the job ends. Of a bi-directional one: what exists.",
            "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
            "headers": _REVISION_HEADER,
        },
        206: {"description": "A part of the finished video."},
        304: {"description": "It is still the revision of If-None-Match."},
        416: RESPONSES[416],
    },
    summary="Watch a video while it renders",
)
async def watch_video(request: Request, job: JobOfCaller, live: LiveParts) -> Response:
    """One file for a `<video>` element; see the how-to on live video for what fits where."""
    service: Service = request.app.state.service
    edition = await live.edition(job)
    if job.state == "completed" and edition.is_copied:
        name = job.output.get("video")
        path = service.data.job(job.id).output / str(name)
        if path.suffix == ".mp4" and path.is_file():  # with its sound, and parts can be asked for
            return PartialFile(path)
    if edition.grows_backward:
        return await _newest(request, job, live, edition)
    headers = {"Cache-Control": "no-store", "FramePack-Revision": str(edition.revision)}

    async def content() -> AsyncIterator[bytes]:
        parts = live.growing(lambda: service.store.get(job.id), service.changes, edition.kind)
        try:
            async for data in parts:
                yield data
        except FramePackError as error:  # too late for a status: the file ends here
            logger.info("%s: its stream ends: %s", job.id, error)

    return StreamingResponse(content(), media_type="video/mp4", headers=headers)


@router.get(
    "/stream/{playlist}.m3u8",
    response_class=Response,
    responses={
        200: {
            "description": "An HLS playlist.",
            "content": {_PLAYLIST: {"schema": {"type": "string"}}},
            "headers": _REVISION_HEADER,
        },
        304: {"description": "It is still that of If-None-Match."},
    },
    summary="A playlist of the parts that exist",
)
async def get_playlist(
    request: Request,
    job: JobOfCaller,
    live: LiveParts,
    playlist: Annotated[
        Literal["playlist", "run", "final"],
        Path(description='"playlist" is for players; "run" are the rendered parts.'),
    ],
    revision: Revision = None,
) -> Response:
    """HLS, with fragmented MP4. A forward-only video's playlist grows at its end; of a
    bi-directional one each revision is whole, and `FramePack-Revision` says when there is another.
    """
    kinds: dict[str, Kind | None] = {"playlist": None, "run": "run", "final": "final"}
    edition = await live.edition(job, kind=kinds[playlist], revision=revision)
    address = _signed(request, job)
    is_asked_for = playlist != "playlist" or revision is not None
    # A growing playlist never changes its parts. Where the finished video has others, players
    # that begin when it is there are led to another playlist.
    if is_asked_for or edition.is_lasting:
        text = media_playlist(edition, address)
    else:
        plan = job.plan
        text = master_playlist(
            address("run.m3u8"), width=plan["width"], height=plan["height"], fps=plan["fps"]
        )
    return _tagged(request, text.encode(), _PLAYLIST, edition.revision)


class StreamLinks(BaseModel):
    """Addresses that work without a key, for `<video>` elements and players."""

    object: Literal["video.stream_links"] = "video.stream_links"
    stream: str = Field(description="One growing file; path and query.")
    playlist: str = Field(description="An HLS playlist, whose segments are signed as well.")
    expires_at: int = Field(description="Unix time in seconds.")


@router.post("/stream/links", summary="Have a video watched without a key")
async def make_stream_links(request: Request, job: JobOfCaller) -> StreamLinks:
    """Sign the addresses of the stream, for as long as the server's links last."""
    service: Service = request.app.state.service
    links: Links = request.app.state.links
    base, lasts_s = f"/v1/videos/{job.id}/stream", service.config.link_hours * 3600
    stream = links.sign(base, lasts_s=lasts_s)
    return StreamLinks(
        stream=stream,
        playlist=links.sign(f"{base}/playlist.m3u8", lasts_s=lasts_s),
        expires_at=int(dict(parse_qsl(stream.partition("?")[2]))["expires"]),
    )


@router.get(
    "/stream/{name}",
    response_class=Response,
    responses={
        200: {
            "description": "A segment that a playlist names; it never changes.",
            "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
        },
    },
    summary="A segment",
)
async def get_segment(
    job: JobOfCaller,
    live: LiveParts,
    name: Annotated[str, Path(description="As in the playlist.", examples=["run-init.mp4"])],
) -> Response:
    """Made at the first call. The type of the initialisation segment says how to decode it."""
    kind: Kind = "final" if name.startswith("final-") else "run"
    edition = await live.edition(job, kind=kind)
    if name == edition.init_name:
        init = await live.init(job, edition)
        media_type = f'video/mp4; codecs="{decoder_name(init)}"'
        return Response(init, media_type=media_type, headers={"Cache-Control": _FOR_GOOD})
    path = await live.part(job, edition, edition.part(name))
    data = await run_in_threadpool(path.read_bytes)
    return Response(data, media_type="video/mp4", headers={"Cache-Control": _FOR_GOOD})


@router.get(
    "/preview",
    response_class=Response,
    responses={
        200: {
            "description": "An animated picture of at most 6,000 bytes.",
            "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "It is still that of If-None-Match."},
    },
    summary="The section that is taking shape",
)
async def get_preview(request: Request, job: JobOfCaller, live: LiveParts) -> Response:
    """There is a new one at most twice a second, when an event `StepDone` says so."""
    found = await live.preview(job)
    return _tagged(request, found.data, "image/webp", None, tag=found.tag)


@router.get(
    "/spritesheet.{form}",
    response_class=Response,
    responses={
        200: {
            "description": "Where in the spritesheet the frame of each time is.",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/vtt": {"schema": {"type": "string"}},
            },
        }
    },
    summary="The times of the spritesheet",
)
async def get_spritesheet_times(
    request: Request,
    job: JobOfCaller,
    live: LiveParts,
    form: Annotated[Literal["json", "vtt"], Path(description="JSON, or WebVTT for players.")],
) -> Response:
    """The picture itself is the video's content with `variant=spritesheet`."""
    service: Service = request.app.state.service
    video = await run_in_threadpool(service.file_of, job, "video")
    path = await live.spritesheet(job, video)
    text = await run_in_threadpool(path.with_suffix(".json").read_text, "utf-8")
    values: dict[str, Any] = json.loads(text)
    if form == "json":
        return JSONResponse(values)
    address = "content?variant=spritesheet"
    return Response(Spritesheet.from_dict(values).to_webvtt(address), media_type="text/vtt")


async def _newest(request: Request, job: Job, live: Live, edition: Edition) -> Response:
    """All that exists of a video that grows toward its start."""
    tag = f'"{edition.kind}-{edition.revision}"'
    headers = {
        "Cache-Control": "no-cache",
        "ETag": tag,
        "FramePack-Revision": str(edition.revision),
    }
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    size, content = await live.whole(job, edition)
    headers["Content-Length"] = str(size)
    return StreamingResponse(content, media_type="video/mp4", headers=headers)


def _signed(request: Request, job: Job) -> Callable[[str], str]:
    """How a playlist names a segment: whoever came by a signed link gets links of the same end."""
    who: Caller = caller(request)
    if not who.is_link:
        return lambda name: name
    links: Links = request.app.state.links
    # Half a second more: the end is cut to whole seconds, and addresses must stay what they are.
    lasts_s = int(request.query_params["expires"]) + 0.5 - time.time()

    def address(name: str) -> str:
        link = links.sign(f"/v1/videos/{job.id}/stream/{name}", lasts_s=lasts_s)
        return f"{name}?{link.partition('?')[2]}"

    return address


def _tagged(
    request: Request, data: bytes, media_type: str, revision: int | None, *, tag: str = ""
) -> Response:
    """A response that need not be sent again to whoever has it."""
    tag = f'"{tag or hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if revision is not None:
        headers["FramePack-Revision"] = str(revision)
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
