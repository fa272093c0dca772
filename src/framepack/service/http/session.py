"""``/v1/session``: a browser signs in with its key once, and has a cookie from then on."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

import framepack
from framepack.service.http import examples
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.service import Service
from framepack.service.sessions import LASTS_S, Sessions

__all__ = ["router"]

router = APIRouter(prefix="/v1/session", tags=["Session"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


class SessionObject(BaseModel):
    """Who the server takes a browser for."""

    object: Literal["session"]
    needs_key: bool = Field(description="Whether anything but this can be asked without a key.")
    signed_in: bool = Field(description="No key is needed, or one came along, or its cookie.")
    is_admin: bool = Field(description="Everybody's videos, the queue and the settings are open.")
    version: str


class SignIn(BaseModel):
    """A key, as others send it in a header."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=512)


_SESSION = examples.answer(SessionObject, "The session.", examples.SESSION)


@router.get("", responses=_SESSION)
def get_session(request: Request, who: Who) -> JSONResponse:
    """Say whether a key is needed, and whether one came along; needs none itself."""
    return JSONResponse(_values(request, who.owner, is_admin=who.is_admin))


@router.post(
    "",
    responses=_SESSION,
    openapi_extra={
        "requestBody": {
            "content": {"application/json": {"examples": examples.named({"key": {"key": "KEY"}})}}
        }
    },
)
def begin_session(request: Request, sent: SignIn) -> JSONResponse:
    """Sign in: the answer has a cookie, which pages of this server send along from then on."""
    service, sessions = _state(request)
    key = service.keys.check(sent.key.strip())
    if key is None and service.keys.required:
        raise HTTPException(401, "the API key is wrong or was revoked; give another one")
    if key is None:
        return JSONResponse(_values(request, "", is_admin=True))
    answer = JSONResponse(_values(request, key.id, is_admin=key.is_admin))
    answer.set_cookie(
        sessions.cookie,
        sessions.begin(key),
        max_age=int(LASTS_S),
        httponly=True,
        samesite="strict",
        # Behind a proxy with TLS only the page itself says how it was reached.
        secure=request.headers.get("origin", "").startswith("https://"),
    )
    return answer


@router.delete("", responses=_SESSION)
def end_session(request: Request) -> JSONResponse:
    """Sign out: the cookie is removed."""
    service, sessions = _state(request)
    answer = JSONResponse(_values(request, "", is_admin=not service.keys.required))
    answer.delete_cookie(sessions.cookie, httponly=True, samesite="strict")
    return answer


def _state(request: Request) -> tuple[Service, Sessions]:
    return request.app.state.service, request.app.state.sessions


def _values(request: Request, owner: str, *, is_admin: bool) -> dict[str, Any]:
    needs_key = _state(request)[0].keys.required
    return {
        "object": "session",
        "needs_key": needs_key,
        "signed_in": bool(owner) or not needs_key,
        "is_admin": is_admin,
        "version": framepack.__version__,
    }
