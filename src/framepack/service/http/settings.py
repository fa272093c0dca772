"""``/v1/settings``: what holds on the server's machine, for its operators."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from framepack.service.http import examples
from framepack.service.http.body import NeededBody
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.schema import FieldObject, GroupObject
from framepack.service.machine_settings import ValueSource
from framepack.service.service import Service

__all__ = ["operator", "router"]

router = APIRouter(prefix="/v1", tags=["Machine"], responses=COMMON)


class SettingObject(FieldObject):
    """A setting."""

    value: Any = Field(description="What holds now; null for what is secret.")
    source: ValueSource
    variable: str | None = Field(description="The variable of the environment that sets it.")
    secret: bool
    is_set: bool = Field(description="Whether there is a value, which may be secret.")
    path: bool = Field(description="Whether it is a place on the server.")
    restart: bool = Field(description="Whether it holds from the server's next start only.")


class SettingsObject(BaseModel):
    """The settings of the server's machine."""

    object: Literal["settings"]
    file: str = Field(description="The settings file, whether or not it exists.")
    groups: list[GroupObject]
    fields: list[SettingObject]


def operator(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """The sender, who must be an operator; a dependency of routes.

    Raises:
        HTTPException: 403 for everybody else.
    """
    if not who.is_admin:
        raise HTTPException(403, "this is about the server's machine; it needs an operator's key")
    return who


Operator = Annotated[Caller, Depends(operator)]
_SETTINGS = examples.answer(SettingsObject, "The settings.", examples.SETTINGS)
_CHANGES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "additionalProperties": True},
                "example": {"device": "cpu", "models_dir": None},
            }
        },
    }
}


@router.get("/settings", responses=_SETTINGS)
def get_settings(request: Request, _: Operator) -> JSONResponse:
    """Say what is set on the server's machine, and where each value comes from."""
    service: Service = request.app.state.service
    return JSONResponse(service.machine_settings.values())


@router.patch("/settings", responses=_SETTINGS, openapi_extra=_CHANGES)
async def change_settings(request: Request, _: Operator, body: NeededBody) -> JSONResponse:
    """Write settings to the file; null takes one out. They hold from the next video on."""
    service: Service = request.app.state.service

    def work() -> JSONResponse:
        service.machine_settings.change(body.values)
        return JSONResponse(service.machine_settings.values())

    return await run_in_threadpool(work)
