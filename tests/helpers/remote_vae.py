"""An endpoint on this machine that speaks the protocol of diffusers' remote_decode."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch
from torch import Tensor


@dataclass
class Asked:
    """One request: its query, headers and body."""

    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def latents(self) -> Tensor:
        """What was sent."""
        shape = [int(size) for size in self.query["shape"]]
        dtype = getattr(torch, self.query["dtype"][0])
        return torch.frombuffer(bytearray(self.body), dtype=dtype).reshape(shape)


@dataclass
class Endpoint:
    """What the endpoint does, and what it was asked.

    Attributes:
        decode: from latents, no longer scaled, to frames [1, 3, F, H, W] in -1..1.
        dtype: number format of the frames it sends.
        statuses: answers to the next requests; 0 closes the connection. 200 when there are none.
        headers: more headers of every answer, in place of the right ones.
    """

    decode: Callable[[Tensor], Tensor]
    dtype: torch.dtype = torch.float16
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the right answer."""
        latents = asked.latents / float(asked.query["scaling_factor"][0])
        with torch.inference_mode():
            frames = self.decode(latents).to(self.dtype).contiguous()
        dtype = str(frames.dtype).removeprefix("torch.")
        headers = {"shape": json.dumps(list(frames.shape)), "dtype": dtype}
        return frames.view(torch.uint8).numpy().tobytes(), {**headers, **self.headers}


@contextmanager
def serving(endpoint: Endpoint, port: int = 0) -> Iterator[Endpoint]:
    """Serve on this machine; ``endpoint.url`` leads there."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = Asked(parse_qs(urlsplit(self.path).query), dict(self.headers), body)
            endpoint.asked.append(asked)
            status = endpoint.statuses.pop(0) if endpoint.statuses else 200
            if status == 0:
                self.connection.close()
                return
            data, headers = endpoint.answer(asked) if status == 200 else (b"so it is", {})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            if status != 200:
                for name, value in endpoint.headers.items():
                    self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # the client waits no longer
                self.wfile.write(data)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, OSError, ValueError):
                self.close_connection = True  # closed on purpose

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}/vae/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
