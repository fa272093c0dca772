"""``/v1/videos/{id}/sections``: what single sections of a video look like."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from framepack.service.http.content import PartialFile
from framepack.service.http.errors import COMMON
from framepack.service.http.live import JobOfCaller, LiveParts
from framepack.service.records import NoSuchJob

__all__ = ["router"]

router = APIRouter(prefix="/v1/videos/{video_id}/sections", tags=["Videos"], responses=COMMON)


@router.get(
    "/{section}/picture",
    response_class=Response,
    responses={
        200: {
            "description": "A picture of at most 320 pixels a side.",
            "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already: If-None-Match names its ETag."},
    },
)
async def get_section_picture(
    job: JobOfCaller,
    live: LiveParts,
    section: Annotated[int, Path(ge=0, le=10**6, description="0 is the first of the video.")],
) -> Response:
    """Show a section: the frame in its middle, once it is rendered, in running videos too."""
    path = await live.section_picture(job, section)
    try:
        return await run_in_threadpool(PartialFile, path)
    except FileNotFoundError as error:
        raise NoSuchJob(f"{job.id} was removed a moment ago") from error
