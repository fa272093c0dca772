"""The document inside a video: the whole request, hashes, and the fitted input pictures.

It is one JSON object in the ``comment`` tag, which every MP4 tool keeps and a PNG has as well.
Pictures travel in it as lossless WebP, so that an image-to-video run can be repeated from its
file alone.
"""

import base64
import binascii
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.files import StrPath, open_video
from framepack.media.images import load_image_bytes
from framepack.media.stills import is_still, read_still_tags

__all__ = [
    "attach_pictures",
    "dump_document",
    "parse_document",
    "read_metadata",
    "read_pictures",
    "read_tags",
    "sidecar",
]

_PICTURES = "pictures"
_PREFIX = "data:image/webp;base64,"


def dump_document(document: Mapping[str, Any]) -> str:
    """The document as one line of JSON.

    Raises:
        ValueError: it holds NaN, infinity or something JSON cannot say.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, from a command line in a wrong encoding
        return json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text


def attach_pictures(
    document: Mapping[str, Any], pictures: Mapping[str, Image.Image]
) -> dict[str, Any]:
    """A copy of the document that carries RGB pictures, pixel for pixel.

    Args:
        document: any JSON object; its ``pictures`` entry is replaced.
        pictures: by name, such as ``{"image": fitted, "end_image": fitted_end}``.
    """
    encoded = {name: _encode(picture) for name, picture in pictures.items()}
    return {**document, _PICTURES: encoded}


def read_pictures(document: Mapping[str, Any]) -> dict[str, Image.Image]:
    """The pictures that :func:`attach_pictures` put in; empty if there are none.

    Raises:
        InvalidRequest: the entry is damaged.
    """
    encoded = document.get(_PICTURES) or {}
    if not isinstance(encoded, dict):
        raise InvalidRequest("the video's picture attachments are damaged; give the pictures again")
    return {name: _decode(name, text) for name, text in encoded.items()}


def read_metadata(path: StrPath) -> dict[str, Any]:
    """The document inside a video or picture, or beside it; empty if the file is not ours.

    Raises:
        InvalidRequest: the file is missing, or no video or picture.
    """
    try:
        beside = sidecar(path)
        text = beside.read_text(encoding="utf-8") if beside.is_file() else None
        return parse_document(text or read_tags(path).get("comment", ""))
    except UnicodeDecodeError:
        return {}  # somebody else's file


def parse_document(comment: str) -> dict[str, Any]:
    """The document that a comment holds; empty if it is somebody else's comment."""
    try:
        document = json.loads(comment)
    except (ValueError, RecursionError):
        return {}
    ours = isinstance(document, dict) and document.get("program") == "framepack"
    return document if ours else {}


def read_tags(path: StrPath) -> dict[str, str]:
    """All tags of a video or picture as they are, such as ``title`` and ``comment``.

    Raises:
        InvalidRequest: the file is missing, or no video or picture.
    """
    if is_still(path):
        return read_still_tags(path)
    with open_video(path) as (container, _):
        # Matroska and WebM give them back in capitals.
        return {name.lower(): text for name, text in container.metadata.items()}


def sidecar(path: StrPath) -> Path:
    """Where the document of a file stands that cannot carry it: ``NAME.gif.json``."""
    return Path(f"{os.fspath(path)}.json")


def _encode(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", lossless=True, exact=True)
    return _PREFIX + base64.b64encode(buffer.getvalue()).decode("ascii")


def _decode(name: str, text: object) -> Image.Image:
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        raise InvalidRequest(f"picture {name} in the video is damaged; give the picture again")
    try:
        data = base64.b64decode(text[len(_PREFIX) :], validate=True)
    except binascii.Error as error:
        raise InvalidRequest(
            f"picture {name} in the video is damaged ({error}); give the picture again"
        ) from error
    return load_image_bytes(data, f"{name} in the video")
