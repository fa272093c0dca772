"""A client that goes away in the middle of anything changes nothing for its job."""

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.helpers.live_server import serving
from tests.helpers.service import FakeExecutor, new_service, until

from framepack.service.service import Service

SMALL = {"prompt": "x", "model": "tiny", "duration_s": 1}


class Home:
    """A server whose jobs wait for a word, and a way to be rude to it."""

    def __init__(self, service: Service, executor: FakeExecutor, address: str) -> None:
        self.service, self.executor, self.address = service, executor, address

    def hang_up_after(self, sent: bytes, *, num_read: int = 0) -> None:
        """Send some bytes, read some, and reset the connection."""
        parts = urlsplit(self.address)
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as line:
            line.sendall(sent.replace(b"HOST", parts.netloc.encode()))
            while num_read > 0:
                received = line.recv(min(num_read, 4096))
                assert received, "the server hung up first"
                num_read -= len(received)
            # No goodbye: the other side sees a connection that was reset.
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.address}{path}", timeout=20)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    executor = FakeExecutor(is_held=True, video=bytes(5_000_000))
    service = new_service(tmp_path, executor)
    with serving(service) as address:
        yield Home(service, executor, address)


def test_a_client_that_never_reads_the_answer_to_its_request_has_its_job(home: Home) -> None:
    body = json.dumps({"prompt": "x", "model": "tiny", "seconds": "1"}).encode()
    head = b"POST /v1/videos HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    home.hang_up_after(head + b"Content-Length: %d\r\n\r\n" % len(body) + body, num_read=1)
    (job,) = until(lambda: home.service.store.page().jobs)
    home.executor.go.set()
    until(lambda: home.service.store.get(job.id).has_ended)
    assert home.service.store.get(job.id).state == "completed"


def test_half_a_request_leaves_nothing(home: Home) -> None:
    head = b"POST /v1/videos HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    home.hang_up_after(head + b"Content-Length: 500\r\n\r\n" + b'{"prompt": "x",')
    assert home.get("/healthz").status_code == 200
    assert home.service.store.page().jobs == ()
    assert list((home.service.data.path / "jobs").iterdir()) == []


def test_a_client_that_leaves_its_events_or_its_download_changes_nothing(home: Home) -> None:
    job = home.service.submit(SMALL)
    events = f"GET /v1/videos/{job.id}/events HTTP/1.1\r\nHost: HOST\r\n\r\n".encode()
    home.hang_up_after(events, num_read=50)
    home.executor.go.set()
    until(lambda: home.service.store.get(job.id).has_ended)
    content = f"GET /v1/videos/{job.id}/content HTTP/1.1\r\nHost: HOST\r\n\r\n".encode()
    for _ in range(5):
        home.hang_up_after(content, num_read=5000)
    assert len(home.get(f"/v1/videos/{job.id}/content").content) == 5_000_000
    assert home.service.store.get(job.id).state == "completed"
    until(lambda: not home.service.changes._audiences)
