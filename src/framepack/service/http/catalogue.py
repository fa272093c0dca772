"""What a server has to offer: models, LoRAs, styles; and its queue as a whole."""

import tomllib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from framepack.models.parts import ModelSpec
from framepack.models.spec import PRESETS
from framepack.service.http import examples
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.records import NoSuchJob
from framepack.service.requests import lora_names
from framepack.service.service import Service
from framepack.weights.locate import are_weights_present

__all__ = ["queue_values", "router"]

router = APIRouter(prefix="/v1", responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


class ModelObject(BaseModel):
    """Weights that a request can name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    title: str
    variants: list[str]
    weights_present: bool
    licence: str | None
    min_size: int = Field(description="Shortest side in px.")
    max_size: int = Field(description="Longest side in px.")
    defaults: dict[str, Any]


class ModelList(BaseModel):
    """The models of a server."""

    object: Literal["list"]
    data: list[ModelObject]


class LoraObject(BaseModel):
    """A LoRA that a request can name."""

    id: str
    object: Literal["lora"]
    filename: str
    bytes: int


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
    "/models",
    tags=["Catalogue"],
    responses=examples.answer(ModelList, "Models.", examples.MODELS),
)
def list_models(request: Request, _: Who) -> JSONResponse:
    """List the models, and whether their weights are here."""
    data = [_model(spec, _service(request)) for spec in PRESETS.values()]
    return JSONResponse({"object": "list", "data": data})


@router.get(
    "/models/{model_id}",
    tags=["Catalogue"],
    responses=examples.answer(ModelObject, "A model.", examples.MODEL),
)
def get_model(request: Request, _: Who, model_id: str) -> JSONResponse:
    """Say what a model is."""
    if model_id not in PRESETS:
        raise NoSuchJob(f"there is no model {model_id[:60]!r}; choose {', '.join(PRESETS)}")
    return JSONResponse(_model(PRESETS[model_id], _service(request)))


@router.get(
    "/loras",
    tags=["Catalogue"],
    responses=examples.answer(LoraList, "LoRAs.", examples.LORAS),
)
def list_loras(request: Request, _: Who) -> JSONResponse:
    """List the LoRAs that requests can name."""
    data = [
        {"id": name, "object": "lora", "filename": path.name, "bytes": path.stat().st_size}
        for name, path in lora_names(_service(request).settings).items()
    ]
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


def _model(spec: ModelSpec, service: Service) -> dict[str, Any]:
    defaults = spec.defaults
    return {
        "id": spec.key,
        "object": "model",
        "created": 0,
        "owned_by": "framepack",
        "title": spec.title,
        "variants": list(spec.variants),
        "weights_present": are_weights_present(spec, service.settings),
        "licence": spec.licence.name if spec.licence else None,
        "min_size": spec.geometry.min_size,
        "max_size": spec.geometry.max_size,
        "defaults": {
            "resolution": defaults.resolution,
            "num_inference_steps": defaults.num_inference_steps,
            "guidance_scale": defaults.guidance_scale,
            "true_cfg_scale": defaults.true_cfg_scale,
            "variant": defaults.variant,
        },
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
