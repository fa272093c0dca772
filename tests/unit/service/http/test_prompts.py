"""Prompts are expanded before anything is queued: by words, or by the server's endpoint."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.helpers.service import a_picture, data_url, new_service, running

from framepack.domain.settings import Settings


@dataclass
class Endpoint:
    """A stand-in for a language model: it says what it is told to."""

    url: str = ""
    says: str = '  "A dog\n runs fast" '
    asked: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            data = json.dumps({"choices": [{"message": {"content": state.says}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def settings(url: str) -> Settings:
    return Settings.load(enhancer_url=url, enhancer_model="a-model", enhancer_timeout_s=10)


@pytest.fixture
def asking(tmp_path: Path, endpoint: Endpoint) -> Iterator[TestClient]:
    with running(new_service(tmp_path, settings=settings(endpoint.url))) as client:
        yield client


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[TestClient]:
    with running(new_service(tmp_path)) as client:
        yield client


def enhance(client: TestClient, **sent: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post("/v1/prompts/enhance", json=sent)
    return answer.status_code, answer.json()


def test_without_an_endpoint_a_form_of_words_is_used(plain: TestClient) -> None:
    status, found = enhance(plain, prompt="a dog runs.")
    assert status == 200
    assert found == {
        "prompt": "a dog runs, with clear and natural movements",
        "how": "template",
    }


def test_the_endpoint_is_asked_if_there_is_one(
    tmp_path: Path, asking: TestClient, endpoint: Endpoint
) -> None:
    picture = data_url(a_picture(tmp_path / "a.png", color="red"))
    status, found = enhance(asking, prompt="a dog", image=picture)
    assert (status, found) == (200, {"prompt": "A dog runs fast", "how": "endpoint"})
    text, image = endpoint.asked[0]["messages"][1]["content"]
    assert text["text"] == "a dog"
    sent = base64.b64decode(image["image_url"]["url"].partition(",")[2])
    assert sent.startswith(b"\xff\xd8")
    assert enhance(asking, prompt="a dog", how="template")[1]["how"] == "template"
    assert len(endpoint.asked) == 1


def test_an_upload_can_be_shown(tmp_path: Path, asking: TestClient, endpoint: Endpoint) -> None:
    with a_picture(tmp_path / "a.png").open("rb") as file:
        upload = asking.post("/v1/uploads", files={"file": ("a.png", file)}).json()["id"]
    assert enhance(asking, prompt="a dog", image=upload)[0] == 200
    assert len(endpoint.asked[0]["messages"][1]["content"]) == 2


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "a dog", "how": "endpoint"}, "set enhancer_url"),
        ({"prompt": "a dog", "how": "magic"}, "how"),
        ({"prompt": "a dog", "image": "no-such"}, "image is 'no-such', which is no file"),
        ({"prompt": "a dog", "image": "data:image/png;base64,AAAA"}, "is no picture"),
        ({"prompt": "a dog", "imgae": "x"}, "imgae"),
    ],
)
def test_what_cannot_be_expanded_is_refused(
    plain: TestClient, sent: dict[str, Any], words: str
) -> None:
    status, found = enhance(plain, **sent)
    assert status == 422
    assert words in found["error"]["message"]


def test_an_endpoint_that_fails_is_told_of(
    tmp_path: Path, asking: TestClient, endpoint: Endpoint
) -> None:
    endpoint.says = " "
    status, found = enhance(asking, prompt="a dog")
    assert (status, found["error"]["code"]) == (502, "enhancer_failed")
    assert "wrote nothing" in found["error"]["message"]


def test_an_endpoint_that_is_not_there_is_told_of_without_options(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with running(new_service(tmp_path, settings=settings(url))) as client:
            status, found = enhance(client, prompt="a dog")
    assert status == 502
    assert "cannot be reached" in found["error"]["message"]
    assert "--" not in found["error"]["message"]
