"""What is said of a section that is to be made again."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from framepack.domain.choices import MAX_SEED
from framepack.domain.errors import InvalidRequest
from framepack.service.http import examples
from framepack.service.http.schemas import REFERENCE
from framepack.service.http.wire import OPTIONS

__all__ = ["Again", "redo_body"]

_REDO: dict[str, Any] = {
    "prompt": {"section": 1, "prompt": "it jumps"},
    "seed": {"section": -1, "seed": 7},
}
_ELSEWHERE = ("image", "audio", "priority", *OPTIONS)
"""Fields that are read as those of every request."""


class Again(BaseModel):
    """A section, and what is to be another there."""

    model_config = ConfigDict(extra="forbid")

    section: int = Field(description="Its index in the plan: 0 is the first, -1 the last.")
    prompt: str | None = Field(
        None,
        max_length=10_000,
        description="What happens in it, as a section prompt says it; as it was unless given.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Of its noise; a fresh one if nothing else is said either.",
    )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read the fields of a body, but for those that are read elsewhere.

        Raises:
            InvalidRequest: names the field at fault.
        """
        own = {name: value for name, value in values.items() if name not in _ELSEWHERE}
        unknown = [name for name in own if name not in cls.model_fields]
        if unknown:
            raise InvalidRequest(
                f"unknown field {unknown[0][:80]!r}; to redo takes section, prompt, image and "
                "seed, and to remix changes anything else"
            )
        if own.get("section") in (None, ""):
            raise InvalidRequest("section is missing; 0 is the first, -1 the last")
        try:
            return cls.model_validate(own)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            found = repr(first["input"])[:80]
            raise InvalidRequest(f"{first['loc'][0]} is {found}: {first['msg']}") from error

    def others(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a body that are read elsewhere."""
        return {name: value for name, value in values.items() if name in _ELSEWHERE}


def redo_body() -> dict[str, Any]:
    """``openapi_extra`` of the route."""
    own = Again.model_json_schema()["properties"]
    picture = {"description": "Picture that stands for the start picture in the section."}
    content = {
        kind: {
            "schema": {
                "type": "object",
                "properties": {**own, "image": {**schema, **picture}},
                "required": ["section"],
            },
            **more,
        }
        for kind, schema, more in (
            ("application/json", REFERENCE, {"examples": examples.named(_REDO)}),
            ("multipart/form-data", {"type": "string", "format": "binary"}, {}),
        )
    }
    return {"requestBody": {"required": True, "content": content}}
