"""``/v1/system``: what the server's machine can run, and why not more."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from framepack.service.http import examples
from framepack.service.http.errors import COMMON
from framepack.service.http.settings import Operator
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["Machine"], responses=COMMON)


class FindingObject(BaseModel):
    """One thing worth knowing about the machine."""

    topic: str
    level: Literal["good", "note", "problem"]
    text: str
    advice: str = Field(description="What to do to get more, or empty.")


class SystemObject(BaseModel):
    """The server's machine, as `framepack doctor --json` tells of it."""

    object: Literal["system"]
    checked_at: int
    ok: bool = Field(description="Whether nothing is a problem.")
    findings: list[FindingObject]
    machine: dict[str, Any] | None = Field(
        description="Versions, memory, cards, folders and models; null where it cannot be seen."
    )


@router.get("/system", responses=examples.answer(SystemObject, "The machine.", examples.SYSTEM))
def get_system(
    request: Request,
    _: Operator,
    refresh: Annotated[bool, Query(description="Look again, which takes some seconds.")] = False,
) -> JSONResponse:
    """Say what the server's machine can run. What was found is kept for five minutes."""
    service: Service = request.app.state.service
    found = service.examination.found(refresh=refresh)
    return JSONResponse({"object": "system", **found, "checked_at": int(found["checked_at"])})
