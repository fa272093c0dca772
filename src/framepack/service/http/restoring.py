"""Settings of videos that were made, and the files that they were made of."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from framepack.domain.errors import InvalidRequest
from framepack.service import restore
from framepack.service.http import examples
from framepack.service.http.body import NeededBody
from framepack.service.http.checking import checked
from framepack.service.http.content import PartialFile
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.received import received
from framepack.service.http.wire import Asked
from framepack.service.records import NoSuchJob
from framepack.service.restore import Restored
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1", responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


class SettingsObject(BaseModel):
    """Settings of a video, ready to be sent to ``POST /v1/videos``."""

    object: Literal["settings"]
    request: dict[str, Any] = Field(
        description="The fields that were given, with ids of uploads in the place of files."
    )
    options: dict[str, Any] = Field(description="What is to be left besides; send it along.")
    notes: list[str] = Field(description="Lines that people should see.")
    source: str | None = Field(None, description="The video that they are of.")


class FileFacts(BaseModel):
    """What a video or picture file is."""

    filename: str
    width: int
    height: int
    fps: float = Field(description="0 for a picture.")
    num_frames: int
    duration_s: float
    codec: str
    pixel_format: str


class InspectedObject(SettingsObject):
    """What travels in a video or picture that this program wrote."""

    version: str = Field(description="Of the program that made it.")
    models: dict[str, str] = Field(description="SHA-256 of the weights, by component.")
    file: FileFacts


_SETTINGS: dict[str, Any] = {
    "object": "settings",
    "request": {
        "prompt": "the camera pans left",
        "image": "upload_0123456789abcdef01234567",
        "model": "tiny",
        "duration_s": 2.0,
        "seed": 7,
    },
    "options": {"container": "webm"},
    "notes": [],
    "source": examples.VIDEO["id"],
}
_INSPECTED: dict[str, Any] = {
    **_SETTINGS,
    "options": {},
    "source": None,
    "version": "0.1.0",
    "models": {"transformer": "9f2c..."},
    "file": {
        "filename": "out.mp4",
        "width": 128,
        "height": 128,
        "fps": 30.0,
        "num_frames": 60,
        "duration_s": 2.0,
        "codec": "h264",
        "pixel_format": "yuv420p",
    },
}
_FILE = {"type": "string", "format": "binary"}
_INSPECT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {
                "schema": {
                    "type": "object",
                    "properties": {"file": schema},
                    "required": ["file"],
                    "additionalProperties": False,
                },
                **more,
            }
            for kind, schema, more in (
                ("multipart/form-data", _FILE, {}),
                (
                    "application/json",
                    {"type": "string", "description": "The id of an upload, or a data URL."},
                    {"examples": examples.named({"upload": {"file": examples.UPLOAD["id"]}})},
                ),
            )
        },
    }
}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.post(
    "/videos/{video_id}/reuse",
    tags=["Videos"],
    responses=examples.answer(SettingsObject, "The settings.", _SETTINGS),
)
def reuse_settings(request: Request, who: Who, video_id: str) -> JSONResponse:
    """Give the settings of a video, with the seed it got; its files become uploads of yours."""
    service = _service(request)
    job = service.store.get(video_id, owner=who.sees)
    found = restore.reused(job, service.data.job(job.id), service.uploads, owner=who.owner)
    return JSONResponse({**_values(found), "source": job.id})


@router.post(
    "/inspect",
    tags=["Uploads"],
    responses=examples.answer(InspectedObject, "What the file says.", _INSPECTED),
    openapi_extra=_INSPECT_BODY,
)
async def inspect_file(request: Request, who: Who, body: NeededBody) -> JSONResponse:
    """Read the settings out of a video or picture that this program wrote."""
    service = _service(request)
    unknown = [name for name in body.values if name != "file"]
    if unknown:
        raise InvalidRequest(f"unknown field {unknown[0][:80]!r}; send one field named file")
    if "file" not in body.values:
        raise InvalidRequest("file is missing; send a part named file, or the id of an upload")

    def work() -> JSONResponse:
        asked = Asked({}, files={"file": body.values["file"]})
        with received(service, asked, who) as files:
            found = restore.inspected(
                files["file"],
                service.uploads,
                owner=who.owner,
                max_pixels=service.config.max_pixels,
                settings=service.settings,
                recipes=service.recipes.paths(),
            )
            return JSONResponse(_inspected_values(found, files["file"].name))

    return await checked(request, work)


@router.head("/videos/{video_id}/inputs/{field}", include_in_schema=False)
@router.get(
    "/videos/{video_id}/inputs/{field}",
    tags=["Videos"],
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"*/*": {"schema": _FILE}}},
        206: {"description": "The part that Range names."},
        304: {"description": "The client has it already: If-None-Match names its ETag."},
    },
)
async def get_input(
    request: Request,
    who: Who,
    video_id: str,
    field: Annotated[
        str,
        Path(
            max_length=40,
            description="image, end_image, extend, video or audio; or section_images-K or "
            "section_prompts-K, where K is the place in the request's list, from 0.",
            examples=["image"],
        ),
    ],
) -> Response:
    """Download a file that a video was asked for with. Range and ETag are honoured."""
    service = _service(request)

    def work() -> Response:
        job = service.store.get(video_id, owner=who.sees)
        path = restore.input_file(job, service.data.job(job.id), field)
        try:
            if path is not None:
                return PartialFile(path, name=f"{job.id}-{path.name}")
        except FileNotFoundError:  # removed a moment ago
            pass
        raise NoSuchJob(f"{job.id} has no file for {field}; its request says what it was made of")

    return await run_in_threadpool(work)


@router.head("/uploads/{upload_id}/content", include_in_schema=False)
@router.get(
    "/uploads/{upload_id}/content",
    tags=["Uploads"],
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"*/*": {"schema": _FILE}}},
        206: {"description": "The part that Range names."},
        304: {"description": "The client has it already: If-None-Match names its ETag."},
    },
)
async def get_upload_content(request: Request, who: Who, upload_id: str) -> Response:
    """Download a file that was sent ahead. Range and ETag are honoured."""
    uploads = _service(request).uploads

    def work() -> Response:
        upload = uploads.get(upload_id, sees=who.sees)
        path = uploads.folder / upload.id
        try:
            return PartialFile(path, name=upload.name, suffix=PurePath(upload.name).suffix)
        except FileNotFoundError:  # removed a moment ago
            raise NoSuchJob(f"there is no upload {upload_id!r}; send the file again") from None

    return await run_in_threadpool(work)


def _values(found: Restored) -> dict[str, Any]:
    return {
        "object": "settings",
        "request": found.request,
        "options": found.options,
        "notes": list(found.notes),
        "source": None,
    }


def _inspected_values(found: restore.Found, name: str) -> dict[str, Any]:
    info = found.inspection.info
    return {
        **_values(found.settings),
        "version": found.version,
        "models": dict(found.hashes),
        "file": {"filename": name, **info.to_dict()},
    }
