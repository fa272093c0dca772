"""What a job leaves, settled with its request, and what an idempotency key stands for."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.media.codecs import NO_VIDEO
from framepack.service.inputs import Input
from framepack.service.options import JobOptions

__all__ = ["check_something_is_left", "fingerprint", "for_one_frame", "with_sound"]


def fingerprint(fields: Mapping[str, Any], files: Mapping[str, Input], options: JobOptions) -> str:
    """Of everything that was asked, files by their content."""
    content = {}
    for word, given in files.items():
        with given.path.open("rb") as file:
            content[word] = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps(
        [dict(fields), content, options.model_dump(mode="json")], sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_something_is_left(options: JobOptions, request: GenerationRequest) -> None:
    """Refuse a request that would leave nothing.

    Raises:
        InvalidRequest: there is no video, and no other form.
    """
    if request.codec == NO_VIDEO and not (options.raw or options.frames):
        raise InvalidRequest(
            "codec none writes no video, and nothing else was asked for; add frames or raw"
        )


def for_one_frame(options: JobOptions, request: GenerationRequest) -> JobOptions:
    """The options with a file that suits what is made: a video, or one picture.

    Raises:
        InvalidRequest: another kind of file was asked for.
    """
    kind = options.container
    if not request.one_frame:
        if kind in ("png", "jpg"):
            raise InvalidRequest(
                f"container is {kind}, which is a picture; take mp4, mkv, mov, webm, gif or webp, "
                "or ask for one_frame"
            )
        return options
    if kind in ("png", "jpg", "webp"):
        return options
    if "container" in options.model_fields_set:
        raise InvalidRequest(
            f"one frame is a picture, but {kind} was asked for; take png, jpg or webp"
        )
    return options.model_copy(update={"container": "png", "thumbnail": False})


def with_sound(options: JobOptions, stored: Mapping[str, Path]) -> JobOptions:
    """The options with the sound's name in the job's folder.

    Raises:
        InvalidRequest: it did not come with the request.
    """
    if "audio" in stored:
        return options.model_copy(update={"audio": stored["audio"].name})
    if options.audio:
        raise InvalidRequest("the sound did not come with the request; send the file as audio")
    return options
