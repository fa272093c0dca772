"""Requests are checked in a few threads of their own, so that those who only ask never wait.

To check a request is to decode its pictures and to try its encoder. A hundred requests at once
would have all threads of the server for seconds, and nobody could ask how far his video is.
"""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request

__all__ = ["asking", "checked", "install"]

T = TypeVar("T")

_AT_ONCE = 4


def install(app: FastAPI) -> None:
    """Give an application its threads for checks, and those for asking others."""
    app.state.checking = CapacityLimiter(_AT_ONCE)
    app.state.asking = CapacityLimiter(_AT_ONCE)


async def checked(request: Request, work: Callable[[], T]) -> T:
    """What a function returns that checks a request; it runs when its turn has come."""
    return await to_thread.run_sync(work, limiter=request.app.state.checking)


async def asking(request: Request, work: Callable[[], T]) -> T:
    """What a function returns that asks another server, which may take minutes to answer."""
    return await to_thread.run_sync(work, limiter=request.app.state.asking)
