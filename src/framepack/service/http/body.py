"""Bodies of requests as plain values: JSON, or a form whose keys say where values belong.

Clients flatten what they send: ``framepack[latent_window_size]=9``, ``section_prompts[]=pan left``
twice. Values of a form are texts; whoever reads them turns them into what they are to be.
"""

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from framepack.service.records import StoreFull

__all__ = ["AnyBody", "Body", "NeededBody", "nested"]

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_MOST_FIELDS = 2000
_MOST_FILES = 64
_DEEPEST = 4
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Body:
    """What was sent.

    Attributes:
        values: by name; files are ``UploadFile``.
        is_form: values are texts.
    """

    values: dict[str, Any]
    is_form: bool


async def needed_body(request: Request) -> AsyncIterator[Body]:
    """The body of a request; a dependency of routes, which closes its files afterwards.

    Raises:
        HTTPException: 400 if it cannot be read, 415 if it is of another kind.
        StoreFull: no space is left for its files.
    """
    async with _reading(request, is_needed=True) as body:
        yield body


async def any_body(request: Request) -> AsyncIterator[Body]:
    """As :func:`needed_body`, for routes that need none."""
    async with _reading(request, is_needed=False) as body:
        yield body


@asynccontextmanager
async def _reading(request: Request, *, is_needed: bool) -> AsyncIterator[Body]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        form = await _form(request)
        try:
            yield Body(_checked(nested(form.multi_items())), is_form=True)
        finally:
            await form.close()
        return
    content = await request.body()
    if not content and not is_needed:
        yield Body({}, is_form=False)
        return
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(
            415, f"the body is {kind[:100]}; send application/json or multipart/form-data"
        )
    yield Body(await run_in_threadpool(_json, content), is_form=False)


async def _form(request: Request) -> FormData:
    most_bytes = int(request.app.state.service.config.upload_mb * 1e6)
    try:
        return await request.form(
            max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=most_bytes
        )
    except OSError as error:
        raise StoreFull(f"no space for the form: {error.strerror}; free some") from error


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values of a form by the structure that their keys describe.

    Args:
        pairs: ``a``, ``a[]``, ``a[b]`` or ``a[b][c]`` and a value. A key that comes again makes a
            list.

    Raises:
        HTTPException: 400 for keys that contradict each other, or cannot be read.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            raise HTTPException(400, f"form field {key[:80]!r} has no name; write name[key]")
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        if len(path) > _DEEPEST or "" in path[:-1]:
            raise HTTPException(
                400, f"form field {key[:80]!r} is too deep for a form; send the body as JSON"
            )
        _put(values, path, value, key)
    return values


def _put(values: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    is_list = path[-1] == ""
    *way, last = path[:-1] if is_list else path
    for name in way:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise HTTPException(400, f"form field {key[:80]!r} comes after a value for {name!r}")
        values = inner
    there = values.get(last)
    if isinstance(there, dict):
        raise HTTPException(400, f"form field {key[:80]!r} comes after fields inside it")
    if last not in values:
        values[last] = [value] if is_list else value
    else:
        values[last] = [*there, value] if isinstance(there, list) else [there, value]


def _json(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        raise HTTPException(400, f"the body is no JSON: {reason}") from error
    if not isinstance(values, dict):
        raise HTTPException(
            422, f"the body is a JSON {type(values).__name__}; send an object with fields"
        )
    return _checked(values)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, if they can be stored as UTF-8."""
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and _LONE_SURROGATE.search(value):
            raise HTTPException(
                422, "a text holds half of a surrogate pair, which is no character; leave it out"
            )
    return values


NeededBody = Annotated[Body, Depends(needed_body)]
"""A body that must be there."""
AnyBody = Annotated[Body, Depends(any_body)]
"""A body, or none."""
