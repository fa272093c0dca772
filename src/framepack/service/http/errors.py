"""Errors as the clients of the OpenAI API expect them, whatever went wrong."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from framepack.domain.errors import FramePackError, InvalidRequest, MissingWeights, is_disk_full
from framepack.domain.request import GenerationRequest
from framepack.service.records import (
    IdempotencyConflict,
    NoSuchJob,
    QueueFull,
    QuotaExceeded,
    StoreBusy,
    StoreFull,
    WrongState,
)

__all__ = ["COMMON", "RESPONSES", "ErrorObject", "ErrorResponse", "error_response", "install"]

logger = logging.getLogger(__name__)


class ErrorObject(BaseModel):
    """What went wrong."""

    message: str = Field(description="What was found, what was needed, what to do.")
    type: str = Field(description="The family of the error, such as invalid_request_error.")
    param: str | None = Field(None, description="The field at fault.")
    code: str | None = Field(None, description="A word for programs.")


class ErrorResponse(BaseModel):
    """The body of every answer with a status from 400 on."""

    error: ErrorObject


_KINDS: Mapping[type[FramePackError], tuple[int, str, str]] = {
    InvalidRequest: (422, "invalid_request_error", "invalid_request"),
    MissingWeights: (422, "invalid_request_error", "missing_weights"),
    NoSuchJob: (404, "not_found_error", "not_found"),
    WrongState: (409, "invalid_request_error", "wrong_state"),
    IdempotencyConflict: (409, "invalid_request_error", "idempotency_conflict"),
    QueueFull: (429, "rate_limit_error", "queue_full"),
    QuotaExceeded: (429, "rate_limit_error", "quota_exceeded"),
    StoreBusy: (503, "server_error", "store_busy"),
    StoreFull: (507, "server_error", "store_full"),
}
_RETRY_AFTER_S = {429: "5", 503: "1"}
_OF_STATUS = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "forbidden"),
    404: ("not_found_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    413: ("invalid_request_error", "too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
    416: ("invalid_request_error", "range_not_satisfiable"),
    422: ("invalid_request_error", "invalid_request"),
    429: ("rate_limit_error", "rate_limit"),
}
_DESCRIPTIONS = {
    400: "The body cannot be read.",
    401: "A key is needed.",
    403: "Not with this key, or not by this address.",
    404: "There is no such thing, or it is somebody else's.",
    409: "Its state does not allow it.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    416: "The file has no such part.",
    422: "A field is unknown or wrong; the message names it.",
    429: "Too many requests or jobs; see Retry-After.",
    503: "The store is busy; see Retry-After.",
    507: "The disk is full.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text} for status, text in _DESCRIPTIONS.items()
}
"""What may go wrong, for ``responses=`` of routes."""
COMMON = {status: told for status, told in RESPONSES.items() if status != 416}
"""What may go wrong at every route."""


def error_response(
    status: int,
    message: str,
    *,
    kind: str | None = None,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that failed.

    Args:
        status: of HTTP.
        message: what was found, what was needed, what to do.
        kind: the family of the error; from the status unless given.
        code: a word for programs; from the status unless given.
        param: the field at fault.
        headers: besides Retry-After, which follows from the status.
    """
    own_kind, own_code = _OF_STATUS.get(status, ("server_error", "internal"))
    error = {
        "message": message.encode("utf-8", "replace").decode(),
        "type": kind or own_kind,
        "param": param,
        "code": code or own_code,
    }
    sent = dict(headers or {})
    if status in _RETRY_AFTER_S:
        sent.setdefault("Retry-After", _RETRY_AFTER_S[status])
    return JSONResponse({"error": error}, status_code=status, headers=sent)


def install(app: FastAPI) -> None:
    """Have every error of an application answered so."""
    handlers: Mapping[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        FramePackError: _of_ours,
        RequestValidationError: _of_parameters,
        HTTPException: _of_http,
        Exception: _of_bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _of_ours(request: Request, error: FramePackError) -> Response:
    kind = StoreFull if is_disk_full(error) else type(error)
    found = next((value for known, value in _KINDS.items() if issubclass(kind, known)), None)
    if found is None:
        return await _of_bug(request, error)
    status, family, code = found
    text = str(error)
    return error_response(status, text, kind=family, code=code, param=_param(text))


async def _of_parameters(_: Request, error: RequestValidationError) -> Response:
    items = error.errors()
    names = [str(item["loc"][-1]) for item in items if item["loc"]]
    texts = [f"{name}: {item['msg']}" for name, item in zip(names, items, strict=False)]
    return error_response(422, "; ".join(texts), param=names[0] if names else None)


async def _of_http(request: Request, error: HTTPException) -> Response:
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"there is nothing at {request.url.path}; GET /docs lists what there is"
    if error.status_code == 405:
        message = f"{request.method} is not served at {request.url.path}; see GET /docs"
    return error_response(error.status_code, message, headers=error.headers)


async def _of_bug(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(500, "the server failed at this request; its log says why")


def _param(message: str) -> str | None:
    """The field that a message is about: messages name it first."""
    unknown = re.match(r"unknown field '([^']+)'", message)
    if unknown:
        return unknown[1]
    first = re.match(r"[a-z_]+", message)
    return first[0] if first and first[0] in _NAMES else None


_NAMES = frozenset(GenerationRequest.model_fields) | {"seconds", "size", "input_reference"}
