"""Serve the studio's page at the root of the HTTP application.

The page is files: HTML, style sheets, JavaScript modules and catalogues of words. It asks the
same routes as any other client, so nothing of it runs in this process.
"""

from functools import cache

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from framepack.ui.files import PAGE, PageFile, read_page

__all__ = ["PAGE", "mount"]

# Nothing but the page's own files runs or is fetched; pictures may be drawn from memory.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_FOR_GOOD = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


def mount(app: FastAPI) -> None:
    """Add the page to an application made by ``create_app``."""
    app.include_router(router)


@router.get("/")
def show_page(request: Request) -> Response:
    """Answer with the page."""
    return _answer(request, _page().get("index.html"))


@router.get("/favicon.ico")
def show_icon(request: Request) -> Response:
    """Answer with the icon, where browsers look for it by themselves."""
    return _answer(request, _page().get("icon.svg"))


@router.get("/studio/{path:path}")
def show_part(request: Request, path: str) -> Response:
    """Answer with one of the page's files, which are named with the edition they belong to."""
    edition, _, name = path.partition("/")
    page = _page()
    if edition != page["index.html"].edition:  # a page that is open since before an update
        return _answer(request, page.get(path) or page.get(name))
    return _answer(request, page.get(name), keep=_FOR_GOOD)


def _answer(request: Request, file: PageFile | None, *, keep: str = "no-cache") -> Response:
    if file is None:
        return Response("there is no such part of the page\n", 404, media_type="text/plain")
    headers = {"Cache-Control": keep, "ETag": file.tag, "Content-Security-Policy": _POLICY}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)


@cache
def _page() -> dict[str, PageFile]:
    return read_page(PAGE)
