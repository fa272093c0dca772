"""The HTTP application: routes, the guard before them, errors as clients expect them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool

import framepack
from framepack.service.http import (
    catalogue,
    checking,
    content,
    docs,
    errors,
    events,
    files,
    guard,
    health,
    live,
    models,
    preferences,
    prompts,
    restoring,
    schema,
    sdapi,
    sections,
    session,
    settings,
    sse,
    system,
    tools,
    uploads,
    videos,
    worker,
)
from framepack.service.http.schemas import request_schemas
from framepack.service.service import Service

__all__ = ["create_app"]

_ROUTERS = (
    sse,
    tools,
    videos,
    content,
    uploads,
    catalogue,
    models,
    schema,
    session,
    settings,
    system,
    events,
    worker,
    live,
    preferences,
    prompts,
    restoring,
    sections,
    sdapi,
    files,
    health,
    docs,
)
_TEXT = """
Videos from pictures and sentences. The routes under `/v1/videos` are OpenAI's Videos API with
more: any client of it works here. Send `Authorization: Bearer KEY` where the server wants a key.
Errors are objects of the same shape everywhere; each message says what to change.
"""


def create_app(service: Service) -> FastAPI:
    """The application of a service, which it starts and stops.

    Args:
        service: not started.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        try:
            yield
        finally:
            await run_in_threadpool(service.stop, service.config.stop_s)

    app = FastAPI(
        title="FramePack Studio",
        version=framepack.__version__,
        description=_TEXT,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    errors.install(app)
    checking.install(app)
    guard.install(app, service)
    for module in _ROUTERS:
        app.include_router(module.router)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Have the document of the API name what forms and JSON may hold."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            found["components"]["schemas"] |= request_schemas()
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
