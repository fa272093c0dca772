"""A hub on this machine: serves folders the way huggingface.co serves repositories."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The server's state, which a test may change.

    Attributes:
        folder: laid out as ``<owner>/<repo>/...``.
        url: where it answers.
        served: (path, first byte) of every file request.
        cut_after: bytes after which a large file's connection breaks, by file name; once each.
        corrupt: names of files to damage in transit, and how often.
    """

    folder: Path
    url: str = ""
    served: list[tuple[str, int]] = field(default_factory=list)
    cut_after: dict[str, int] = field(default_factory=dict)
    corrupt: dict[str, int] = field(default_factory=dict)

    def large_files(self) -> list[str]:
        """Paths of the file requests for safetensors."""
        return [path for path, _ in self.served if path.endswith(".safetensors")]


@contextmanager
def serve(folder: Path) -> Iterator[Hub]:
    """Run a hub while the block runs."""
    hub = Hub(folder)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file(self.hub.folder.joinpath(*parts[:2], *parts[4:]), body=body)
        else:
            self._send(404, b"{}")

    def _describe(self, repo: str, rest: list[str]) -> None:
        root = self.hub.folder / repo
        if not root.is_dir():
            self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["tree"]:
            self._send(200, json.dumps(_tree(root)).encode())
        else:
            self._send(200, json.dumps({"id": repo, "sha": REVISION, "siblings": []}).encode())

    def _file(self, path: Path, *, body: bool) -> None:
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": REVISION, "ETag": f'"{_etag(path)}"', "Accept-Ranges": "bytes"}
        if not body:
            self._send(200, content, headers, body=False)
            return
        first = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        self.hub.served.append((str(path.relative_to(self.hub.folder)), first))
        if self.hub.corrupt.get(path.name, 0) > 0:
            self.hub.corrupt[path.name] -= 1
            content = bytes(byte ^ 1 for byte in content)
        stop = self.hub.cut_after.pop(path.name, None)
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if first else 200, content[first:], headers, stop=stop)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        body: bool = True,
        stop: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:stop])
        if stop is not None:
            self.close_connection = True


def _tree(root: Path) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            entries.append({"type": "directory", "path": name, "oid": "0" * 40})
            continue
        size = path.stat().st_size
        entry: dict[str, object] = {"type": "file", "path": name, "size": size, "oid": _git(path)}
        if path.suffix == ".safetensors":
            entry["lfs"] = {"oid": _etag(path), "size": size, "pointerSize": 130}
        entries.append(entry)
    return entries


def _etag(path: Path) -> str:
    if path.suffix == ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return _git(path)


def _git(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
