"""``/v1/models`` and ``/v1/recipes``: what videos are made with, and how it gets here."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from framepack.domain.errors import InvalidRequest
from framepack.models.parts import ModelSpec
from framepack.models.spec import recipe_text
from framepack.service.http import examples
from framepack.service.http.body import AnyBody, Body, NeededBody
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import Deleted
from framepack.service.http.settings import Operator
from framepack.service.http.tools import TaskObject, task_values
from framepack.service.models import ServedModel
from framepack.service.service import Service
from framepack.service.tools.records import ToolTask
from framepack.weights.locate import are_weights_present

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["Models"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


class ModelObject(BaseModel):
    """Weights that a request can name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    title: str
    base: str = Field(description="Preset that it is, or was made from.")
    recipe: bool = Field(description="Whether it is a recipe that an operator keeps.")
    variants: list[str]
    weights_present: bool
    size_gb: float | None = Field(description="Of its networks, here or to be fetched.")
    licence: str | None
    licence_url: str | None
    licence_accepted: bool
    download: TaskObject | None = Field(description="The newest download; for operators.")
    sources: dict[str, str] = Field(description="Where each component is from; for operators.")
    min_size: int = Field(description="Shortest side in px.")
    max_size: int = Field(description="Longest side in px.")
    defaults: dict[str, Any]


class ModelList(BaseModel):
    """The models of a server."""

    object: Literal["list"]
    data: list[ModelObject]


class LicenceObject(BaseModel):
    """The terms of a model's weights."""

    object: Literal["licence"]
    model: str
    name: str | None = Field(description="Null where there are no terms to accept.")
    url: str | None = Field(description="Where its text is, which is what counts.")
    text: str = Field(description="A summary to read before accepting.")
    facts: list[str]
    accepted: bool


class RecipeObject(BaseModel):
    """A file that says which components make up a model."""

    id: str | None = Field(description="Under which it is kept; null where it is not.")
    object: Literal["recipe"]
    text: str = Field(description="TOML.")
    title: str
    base: str
    variants: list[str]
    sources: dict[str, str]
    weights_present: bool


class RecipeList(BaseModel):
    """The recipes of a server."""

    object: Literal["list"]
    data: list[RecipeObject]


_MODEL = examples.answer(ModelObject, "A model.", examples.MODEL)
_RECIPE = examples.answer(RecipeObject, "The recipe.", examples.RECIPE)


def _body(example: dict[str, Any], properties: dict[str, Any], *needed: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if needed:
        schema["required"] = list(needed)
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": bool(needed), "content": content}}


_CONSENT = _body({"accept_licence": True}, {"accept_licence": {"type": "boolean"}})
_TEXT = _body({"text": examples.RECIPE["text"]}, {"text": {"type": "string"}}, "text")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get("/models", responses=examples.answer(ModelList, "Models.", examples.MODELS))
def list_models(request: Request, who: Who) -> JSONResponse:
    """List the models, and whether their weights are here."""
    service = _service(request)
    data = [_model_values(model, service, who) for model in service.models.all()]
    return JSONResponse({"object": "list", "data": data})


@router.get("/models/{model_id}", responses=_MODEL)
def get_model(request: Request, who: Who, model_id: str) -> JSONResponse:
    """Say what a model is."""
    service = _service(request)
    return JSONResponse(_model_values(service.models.get(model_id), service, who))


@router.get(
    "/models/{model_id}/licence",
    responses=examples.answer(LicenceObject, "The terms.", examples.LICENCE),
)
def get_licence(request: Request, _: Who, model_id: str) -> JSONResponse:
    """Say under which terms a model's weights are."""
    service = _service(request)
    model = service.models.get(model_id)
    terms = model.spec.licence
    return JSONResponse(
        {
            "object": "licence",
            "model": model.id,
            "name": terms.name if terms else None,
            "url": terms.url if terms else None,
            "text": "\n".join(model.spec.licence_lines()),
            "facts": list(terms.facts) if terms else [],
            "accepted": service.models.state(model).is_accepted,
        }
    )


@router.post(
    "/models/{model_id}/download",
    responses=examples.answer(TaskObject, "The download.", examples.TASK),
    openapi_extra=_CONSENT,
)
async def download_model(
    request: Request, who: Operator, model_id: str, body: AnyBody
) -> JSONResponse:
    """Fetch a model's weights, after its licence is accepted; goes on where one stopped."""
    service = _service(request)
    _only(body, "accept_licence")
    is_accepted = body.values.get("accept_licence") in (True, "true")

    def work() -> ToolTask:
        model = service.models.get(model_id)
        return service.models.download(model, accept_licence=is_accepted, owner=who.owner)

    return JSONResponse(task_values(await run_in_threadpool(work)))


@router.get(
    "/models/{model_id}/recipe",
    response_class=Response,
    responses={
        200: {
            "description": "TOML.",
            "content": {
                "text/plain": {"schema": {"type": "string"}, "example": examples.RECIPE["text"]}
            },
        }
    },
)
def get_model_recipe(request: Request, _: Operator, model_id: str) -> PlainTextResponse:
    """A model as a recipe: a text to change and to keep under a name."""
    return PlainTextResponse(recipe_text(_service(request).models.get(model_id).spec))


@router.get("/recipes", responses=examples.answer(RecipeList, "Recipes.", examples.RECIPES))
def list_recipes(request: Request, _: Operator) -> JSONResponse:
    """List the recipes that are kept; those that cannot be read are left out."""
    service = _service(request)
    kept = [model for model in service.models.all() if model.is_recipe]
    data = [_recipe_values(service, m.spec, service.recipes.text(m.id), m.id) for m in kept]
    return JSONResponse({"object": "list", "data": data})


@router.post("/recipes/check", responses=_RECIPE, openapi_extra=_TEXT)
async def check_recipe(request: Request, _: Operator, body: NeededBody) -> JSONResponse:
    """Read a recipe without keeping it."""
    service, text = _service(request), _text(body)

    def work() -> dict[str, Any]:
        return _recipe_values(service, service.recipes.check(text), text, None)

    return JSONResponse(await run_in_threadpool(work))


@router.get("/recipes/{name}", responses=_RECIPE)
def get_recipe(request: Request, _: Operator, name: str) -> JSONResponse:
    """Say what a recipe holds."""
    service = _service(request)
    text = service.recipes.text(name)
    return JSONResponse(_recipe_values(service, service.recipes.spec(name), text, name))


@router.put("/recipes/{name}", responses=_RECIPE, openapi_extra=_TEXT)
async def save_recipe(request: Request, _: Operator, name: str, body: NeededBody) -> JSONResponse:
    """Check a recipe and keep it; from then on requests can name it as their model."""
    service, text = _service(request), _text(body)

    def work() -> dict[str, Any]:
        return _recipe_values(service, service.recipes.save(name, text), text, name)

    return JSONResponse(await run_in_threadpool(work))


@router.delete(
    "/recipes/{name}",
    responses=examples.answer(Deleted, "It is gone.", examples.gone("recipe", "mine")),
)
def delete_recipe(request: Request, _: Operator, name: str) -> JSONResponse:
    """Remove a recipe; videos that wait for it fail."""
    _service(request).recipes.delete(name)
    return JSONResponse({"id": name, "object": "recipe.deleted", "deleted": True})


def _model_values(model: ServedModel, service: Service, who: Caller) -> dict[str, Any]:
    spec, state = model.spec, service.models.state(model)
    defaults, terms = spec.defaults, spec.licence
    download = state.download if who.is_admin else None
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": "framepack",
        "title": spec.title,
        "base": spec.base,
        "recipe": model.is_recipe,
        "variants": list(spec.variants),
        "weights_present": state.is_present,
        "size_gb": state.size_gb,
        "licence": terms.name if terms else None,
        "licence_url": terms.url if terms else None,
        "licence_accepted": state.is_accepted,
        "download": task_values(download) if download is not None else None,
        "sources": _sources(spec) if who.is_admin else {},
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


def _recipe_values(
    service: Service, spec: ModelSpec, text: str, name: str | None
) -> dict[str, Any]:
    return {
        "id": name,
        "object": "recipe",
        "text": text,
        "title": spec.title,
        "base": spec.base,
        "variants": list(spec.variants),
        "sources": _sources(spec),
        "weights_present": are_weights_present(spec, service.settings),
    }


def _sources(spec: ModelSpec) -> dict[str, str]:
    return {name: str(source) for name, source in spec.sources.items()}


def _text(body: Body) -> str:
    _only(body, "text")
    text = body.values.get("text")
    if not isinstance(text, str):
        raise InvalidRequest("text is missing; send the recipe's TOML as a text")
    return text


def _only(body: Body, name: str) -> None:
    if unknown := [key for key in body.values if key != name]:
        raise InvalidRequest(f"unknown field {unknown[0][:60]!r}; there is {name}")
