"""``GET /v1/videos/{id}/content``: what a finished job left, in parts where that is asked for."""

import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from framepack.service.files import JobFolder
from framepack.service.http.errors import COMMON, RESPONSES, error_response
from framepack.service.http.guard import Caller, caller
from framepack.service.records import Job, NoSuchJob
from framepack.service.service import Service

__all__ = ["PartialFile", "router"]

router = APIRouter(prefix="/v1/videos", tags=["Videos"], responses=COMMON)

Variant = Literal["video", "thumbnail", "spritesheet", "raw", "frames", "partial"]

_TYPES = {
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".tiff": "image/tiff",
    ".json": "application/json",
    ".zip": "application/zip",
    ".safetensors": "application/octet-stream",
}


class PartialFile(FileResponse):
    """A file with an ETag, in whole or in the parts that Range names.

    Args:
        path: the file, which is there.
        name: under which browsers save it.
        attachment: have browsers save it, not show it.
        suffix: says what kind of file it is; the path's unless given.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        attachment: bool = False,
        suffix: str | None = None,
    ) -> None:
        kind = (path.suffix if suffix is None else suffix).lower()
        super().__init__(
            path,
            media_type=_TYPES.get(kind, "application/octet-stream"),
            filename=name or path.name,
            content_disposition_type="attachment" if attachment else "inline",
            stat_result=path.stat(),
            headers={"Cache-Control": "private, no-cache"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or say that the client has it already, or that there is no such part."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        response: Response | None = None
        if self._is_known(headers.get(b"if-none-match", "")):
            kept = {name: self.headers[name] for name in ("etag", "last-modified", "cache-control")}
            response = Response(status_code=304, headers=kept)
        elif b"range" in headers:
            if _is_beyond(headers[b"range"], int(self.headers["content-length"])):
                size = self.headers["content-length"]
                response = error_response(
                    416,
                    f"Range is {headers[b'range'][:80]!r}, but the file has {size} bytes",
                    headers={"Content-Range": f"bytes */{size}"},
                )
            elif not _is_range(headers[b"range"]):  # a server may ignore what it cannot read
                scope = {
                    **scope,
                    "headers": [pair for pair in scope["headers"] if pair[0].lower() != b"range"],
                }
        if response is not None:
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _is_known(self, tags: str) -> bool:
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in known or self.headers["etag"] in known


@router.head("/{video_id}/content", include_in_schema=False)
@router.get(
    "/{video_id}/content",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in sorted(set(_TYPES.values()))
            },
        },
        206: {
            "description": "The part that Range names.",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already: If-None-Match names its ETag."},
        416: RESPONSES[416],
    },
)
async def download_content(
    request: Request,
    video_id: str,
    who: Annotated[Caller, Depends(caller)],
    variant: Annotated[Variant, Query(description="What of it; frames are a ZIP file.")] = "video",
    download: Annotated[bool, Query(description="Have browsers save it.")] = False,
) -> Response:
    """Download what a finished video left, or what was kept of one that was stopped (partial)."""
    service: Service = request.app.state.service
    job = await run_in_threadpool(service.store.get, video_id, owner=who.sees)
    if variant == "spritesheet":
        video = await run_in_threadpool(service.file_of, job, "video")
        path = await request.app.state.live.spritesheet(job, video)
    else:
        path = await run_in_threadpool(_file, service, job, variant)
    name = f"{job.id}{'' if variant == 'video' else f'-{variant}'}{path.suffix}"
    return await run_in_threadpool(_answer, path, name, download)


def _answer(path: Path, name: str, download: bool) -> Response:
    try:
        return PartialFile(path, name=name, attachment=download)
    except FileNotFoundError as error:
        raise NoSuchJob(f"{name} was removed a moment ago") from error


def _file(service: Service, job: Job, variant: str) -> Path:
    if variant != "frames":
        return service.file_of(job, variant)
    folder = service.folder_of(job, "frames")
    return _zipped(folder, service.data.job(job.id))


def _zipped(folder: Path, job: JobFolder) -> Path:
    """All frames in one file, made when it is first asked for."""
    target = job.live / "frames.zip"
    if target.is_file():
        return target
    with tempfile.NamedTemporaryFile(dir=job.live, suffix=".part", delete=False) as part:
        path = Path(part.name)
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for picture in sorted(folder.iterdir()):
                archive.write(picture, picture.name)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)
    return target


def _is_range(text: str) -> bool:
    unit, _, parts = text.partition("=")
    return unit.strip().lower() == "bytes" and any(
        _bounds(part) is not None for part in parts.split(",")
    )


def _is_beyond(text: str, size: int) -> bool:
    """Whether every part that is named begins after the end."""
    if not _is_range(text):
        return False
    bounds = [_bounds(part) for part in text.partition("=")[2].split(",")]
    found = [pair for pair in bounds if pair is not None]
    return any(
        (first is not None and first >= size) or (first is None and last == 0)
        for first, last in found
    )


def _bounds(part: str) -> tuple[int | None, int | None] | None:
    """First and last byte of ``5-9``, ``5-`` or ``-5``; None if it is none of these."""
    first, dash, last = part.strip().partition("-")
    if not dash or not (first or last):
        return None
    for number in (first, last):
        if number and not (number.isascii() and number.isdecimal() and len(number) < 19):
            return None
    start, end = (int(number) if number else None for number in (first, last))
    if start is not None and end is not None and end < start:
        return None
    return start, end
