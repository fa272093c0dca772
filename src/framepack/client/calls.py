"""Every request that a client makes, and how its answer is read: both clients send these."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from framepack.client.errors import BadAnswer
from framepack.client.records import Health, Model, Page, State, Upload, Variant, Video
from framepack.domain.errors import InvalidRequest

__all__ = [
    "Call",
    "File",
    "Source",
    "Wanted",
    "cancel",
    "content_path",
    "create",
    "delete",
    "events_path",
    "extend",
    "get",
    "health",
    "models",
    "page",
    "pause",
    "plan",
    "remix",
    "retry",
    "unpause",
    "upload",
    "version",
]

T = TypeVar("T")

Source = str | PathLike[str] | bytes
"""A file: its path, or what is in it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on its way to the server.

    Attributes:
        name: as the server will know it.
        content: bytes, or the path to read them from.
    """

    name: str
    content: bytes | Path

    @classmethod
    def of(cls, source: Source, name: str | None = None) -> "File":
        """A file by its path, or by its bytes.

        Raises:
            InvalidRequest: there is no such file.
        """
        if isinstance(source, bytes):
            return cls(name or "file", source)
        path = Path(source)
        if not path.is_file():
            raise InvalidRequest(f"there is no file {path}; name one that is there")
        return cls(name or path.name, path)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        method, path: where it goes; the path is relative to the server's address.
        read: turns the JSON of the answer into a value.
        params: of the query; None is left out.
        body: JSON.
        file: sent as the part "file" of a form.
        headers: besides the usual.
        is_repeatable: sending it twice does no harm.
        fine: statuses besides 2xx whose answer is read.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    file: File | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True
    fine: tuple[int, ...] = ()


def create(
    fields: Mapping[str, Any], *, priority: int | None = None, key: str | None = None
) -> Call[Video]:
    """Queue a video. The idempotency key lets the request be repeated without a second video."""
    body = {**fields, **({} if priority is None else {"priority": priority})}
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return Call("POST", "v1/videos", Video.read, body=body, headers=headers)


def plan(fields: Mapping[str, Any]) -> Call[Mapping[str, Any]]:
    """Ask what would be made."""
    return Call("POST", "v1/videos/plan", _mapping, body=fields)


def get(video_id: str) -> Call[Video]:
    """Read a video."""
    return Call("GET", _path(video_id), Video.read)


class Wanted(TypedDict, total=False):
    """Which videos are wanted; all unless something is said."""

    search: str
    """Words, each of which is in a prompt, is the seed, or begins the id."""
    states: Sequence[State]
    """In one of them."""
    group: str
    """They were sent with it."""


def page(
    *, after: str | None, limit: int, newest_first: bool, **wanted: Unpack[Wanted]
) -> Call[Page]:
    """Read some videos."""
    params = {
        "after": after,
        "limit": limit,
        "order": "desc" if newest_first else "asc",
        "search": wanted.get("search"),
        "state": ",".join(wanted.get("states", ())) or None,
        "group": wanted.get("group"),
    }
    return Call("GET", "v1/videos", Page.read, params=params)


def cancel(video_id: str, *, keep: bool = False) -> Call[Video]:
    """Have it end; what there is may become a video."""
    body = {"keep": True} if keep else None
    return Call("POST", _path(video_id, "cancel"), Video.read, body=body)


def pause(video_id: str) -> Call[Video]:
    """Have it wait."""
    return Call("POST", _path(video_id, "pause"), Video.read)


def unpause(video_id: str) -> Call[Video]:
    """Have it go on."""
    return Call("POST", _path(video_id, "resume"), Video.read, is_repeatable=False)


def retry(video_id: str) -> Call[Video]:
    """Queue it again."""
    return Call("POST", _path(video_id, "retry"), Video.read, is_repeatable=False)


def remix(video_id: str, fields: Mapping[str, Any]) -> Call[Video]:
    """Make it again with other fields."""
    return _made_from(video_id, "remix", fields)


def extend(video_id: str, fields: Mapping[str, Any]) -> Call[Video]:
    """Go on from its end."""
    return _made_from(video_id, "extend", fields)


def redo(video_id: str, fields: Mapping[str, Any]) -> Call[Video]:
    """Make one section again."""
    return _made_from(video_id, "redo", fields)


def delete(video_id: str) -> Call[None]:
    """Forget it, with its files."""
    return Call("DELETE", _path(video_id), lambda _: None)


def upload(file: File) -> Call[Upload]:
    """Send a file ahead."""
    return Call("POST", "v1/uploads", Upload.read, file=file, is_repeatable=False)


def models() -> Call[tuple[Model, ...]]:
    """Ask for the weights that can be used."""
    return Call("GET", "v1/models", Model.read_all)


def version() -> Call[str]:
    """Ask which version answers."""
    return Call("GET", "healthz", lambda answer: str(_mapping(answer).get("version") or ""))


def health(version: str) -> Call[Health]:
    """Ask how the server is; 503 says that it is not well, which is an answer too."""
    return Call("GET", "readyz", lambda answer: Health.read(answer, version), fine=(503,))


def events_path(video_id: str) -> str:
    """Where its events are streamed."""
    return _path(video_id, "events")


def content_path(video_id: str, variant: Variant) -> str:
    """Where its files are."""
    return f"{_path(video_id, 'content')}?variant={variant}"


def _made_from(video_id: str, verb: str, fields: Mapping[str, Any]) -> Call[Video]:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return Call("POST", _path(video_id, verb), Video.read, body=fields, headers=headers)


def _path(video_id: str, verb: str | None = None) -> str:
    if not video_id or "/" in video_id or video_id.startswith("."):
        raise InvalidRequest(f"{video_id!r} is no id of a video; `framepack jobs` lists them")
    base = f"v1/videos/{quote(video_id, safe='')}"
    return base if verb is None else f"{base}/{verb}"


def _mapping(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise BadAnswer(f"the server sent {answer!r:.80} where an object was needed")
    return answer
