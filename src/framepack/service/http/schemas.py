"""The schema of a request for a video, made from the one request model and its other names."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from framepack.domain.request import GenerationRequest
from framepack.service.http import examples
from framepack.service.http.wire import ALIASES, FILES, OPTIONS
from framepack.service.options import JobOptions

__all__ = ["REFERENCE", "SERVERS_OWN", "request_body", "request_schemas"]

REFERENCE: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "A base64 data URL, or the id of an upload."},
        {
            "type": "object",
            "properties": {"image_url": {"type": "string"}, "file_id": {"type": "string"}},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ]
}
"""A file in JSON."""
_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string"}]}
_OF_ALIASES: Mapping[str, Mapping[str, Any]] = {
    "seconds": _NUMBER,
    "size": {"type": "string", "pattern": "^[0-9]{2,4}x[0-9]{2,4}$"},
    "input_reference": REFERENCE,
    "image_reference": REFERENCE,
    "reference_url": {"type": "string"},
    "num_frames": {"type": "integer", "minimum": 1},
    "flow_shift": {"type": "number", "minimum": 0, "maximum": 100},
    "lora": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "scale": {"type": "number"}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "enable_frame_interpolation": {"type": "boolean"},
    "frame_interpolation_exp": {"type": "integer", "minimum": 1, "maximum": 3},
    "enable_teacache": {"type": "boolean"},
    "extra_params": {"type": "object"},
    "framepack": {"type": "object"},
}
_CUES = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
        {"type": "object"},
    ]
}
_LORAS = {
    "anyOf": [
        {"type": "string", "description": "NAME:WEIGHT"},
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"path": {"type": "string"}, "weight": {"type": "number"}},
                        "required": ["path"],
                    },
                ]
            },
        },
    ]
}
SERVERS_OWN = ("vae_weights", "rife_weights")
"""Fields of a request that name files of the server, and that a server does not take."""


_OF_A_VIDEO: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "A data URL, or the id of an upload or of a video."},
        {
            "type": "object",
            "properties": {"id": {"type": "string"}},
            "required": ["id"],
            "additionalProperties": False,
        },
    ],
    "description": "The video to go on from or to draw anew: a finished one of ours, or a file.",
}


def request_body(
    shown: dict[str, Any], *, needs_video: bool = False, optional: bool = False
) -> dict[str, Any]:
    """``openapi_extra`` of a route that takes a request for a video, as JSON or as a form.

    Args:
        shown: examples by name.
        needs_video: ``video`` must be there.
        optional: there may be no body at all.
    """
    name = "VideoFromVideo" if needs_video else "VideoRequest"
    content = {
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{name}"},
            "examples": examples.named(shown),
        },
        "multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{name}Form"}},
    }
    return {"requestBody": {"required": not optional, "content": content}}


@cache
def request_schemas() -> Mapping[str, dict[str, Any]]:
    """The schemas that :func:`request_body` names, for the components of the document."""
    request = _properties()
    files = {
        name: {"type": "string", "format": "binary", "description": request[name]["description"]}
        for name in (*FILES, "input_reference")
    }
    form = {**request, **files}
    return {
        "VideoRequest": _object(request),
        "VideoRequestForm": _object(form),
        "VideoFromVideo": {**_object({**request, "video": _OF_A_VIDEO}), "required": ["video"]},
        "VideoFromVideoForm": {**_object(form), "required": ["video"]},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@cache
def _properties() -> dict[str, Any]:
    own = GenerationRequest.model_json_schema()["properties"]
    found: dict[str, Any] = {}
    for name, schema in own.items():
        if name in SERVERS_OWN:
            continue
        known = {key: schema[key] for key in ("title", "description") if key in schema}
        if name in FILES:
            found[name] = {**REFERENCE, **known}
        elif name.startswith("section_") and name != "section_mode":
            found[name] = {**_CUES, **known}
        elif name == "loras":
            found[name] = {**_LORAS, **known}
        else:
            found[name] = {key: value for key, value in schema.items() if key not in _INNER}
    options = JobOptions.model_json_schema()["properties"]
    for name in OPTIONS:
        found[name] = {key: value for key, value in options[name].items() if key not in _INNER}
    found["audio"] = {**REFERENCE, "title": "Sound", "description": "Sound of the video."}
    for name, text in ALIASES.items():
        found[name] = {**_OF_ALIASES[name], "title": name, "description": text}
    found["priority"] = {
        "type": "integer",
        "minimum": -1000,
        "maximum": 1000,
        "default": 0,
        "description": "The higher go first.",
    }
    return found


_INNER = ("option", "unit", "rule", "help", "unset", "step")
