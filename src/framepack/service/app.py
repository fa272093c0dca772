"""The HTTP application: routes, the guard before them, errors as clients expect them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

import framepack
from framepack.service.service import Service

__all__ = ["create_app"]

_ROUTERS = ("live", "sse", "videos", "content", "uploads", "catalogue", "sdapi", "files", "health")


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

    app = FastAPI(title="FramePack Studio", version=framepack.__version__, lifespan=lifespan)
    app.state.service = service
    for name in _ROUTERS:
        if find_spec(f"framepack.service.http.{name}") is not None:
            app.include_router(import_module(f"framepack.service.http.{name}").router)
    return app
