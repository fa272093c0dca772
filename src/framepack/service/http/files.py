"""``/file=`` of SD.Next, and links that work without a key for a while."""

from typing import Annotated, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from framepack.service.http.content import PartialFile
from framepack.service.http.errors import COMMON, error_response
from framepack.service.http.guard import Caller, caller
from framepack.service.http.outputs import Forbidden, output_path, split_name
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


@router.get("/file={path:path}", tags=["SD.Next"], response_class=Response)
@router.head("/file={path:path}", include_in_schema=False)
async def file(request: Request, path: str, who: Who) -> Response:
    """A file that a job left, by the names of history. There are no others here."""
    service: Service = request.app.state.service

    def work() -> Response:
        try:
            if not request.scope["path"].endswith(f"/file={path}"):
                raise Forbidden(path)  # a line break after the name, which routing takes away
            job_id, parts = split_name(path)
            service.store.get(job_id, owner=who.sees)
            found = output_path(service.data, job_id, parts)
            if found is not None:
                return PartialFile(found, name=f"{job_id}-{found.name}")
        except Forbidden:
            return error_response(
                403, "only what a job left is served here: /file=JOB/NAME, as history has it"
            )
        except FileNotFoundError:  # removed a moment ago
            pass
        raise HTTPException(404, f"{job_id} left no {'/'.join(parts)}")

    return await run_in_threadpool(work)


class LinkRequest(BaseModel):
    """What a link is to lead to, and for how long."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    variant: Literal["video", "thumbnail", "spritesheet", "raw", "frames", "partial"] = "video"
    hours: float | None = Field(
        None, gt=0, le=24 * 365, description="The server's own time unless given."
    )


class LinkAnswer(BaseModel):
    """A link that works without a key."""

    object: Literal["video.link"]
    url: str = Field(description="Path and query; what goes before is this server's address.")
    expires_at: int = Field(description="Unix time in seconds.")


@router.post("/v1/videos/{video_id}/links", tags=["Videos"], response_model=LinkAnswer)
async def make_link(
    request: Request, video_id: str, who: Who, asked: LinkRequest | None = None
) -> JSONResponse:
    """Make a link to a finished video that works without a key until it expires."""
    service: Service = request.app.state.service
    asked = asked or LinkRequest()
    job = await run_in_threadpool(service.store.get, video_id, owner=who.sees)
    await run_in_threadpool(
        service.file_of,
        job,
        "video" if asked.variant in ("spritesheet", "frames") else asked.variant,
    )
    url = request.app.state.links.sign(
        f"/v1/videos/{job.id}/content",
        lasts_s=(asked.hours or service.config.link_hours) * 3600,
        query=[("variant", asked.variant)],
    )
    expires = int(dict(parse_qsl(url.partition("?")[2]))["expires"])
    return JSONResponse({"object": "video.link", "url": url, "expires_at": expires})
