"""The files of the page as browsers get them: few requests at first, none the second time.

The style sheets go out as one, the words of a language as one, and the page names the modules it
begins with, so that a browser asks for all of them at once. Every address holds the edition, a
digest of all files: what has one never changes, and browsers keep it.
"""

import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["PAGE", "PageFile", "read_page"]

PAGE = Path(__file__).parent / "page"
"""Folder with the page."""

STYLE = "style.css"
"""All style sheets, as one."""

_FIRST_SHEETS = ("css/base.css", "css/shell.css")
_FIRST_MODULES = ("js/main.js", "js/create/page.js", "js/create/form.js", "js/timeline/timeline.js")
_IMPORT = re.compile(r"""(?:^|\n)(?:import|export)\b[^;]*?from\s+["'](\.[^"']+)["']""")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page.

    Attributes:
        content: its bytes.
        kind: its media type.
        tag: changes with the content, for ``ETag``.
        edition: changes with any file of the page.
    """

    content: bytes
    kind: str
    tag: str
    edition: str


def read_page(folder: Path) -> dict[str, PageFile]:
    """Every file by its name, with those that are made of others: style, words and the page."""
    contents = {
        str(PurePosixPath(path.relative_to(folder))): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    edition = _digest(b"".join(name.encode() + data for name, data in contents.items()))
    contents |= {STYLE: _style(contents)} | _words(contents)
    contents["index.html"] = _index(contents, edition)
    return {
        name: PageFile(content, _kind(name), f'"{_digest(content)}"', edition)
        for name, content in contents.items()
    }


def _style(contents: Mapping[str, bytes]) -> bytes:
    """The sheets in one: the common ones, then those of the areas."""
    others = [name for name in contents if name.endswith(".css") and name not in _FIRST_SHEETS]
    return b"\n".join(contents[name] for name in (*_FIRST_SHEETS, *others))


def _words(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The catalogues of each language in one."""
    found: dict[str, dict[str, str]] = {}
    for name, content in contents.items():
        match name.split("/"):
            case ["locales", language, _]:
                found.setdefault(language, {}).update(json.loads(content))
    return {
        f"words/{language}.json": json.dumps(words, ensure_ascii=False).encode()
        for language, words in found.items()
    }


def _index(contents: Mapping[str, bytes], edition: str) -> bytes:
    """The page, with the edition in its addresses and the modules that it begins with."""
    modules = _needed(contents, _FIRST_MODULES)
    links = "\n  ".join(
        f'<link rel="modulepreload" href="/studio/{edition}/{name}">' for name in modules
    )
    text = contents["index.html"].decode()
    return text.replace("{edition}", edition).replace("<!-- modules -->", links).encode()


def _needed(contents: Mapping[str, bytes], first: tuple[str, ...]) -> list[str]:
    """Modules and all that they import, the first ones first."""
    found = list(first)
    for name in found:  # which grows
        for other in _IMPORT.findall(contents[name].decode()):
            parts = [*PurePosixPath(name).parent.parts]
            for part in PurePosixPath(other).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            path = "/".join(parts)
            if path in contents and path not in found:
                found.append(path)
    return found


def _kind(name: str) -> str:
    path = PurePosixPath(name)
    return _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
