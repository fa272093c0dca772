"""``GET /v1/events``: everything that a caller sees, as server-sent events, as it changes.

Nothing is replayed: who connects reads the lists once and then keeps them up to date. Of a video
or a task that changes often only its last state is sent, twice a second at most.
"""

import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from framepack.service.http.catalogue import queue_values
from framepack.service.http.errors import COMMON
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import video_values, worker_values
from framepack.service.http.tools import task_values
from framepack.service.records import NoSuchJob
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["Events"], responses=COMMON)

_PAUSE_S = 0.5
"""Between two states of the same video, and of the queue and the worker."""
_KEEP_ALIVE_S = 10.0
_RETRY_MS = 1000
_REMEMBERED_S = 60.0
_AT_ONCE = 50
"""Videos that are read in one go."""

Told = tuple[str, dict[str, Any]]
"""The kind of an event and its data."""


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events, as long as the client listens: video, deleted, queue, task "
            "and worker, each with the object as its route gives it.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'event: deleted\ndata: {"id":"video_0123456789abcdef01234567"}\n\n',
                }
            },
        }
    },
)
async def follow_all(request: Request, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Follow everything: videos and tasks as they change or go, the queue and the worker."""
    return StreamingResponse(
        _lines(request.app.state.service, who),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def _lines(service: Service, who: Caller) -> AsyncIterator[bytes]:
    """What there is to say, with a comment where nothing happens for long."""
    with service.changes.watching() as watcher:
        view = await run_in_threadpool(_View, service, who)
        yield f"retry: {_RETRY_MS}\n\n".encode()
        pace = _Pace()
        pace.add(("", "worker"))
        while not service.changes.is_over and _may_listen(service, who):
            now = time.monotonic()
            if due := pace.due(now):
                for kind, data in await run_in_threadpool(view.read, due):
                    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
                    yield f"event: {kind}\ndata: {text}\n\n".encode()
                if due != ["worker"]:
                    pace.add(("worker",))  # which begins and ends a moment after its job does
            news = await watcher.news(pace.wait_s(time.monotonic()))
            pace.add(news)
            if not news and pace.is_idle:
                pace.add(("worker",))  # which may end by itself
                yield b": still here\n\n"


def _may_listen(service: Service, who: Caller) -> bool:
    """Whether the key that the caller came with still works."""
    return not who.owner or service.keys.working(who.owner) is not None


class _Pace:
    """What has changed and was not told yet, and when it may be told again."""

    def __init__(self) -> None:
        self._changed: dict[str, None] = {}
        self._told: dict[str, float] = {}

    @property
    def is_idle(self) -> bool:
        return not self._changed

    def add(self, names: Iterable[str]) -> None:
        """Say what has changed; a video changes the queue."""
        for name in names:
            self._changed[name] = None
            if name.startswith("video_"):
                self._changed[""] = None

    def due(self, now: float) -> list[str]:
        """Take what may be told now, the longest waiting first."""
        found = [name for name in self._changed if now >= self._next(name)][:_AT_ONCE]
        for name in found:
            del self._changed[name]
            self._told[name] = now
        if len(self._told) > 1000:
            self._told = {
                name: told for name, told in self._told.items() if now - told < _REMEMBERED_S
            }
        return found

    def wait_s(self, now: float) -> float:
        """Seconds until something is due, or until a sign of life is."""
        waits = [self._next(name) - now for name in self._changed]
        return max(min([*waits, _KEEP_ALIVE_S]), 0.001)

    def _next(self, name: str) -> float:
        return self._told.get(name, float("-inf")) + _PAUSE_S


class _View:
    """What one caller sees, and what he was told last where that is said only if it differs."""

    def __init__(self, service: Service, who: Caller) -> None:
        self._service = service
        self._who = who
        self._last: dict[str, dict[str, Any]] = {}
        # Of somebody else's videos not even their end is told.
        self._own = None if who.sees is None else _ids_of(service, who.sees)

    def read(self, names: Iterable[str]) -> list[Told]:
        """What there is to say of things that changed."""
        return [told for name in names if (told := self._of(name)) is not None]

    def _of(self, name: str) -> Told | None:
        if name == "":
            return self._if_new("queue", queue_values(self._service, self._who))
        if name == "worker":
            executor = self._service.executor
            facts = executor.facts() if executor else {}
            return self._if_new("worker", worker_values(facts, is_admin=self._who.is_admin))
        try:
            if name.startswith("task_"):
                task = self._service.tools.store.get(name, owner=self._who.sees)
                told: Told = "task", task_values(task)
            else:
                told = "video", video_values(self._service.store.get(name, owner=self._who.sees))
        except NoSuchJob:
            return self._gone(name)
        if self._own is not None:
            self._own.add(name)
        return told

    def _gone(self, name: str) -> Told | None:
        if self._own is not None:
            if name not in self._own:
                return None
            self._own.discard(name)
        return "deleted", {"id": name}

    def _if_new(self, kind: str, values: dict[str, Any]) -> Told | None:
        if self._last.get(kind) == values:
            return None
        self._last[kind] = values
        return kind, values


def _ids_of(service: Service, owner: str) -> set[str]:
    """Ids of an owner's videos and tasks."""
    with service.database.reading() as connection:
        rows = connection.execute(
            "SELECT id FROM jobs WHERE owner = ?1 UNION ALL SELECT id FROM tasks WHERE owner = ?1",
            (owner,),
        ).fetchall()
    return {row["id"] for row in rows}
