"""``/v1/preferences``: what a user's pages remember, wherever they are opened."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from framepack.service.http import examples
from framepack.service.http.body import NeededBody
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.preferences import MOST_BYTES, Preferences

__all__ = ["router"]

router = APIRouter(prefix="/v1/preferences", tags=["Preferences"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]
_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
_KEPT: dict[int | str, Any] = {
    200: {
        "description": "The caller's values.",
        "content": {"application/json": {"schema": _OBJECT, "example": examples.PREFERENCES}},
    }
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"An object of at most {MOST_BYTES // 1000} KB.",
        "content": {
            "application/json": {
                "schema": _OBJECT,
                "examples": examples.named({"theme": examples.PREFERENCES}),
            }
        },
    }
}


def _preferences(request: Request) -> Preferences:
    found: Preferences = request.app.state.service.preferences
    return found


@router.get("", responses=_KEPT)
def get_preferences(request: Request, who: Who) -> JSONResponse:
    """Read what was kept for this key."""
    return JSONResponse(_preferences(request).of(who.owner))


@router.put("", responses=_KEPT, openapi_extra=_BODY)
async def put_preferences(request: Request, who: Who, body: NeededBody) -> JSONResponse:
    """Keep an object in the place of the one before. What is in it is the caller's business."""
    await run_in_threadpool(_preferences(request).keep, who.owner, body.values)
    return JSONResponse(body.values)
