"""``/v1/worker``: the process that makes videos, and the memory that it takes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from framepack.decisions import find_model
from framepack.domain.request import GenerationRequest
from framepack.service.executor import Executor
from framepack.service.http import examples
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import WorkerObject, worker_values
from framepack.service.records import WrongState
from framepack.service.requests import served
from framepack.service.service import Service
from framepack.weights.locate import locate_all

__all__ = ["router"]

router = APIRouter(prefix="/v1/worker", tags=["Worker"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]
_WORKER = examples.answer(WorkerObject, "The worker.", examples.WORKER)


class Load(BaseModel):
    """Whose networks are to be read."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=500, description="As a request names it.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _executor(request: Request) -> Executor:
    executor = _service(request).executor
    assert executor is not None, "the service has been started"
    return executor


@router.get("", responses=_WORKER)
def get_worker(request: Request, who: Who) -> JSONResponse:
    """Say whether the worker is there, what it holds, and where."""
    return JSONResponse(worker_values(_executor(request).facts(), is_admin=who.is_admin))


@router.post("/unload", responses=_WORKER)
def unload_worker(request: Request, who: Who) -> JSONResponse:
    """Free the memory of an idle worker; the next video reads the networks anew."""
    executor = _idle(request, who)
    executor.unload()
    return _told(request, executor)


@router.post(
    "/load",
    responses=_WORKER,
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {"examples": examples.named({"tiny": {"model": "tiny"}})}
            }
        }
    },
)
def load_worker(request: Request, who: Who, sent: Load) -> JSONResponse:
    """Have an idle worker read a model's networks, so that the next video begins at once.

    The answer comes before it is done: loading names the model until then.
    """
    service, executor = _service(request), _idle(request, who)
    asked = served(
        GenerationRequest.parse(model=sent.model), service.settings, service.recipes.paths()
    )
    spec, _ = find_model(asked, service.settings)
    locate_all(spec, service.settings)
    executor.load(str(asked.model))
    return _told(request, executor)


def _idle(request: Request, who: Caller) -> Executor:
    """The executor, for an operator, while nothing is made."""
    if not who.is_admin:
        raise HTTPException(403, "the worker is everybody's; only an operator's key can do this")
    executor = _executor(request)
    if executor.facts().get("busy"):
        raise WrongState("the worker is making a video; wait for its end, or cancel it first")
    return executor


def _told(request: Request, executor: Executor) -> JSONResponse:
    _service(request).changes.publish("worker")
    return JSONResponse(worker_values(executor.facts(), is_admin=True))
