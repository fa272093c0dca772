"""What a server has to offer: LoRAs, styles; and its queue as a whole."""

import tomllib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from framepack.service.http import examples
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.requests import lora_names
from framepack.service.service import Service
from framepack.weights.lora_facts import lora_facts

__all__ = ["queue_values", "router"]

router = APIRouter(prefix="/v1", responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


class LoraObject(BaseModel):
    """A LoRA that a request can name."""

    id: str
    object: Literal["lora"]
    filename: str
    bytes: int
    title: str | None = Field(description="As the file calls itself.")
    trigger_words: list[str]
    base: str | None = Field(description="What the file says that it was trained for.")


class LoraList(BaseModel):
    """The LoRAs of a server."""

    object: Literal["list"]
    data: list[LoraObject]


class StyleObject(BaseModel):
    """Words and values under a name; a request names it in ``styles``."""

    id: str
    object: Literal["style"]
    prompt: str
    negative_prompt: str
    values: dict[str, Any]


class StyleList(BaseModel):
    """The styles of a server."""

    object: Literal["list"]
    data: list[StyleObject]


class QueueObject(BaseModel):
    """The queue as a whole."""

    object: Literal["queue"]
    paused: bool
    counts: dict[str, int] = Field(description="Videos by state.")
    waiting: list[str] = Field(description="The caller's waiting videos in their turn.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get(
    "/loras",
    tags=["Catalogue"],
    responses=examples.answer(LoraList, "LoRAs.", examples.LORAS),
)
def list_loras(request: Request, _: Who) -> JSONResponse:
    """List the LoRAs that requests can name."""
    data = []
    for name, path in lora_names(_service(request).settings).items():
        facts = lora_facts(path)
        data.append(
            {
                "id": name,
                "object": "lora",
                "filename": path.name,
                "bytes": path.stat().st_size,
                "title": facts.title,
                "trigger_words": list(facts.trigger_words),
                "base": facts.base,
            }
        )
    return JSONResponse({"object": "list", "data": data})


_STYLES = examples.answer(StyleList, "Styles.", examples.STYLES)


@router.get("/presets", tags=["Catalogue"], responses=_STYLES)
@router.get("/styles", tags=["Catalogue"], responses=_STYLES)
def list_styles(request: Request, _: Who) -> JSONResponse:
    """List the styles that requests can name: words around the prompt, and presets of values."""
    return JSONResponse({"object": "list", "data": _styles(_service(request))})


@router.get(
    "/queue",
    tags=["Queue"],
    responses=examples.answer(QueueObject, "The queue.", examples.QUEUE),
)
def get_queue(request: Request, who: Who) -> JSONResponse:
    """Say what waits, in the order of its turn."""
    return JSONResponse(queue_values(_service(request), who))


@router.post(
    "/queue/pause",
    tags=["Queue"],
    responses=examples.answer(QueueObject, "The queue, paused.", examples.QUEUE),
)
def pause_queue(request: Request, who: Who) -> JSONResponse:
    """Begin no more videos; those that are being made go on."""
    return _set_paused(_service(request), who, paused=True)


@router.post(
    "/queue/resume",
    tags=["Queue"],
    responses=examples.answer(QueueObject, "The queue, not paused.", examples.QUEUE),
)
def resume_queue(request: Request, who: Who) -> JSONResponse:
    """Begin videos again."""
    return _set_paused(_service(request), who, paused=False)


def _set_paused(service: Service, who: Caller, *, paused: bool) -> JSONResponse:
    if not who.is_admin:
        raise HTTPException(403, "the queue is everybody's; only an operator's key can pause it")
    service.store.pause_queue(paused)
    return JSONResponse(queue_values(service, who))


def queue_values(service: Service, who: Caller) -> dict[str, Any]:
    """The queue as ``QueueObject`` has it."""
    return {
        "object": "queue",
        "paused": service.store.is_paused,
        "counts": service.store.counts(),
        "waiting": list(service.store.waiting(owner=who.sees)),
    }


def _styles(service: Service) -> list[dict[str, Any]]:
    """What the style file holds; a file that cannot be read holds nothing for requests either."""
    try:
        tables = tomllib.loads(service.settings.styles_file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []
    return [
        {
            "id": name,
            "object": "style",
            "prompt": str(table.get("prompt", "")),
            "negative_prompt": str(table.get("negative_prompt", "")),
            "values": {
                key: str(value) if not isinstance(value, bool | int | float | str) else value
                for key, value in table.items()
                if key not in ("prompt", "negative_prompt")
            },
        }
        for name, table in tables.items()
        if isinstance(table, dict)
    ]
