"""Whether the server lives, whether it can work, and its figures."""

import shutil
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

import framepack
from framepack.domain.errors import FramePackError
from framepack.service.http.errors import COMMON
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(tags=["Operations"])

_LEAST_FREE_BYTES = 200_000_000


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """Whether jobs can be taken and worked on."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]


@router.get("/healthz", response_model=Health)
async def healthz() -> JSONResponse:
    """Whether the server answers; needs no key."""
    return JSONResponse({"status": "ok", "version": framepack.__version__})


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> JSONResponse:
    """Whether the store can be written, the disk has room and jobs are begun; needs no key."""
    checks = await run_in_threadpool(_checks, request.app.state.service)
    is_ready = all(said == "ok" for said in checks.values())
    return JSONResponse(
        {"status": "ready" if is_ready else "not_ready", "checks": checks},
        status_code=200 if is_ready else 503,
    )


def _checks(service: Service) -> dict[str, str]:
    checks = {"store": "ok", "disk": "ok", "worker": "ok"}
    try:
        with service.database.transaction():
            pass
    except FramePackError as error:
        checks["store"] = type(error).__name__
    free = shutil.disk_usage(service.data.path).free
    if free < _LEAST_FREE_BYTES:
        checks["disk"] = f"{free / 1e6:.0f} MB are free, {_LEAST_FREE_BYTES / 1e6:.0f} are needed"
    if service.dispatcher is None or not service.dispatcher.is_alive:
        checks["worker"] = "no job is begun"
    return checks


@router.get(
    "/metrics",
    response_class=Response,
    responses={**COMMON, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus: jobs, failures, seconds per frame, memory, requests."""
    text: Any = await run_in_threadpool(request.app.state.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
