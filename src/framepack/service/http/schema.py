"""``GET /v1/schema`` and ``/v1/codecs``: what a form needs to ask for a video."""

from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from framepack.domain.forms import FieldKind, form_field
from framepack.domain.groups import COMMON as IN_VIEW
from framepack.domain.groups import GROUPS, group_of
from framepack.domain.request import GenerationRequest
from framepack.service.http import examples
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.schemas import SERVERS_OWN
from framepack.service.http.wire import FILES, OPTIONS
from framepack.service.options import JobOptions
from framepack.service.requests import without_options
from framepack.service.service import Service

__all__ = ["FieldObject", "router"]

router = APIRouter(prefix="/v1", tags=["Catalogue"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]

_TEXTS = ("help", "rule", "unset")
_OF_THE_JOB = {"id": "job", "title": "Group and label"}


class FieldObject(BaseModel):
    """A field of a form."""

    name: str
    title: str
    help: str = Field(description="One sentence on what it does.")
    unit: str
    rule: str = Field(description='What a valid value is, as the end of "it must be ...".')
    option: str = Field(description="Option of the command line.")
    group: str = Field(description="Id of the part of the form that it is in.")
    common: bool = Field(description="Whether it is in view.")
    kind: FieldKind
    choices: list[str] | None
    min: float | None
    max: float | None
    exclusive_min: bool = Field(description="The value must be above the least one.")
    step: float | None = Field(description="A handy one, no limit.")
    default: Any
    unset: str = Field(description="What it means that there is no value.")


class GroupObject(BaseModel):
    """A part of the form."""

    id: str
    title: str


class SchemaObject(BaseModel):
    """Every field of a request, and what can be left besides the video."""

    object: Literal["schema"]
    groups: list[GroupObject]
    fields: list[FieldObject]
    options: list[FieldObject]


class CodecObject(BaseModel):
    """A video encoder."""

    id: str = Field(description="Its name, which requests give as codec.")
    object: Literal["codec"]
    title: str
    hardware: bool = Field(description="It needs hardware of its own.")
    works: bool = Field(description="It could be opened on this machine.")
    accepted: bool = Field(description="Requests may name it.")


class CodecList(BaseModel):
    """The encoders of a server, hardware ones first."""

    object: Literal["list"]
    data: list[CodecObject]


@router.get("/codecs", responses=examples.answer(CodecList, "The encoders.", examples.CODECS))
def list_codecs(request: Request, _: Who) -> JSONResponse:
    """List the video encoders, each tried by opening it. The first answer takes a moment."""
    service: Service = request.app.state.service
    data = [
        {
            "id": each.id,
            "object": "codec",
            "title": each.title,
            "hardware": each.is_hardware,
            "works": each.works,
            "accepted": each.is_accepted,
        }
        for each in service.encoders.found()
    ]
    return JSONResponse({"object": "list", "data": data})


@router.get("/schema", responses=examples.answer(SchemaObject, "The fields.", examples.SCHEMA))
def get_schema(_: Who) -> JSONResponse:
    """Say which fields there are, in groups, with their titles, limits and defaults."""
    return JSONResponse(_schema())


@cache
def _schema() -> dict[str, Any]:
    fields = GenerationRequest.model_fields
    names = [name for group in GROUPS for name in group.names if name not in SERVERS_OWN]
    return {
        "object": "schema",
        "groups": [*({"id": group.id, "title": group.title} for group in GROUPS), _OF_THE_JOB],
        "fields": [
            _told(form_field(name, fields[name], group=group_of(name).id, common=name in IN_VIEW))
            for name in names
        ],
        "options": [_told(_option(name)) for name in (*OPTIONS, "audio")],
    }


def _option(name: str) -> dict[str, Any]:
    group = _OF_THE_JOB["id"] if name in ("group", "label") else group_of("codec").id
    found: dict[str, Any] = form_field(name, JobOptions.model_fields[name], group=group)
    return found | ({"kind": "file", "default": None} if name in FILES else {})


def _told(field: dict[str, Any]) -> dict[str, Any]:
    """The same field for people who do not see the command line."""
    return field | {name: without_options(field[name]) for name in _TEXTS}
