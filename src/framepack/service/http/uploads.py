"""``/v1/uploads``: files that are sent ahead of the request that uses them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from framepack.domain.errors import InvalidRequest
from framepack.service.http import examples
from framepack.service.http.body import NeededBody
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import Deleted, UploadList, UploadObject, upload_values
from framepack.service.http.received import received_file
from framepack.service.intake import kinds_of
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1/uploads", tags=["Uploads"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                    "additionalProperties": False,
                }
            }
        },
    }
}
_UPLOAD = examples.answer(
    UploadObject, "The upload; a request names it by its id.", examples.UPLOAD
)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.post("", responses=_UPLOAD, openapi_extra=_FORM)
async def create_upload(request: Request, who: Who, body: NeededBody) -> JSONResponse:
    """Send a picture, a video, a sound or tensors once, to use it in any number of requests."""
    service = _service(request)
    unknown = [name for name in body.values if name not in ("file", "purpose")]
    if unknown:
        raise InvalidRequest(f"unknown field {unknown[0][:80]!r}; send one part named file")
    sent = body.values.get("file")
    if not isinstance(sent, UploadFile):
        raise InvalidRequest("file is missing; send a form with one file in a part named file")

    def work() -> JSONResponse:
        with received_file(service, sent) as path:
            if path.stat().st_size == 0:
                raise InvalidRequest("file is empty (0 bytes); give another one")
            if not kinds_of(path):
                raise InvalidRequest(
                    "file is neither a picture nor a video nor a sound that is read here, nor "
                    "safetensors; send JPEG, PNG, MP4, WAV or another usual kind"
                )
            upload = service.uploads.keep(path, name=sent.filename or "file", owner=who.owner)
        return JSONResponse(upload_values(upload))

    return await run_in_threadpool(work)


@router.get("", responses=examples.answer(UploadList, "The newest first.", examples.UPLOADS))
def list_uploads(request: Request, who: Who) -> JSONResponse:
    """List what was sent and has not expired."""
    uploads = _service(request).uploads.list(sees=who.sees)
    return JSONResponse({"object": "list", "data": [upload_values(each) for each in uploads]})


@router.get("/{upload_id}", responses=_UPLOAD)
def get_upload(request: Request, who: Who, upload_id: str) -> JSONResponse:
    """Say what was sent."""
    return JSONResponse(upload_values(_service(request).uploads.get(upload_id, sees=who.sees)))


@router.delete(
    "/{upload_id}",
    responses=examples.answer(
        Deleted, "It is gone.", examples.gone("upload", examples.UPLOAD["id"])
    ),
)
def delete_upload(request: Request, who: Who, upload_id: str) -> JSONResponse:
    """Remove what was sent; videos that use it keep it."""
    _service(request).uploads.delete(upload_id, sees=who.sees)
    return JSONResponse({"id": upload_id, "object": "upload.deleted", "deleted": True})
