"""Who is let in, with how much, how often, and what is written down about it."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from starlette.types import Message
from tests.helpers.service import BASE, new_service

from framepack.service.http.guard import Caller, caller, install
from framepack.service.service import Service

KEY = "a-key-of-an-operator"
EVIL = "https://evil.example"


def app_of(service: Service) -> FastAPI:
    app = FastAPI()
    install(app, service)

    @app.get("/who")
    @app.post("/who")
    def who(found: Caller = Depends(caller)) -> dict[str, Any]:  # noqa: B008 - FastAPI's way
        return {"owner": found.owner, "admin": found.is_admin, "sees": found.sees}

    @app.get("/files/{name}")
    def file(name: str, found: Caller = Depends(caller)) -> dict[str, Any]:  # noqa: B008
        return {"name": name, "link": found.is_link}

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/parsed")
    async def parsed(values: dict[str, Any]) -> int:
        return len(values)

    @app.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("<p>hello</p>")

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    return app


class Served:
    """An application behind the guard."""

    def __init__(self, folder: Path, base_url: str = BASE, **config: Any) -> None:
        self.service = new_service(folder, **config)
        self.app = app_of(self.service)
        self.client = TestClient(self.app, base_url=base_url)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.service.data.audit_log.read_text().splitlines()]


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def begin(**config: Any) -> Served:
            served = Served(tmp_path, **config)
            stack.callback(served.service.database.close)
            stack.enter_context(served.client)
            return served

        yield begin


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


@pytest.fixture
def locked(tmp_path: Path, serve: Serve) -> Served:
    path = tmp_path / "keys"
    path.write_text(KEY)
    path.chmod(0o600)
    return serve(api_key_file=path)


def code_of(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# --- Keys --------------------------------------------------------------------------------------


def test_without_keys_everybody_on_this_machine_is_the_operator(served: Served) -> None:
    assert served.client.get("/who").json() == {"owner": "", "admin": True, "sees": None}


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer  {KEY}", basic("anybody", KEY)])
def test_a_key_comes_as_bearer_or_as_the_password_of_basic(locked: Served, header: str) -> None:
    answer = locked.client.get("/who", headers={"Authorization": header})

    assert answer.json() == {"owner": "file:operator", "admin": True, "sees": None}


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", f"Digest {KEY}", "Basic !!", basic("x", "y"), basic(KEY, "")],
)
def test_nobody_else_is_let_in(locked: Served, header: str) -> None:
    answer = locked.client.get("/who", headers={"Authorization": header} if header else {})

    assert code_of(answer) == (401, "invalid_api_key")
    assert "Bearer" in answer.headers["www-authenticate"]


def test_a_tenant_sees_its_own(served: Served) -> None:
    key, secret = served.service.keys.create("phone")

    answer = served.client.get("/who", headers={"Authorization": f"Bearer {secret}"})

    assert answer.json() == {"owner": key.id, "admin": False, "sees": key.id}


def test_health_needs_no_key(locked: Served) -> None:
    assert locked.client.get("/healthz").status_code == 200


# --- Links -------------------------------------------------------------------------------------


def test_a_signed_link_reads_its_address_and_nothing_else(locked: Served) -> None:
    link = locked.app.state.links.sign("/files/a b", lasts_s=60)

    assert locked.client.get(link).json() == {"name": "a b", "link": True}
    assert code_of(locked.client.get(link.replace("/files/a", "/files/c")))[0] == 403
    assert locked.client.get("/files/a").status_code == 401
    posted = locked.app.state.links.sign("/who", lasts_s=60)
    assert locked.client.post(posted).status_code == 401


def test_an_expired_link_says_so(locked: Served) -> None:
    link = locked.app.state.links.sign("/files/a", lasts_s=-1)

    assert code_of(locked.client.get(link)) == (403, "link_expired")


# --- Hosts and pages ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example"])
def test_a_name_that_leads_here_is_not_this_server(served: Served, host: str) -> None:
    answer = served.client.get("/who", headers={"Host": host})

    assert code_of(answer) == (403, "unknown_host")


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST"])
def test_this_machine_has_several_names(served: Served, host: str) -> None:
    assert served.client.get("/who", headers={"Host": host}).status_code == 200


def test_the_operator_names_further_hosts(serve: Serve) -> None:
    served = serve(hosts=("studio.example",))

    assert served.client.get("/who", headers={"Host": "studio.example"}).status_code == 200
    assert served.client.get("/who", headers={"Host": "other.example"}).status_code == 403


def test_pages_of_others_neither_read_nor_send(served: Served) -> None:
    read = served.client.get("/who", headers={"Origin": EVIL})
    sent = served.client.post("/who", headers={"Origin": EVIL})
    asked = served.client.options(
        "/who", headers={"Origin": EVIL, "Access-Control-Request-Method": "POST"}
    )

    assert "access-control-allow-origin" not in read.headers
    assert code_of(sent) == (403, "origin_not_allowed")
    assert code_of(asked) == (403, "origin_not_allowed")
    assert served.client.post("/who", headers={"Origin": "null"}).status_code == 403
    assert served.client.post("/who", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_its_own_page_may_send(served: Served) -> None:
    assert served.client.post("/who", headers={"Origin": BASE}).status_code == 200


def test_a_page_that_the_operator_named_may(serve: Serve) -> None:
    page = "https://studio.example"
    served = serve(cors_origins=(page,))

    asked = served.client.options(
        "/who", headers={"Origin": page, "Access-Control-Request-Method": "POST"}
    )
    sent = served.client.post("/who", headers={"Origin": page})

    assert asked.status_code == 204
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert sent.headers["access-control-allow-origin"] == page
    assert sent.headers["vary"] == "Origin"
    assert served.client.post("/who", headers={"Origin": EVIL}).status_code == 403


# --- Size and rate -----------------------------------------------------------------------------


def test_a_body_that_is_said_to_be_too_large_is_not_read(serve: Serve) -> None:
    served = serve(upload_mb=0.001)

    assert served.client.post("/size", content=b"x" * 1000).json() == 1000
    assert code_of(served.client.post("/size", content=b"x" * 1001)) == (413, "too_large")


@pytest.mark.parametrize("route", ["/size", "/parsed"])
def test_a_body_without_a_length_is_cut_off(serve: Serve, route: str) -> None:
    served = serve(upload_mb=0.01)
    sent: list[Message] = []
    num_read = 0

    async def endless() -> Message:
        nonlocal num_read
        num_read += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": route, "raw_path": route.encode()}
    scope |= {"headers": headers, "query_string": b"", "client": ("127.0.0.1", 1), "scheme": "http"}
    scope |= {"server": ("127.0.0.1", 7860), "http_version": "1.1", "root_path": ""}
    asyncio.run(served.app({**scope, "asgi": {"version": "3.0"}}, endless, send))

    assert num_read == 11  # 10 are allowed
    assert [message["status"] for message in sent if "status" in message] == [413]
    assert json.loads(sent[-1]["body"])["error"]["code"] == "too_large"
    assert served.audit()[-1]["status"] == 413


def test_too_many_requests_have_to_wait(serve: Serve) -> None:
    served = serve(requests_per_minute=60)
    statuses = [served.client.get("/who").status_code for _ in range(25)]

    assert statuses[:20] == [200] * 20
    assert 429 in statuses
    answer = served.client.get("/who")
    assert code_of(answer) == (429, "rate_limit")
    assert int(answer.headers["retry-after"]) >= 1
    assert served.client.get("/healthz").status_code == 200


def test_keys_have_their_own_rates(serve: Serve) -> None:
    served = serve(requests_per_minute=60)
    secrets = [served.service.keys.create(name)[1] for name in ("one", "two")]
    for _ in range(25):
        served.client.get("/who", headers={"Authorization": f"Bearer {secrets[0]}"})

    answer = served.client.get("/who", headers={"Authorization": f"Bearer {secrets[1]}"})

    assert answer.status_code == 200


def test_guesses_at_keys_are_slowed_down(serve: Serve) -> None:
    served = serve(requests_per_minute=60)
    served.service.keys.create("one")
    answers = [served.client.get("/who", headers={"Authorization": "Bearer x"}) for _ in range(25)]

    assert {answer.status_code for answer in answers} == {401, 429}


# --- What is said and written ------------------------------------------------------------------


def test_every_answer_is_hardened(served: Served) -> None:
    answer = served.client.get("/who")

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"].startswith("req_")
    assert "sandbox" not in served.client.get("/page").headers.get("content-security-policy", "")


def test_the_audit_has_a_line_for_each_request_and_no_secret(locked: Served) -> None:
    link = locked.app.state.links.sign("/files/a", lasts_s=60)
    locked.client.get(link)
    locked.client.post(
        "/size?note=hidden", content=b"a prompt", headers={"Authorization": f"Bearer {KEY}"}
    )
    locked.client.get("/who", headers={"Authorization": "Bearer wrong-secret"})

    lines = locked.audit()
    text = locked.service.data.audit_log.read_text()
    assert [(line["caller"], line["path"], line["status"]) for line in lines] == [
        ("link", "/files/a", 200),
        ("file:operator", "/size", 200),
        (None, "/who", 401),
    ]
    assert lines[1]["received"] == 8
    assert not any(each in text for each in (KEY, "wrong-secret", "signature", "hidden", "prompt"))
    assert locked.service.data.audit_log.stat().st_mode & 0o777 == 0o600


def test_requests_are_counted_by_route(served: Served) -> None:
    for name in ("a", "b", "c"):
        served.client.get(f"/files/{name}")
    served.client.get("/nothing/here")
    text = served.app.state.metrics.text().decode()

    counted = 'framepack_http_requests_total{method="GET",route="/files/{name}",status="200"} 3.0'
    assert counted in text
    assert 'route="none",status="404"} 1.0' in text
    assert (
        'framepack_http_answer_seconds_bucket{le="0.1",method="GET",route="/files/{name}"} 3.0'
        in text
    )
