"""``POST /v1/prompts/enhance``: a longer prompt, to be read and edited before it is used."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from framepack.service.http import examples
from framepack.service.http.checking import asking
from framepack.service.http.errors import COMMON, ErrorResponse, error_response
from framepack.service.http.guard import Caller, caller
from framepack.service.http.received import read_input, request_folder
from framepack.service.intake import check_file
from framepack.service.prompts import EnhancerFailed, How, longer_prompt
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1/prompts", tags=["Prompts"], responses=COMMON)


class Enhance(BaseModel):
    """A prompt to expand."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(max_length=10_000, description="What happens in the video.")
    image: str | None = Field(
        None, description="The start picture: a base64 data URL, or the id of an upload."
    )
    how: How | None = Field(
        None, description="By the server's endpoint if it has one, else by a form of words."
    )


class Enhanced(BaseModel):
    """A longer prompt."""

    prompt: str
    how: How = Field(description="Who wrote it.")


@router.post(
    "/enhance",
    responses={
        **examples.answer(Enhanced, "A longer prompt.", examples.ENHANCED),
        502: {"model": ErrorResponse, "description": "The endpoint gave no prompt."},
    },
    openapi_extra={
        "requestBody": {
            "content": {"application/json": {"examples": examples.named(examples.ENHANCE)}}
        }
    },
)
async def enhance_prompt(
    request: Request, who: Annotated[Caller, Depends(caller)], sent: Enhance
) -> Response:
    """Expand a prompt. Nothing is queued; send the answer as the prompt of a video."""
    service: Service = request.app.state.service

    def work() -> Response:
        with request_folder(service) as folder:
            picture = None
            if sent.image is not None:
                picture = read_input(service, who, folder, "image", sent.image).path
                check_file(picture, "picture", max_pixels=service.config.max_pixels)
            try:
                text, how = longer_prompt(
                    sent.prompt, service.settings, picture=picture, how=sent.how
                )
            except EnhancerFailed as error:
                return error_response(502, str(error), code="enhancer_failed")
        return JSONResponse({"prompt": text, "how": how})

    return await asking(request, work)
