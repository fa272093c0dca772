"""Bodies of requests as plain values: JSON, or a form whose keys say where values belong.

Clients flatten what they send: ``framepack[latent_window_size]=9``, ``section_prompts[]=pan left``
twice. Values of a form are texts; whoever reads them turns them into what they are to be.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from framepack.service.records import StoreFull

__all__ = ["Body", "nested", "read_body"]

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


async def read_body(request: Request, *, most_bytes: int, required: bool = True) -> Body:
    """Read the body of a request.

    Args:
        request: of any kind.
        most_bytes: of one value of a form.
        required: whether a body must be there.

    Raises:
        HTTPException: 400 if it cannot be read, 415 if it is of another kind.
        StoreFull: no space is left for its files.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        try:
            form = await request.form(
                max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=most_bytes
            )
        except OSError as error:
            raise StoreFull(
                f"the form cannot be kept: {error.strerror}; free some space"
            ) from error
        return Body(_checked(nested(form.multi_items())), is_form=True)
    content = await request.body()
    if not content and not required:
        return Body({}, is_form=False)
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(
            415, f"the body is {kind[:100]}; send application/json or multipart/form-data"
        )
    return Body(await run_in_threadpool(_json, content), is_form=False)


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
