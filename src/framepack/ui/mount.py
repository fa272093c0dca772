"""Serve the studio's page at the root of the HTTP application.

The page is files: HTML, style sheets, JavaScript modules and catalogues of words. It asks the
same routes as any other client, so nothing of it runs in this process.
"""

import hashlib
import mimetypes
from functools import cache
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

__all__ = ["PAGE", "mount"]

PAGE = Path(__file__).parent / "page"
"""Folder with the page."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
# Nothing but the page's own files runs or is fetched; pictures may be drawn from memory.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)

router = APIRouter(include_in_schema=False)


def mount(app: FastAPI) -> None:
    """Add the page to an application made by ``create_app``."""
    app.include_router(router)


@router.get("/")
def show_page(request: Request) -> Response:
    """Answer with the page."""
    return _file(request, "index.html")


@router.get("/favicon.ico")
def show_icon(request: Request) -> Response:
    """Answer with the icon, where browsers look for it by themselves."""
    return _file(request, "icon.svg")


@router.get("/studio/{path:path}")
def show_part(request: Request, path: str) -> Response:
    """Answer with one of the page's files."""
    return _file(request, path)


def _file(request: Request, path: str) -> Response:
    """A file of the page, which browsers keep as long as it is the same."""
    found = _files().get(path)
    if found is None:
        return Response("there is no such part of the page\n", 404, media_type="text/plain")
    content, kind, tag = found
    headers = {"Cache-Control": "no-cache", "ETag": tag, "Content-Security-Policy": _POLICY}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Every file by its address: content, type, and a tag that changes with the content."""
    found = {}
    for path in sorted(PAGE.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            name = str(PurePosixPath(path.relative_to(PAGE)))
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0]
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found[name] = (content, kind or "application/octet-stream", tag)
    return found
