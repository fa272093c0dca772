"""Files are served by job and from nowhere else, however a name is written."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message
from tests.helpers.service import VIDEO, new_service, running

from framepack.service.service import Service

SECRET = b"nobody's business"
JOB = "{job}"
FORMS = [
    "../secret.txt",
    "../../secret.txt",
    "../../../../../../../../../../etc/passwd",
    "..",
    ".",
    "",
    "/",
    "//",
    "/etc/passwd",
    "//etc/passwd",
    "///etc/passwd",
    "file:///etc/passwd",
    "C:/Windows/win.ini",
    "C:\\Windows\\win.ini",
    "\\\\host\\share\\x",
    "~/secret.txt",
    "~root/.ssh/id_rsa",
    "{data}/secret",
    "{data}/framepack.db",
    "{data}/jobs/{job}/output/video.mp4",
    "secret",
    "framepack.db",
    "audit.jsonl",
    "jobs/{job}/output/video.mp4",
    "{job}",
    "{job}/",
    "{job}/..",
    "{job}/../secret",
    "{job}/../../secret",
    "{job}/../../../secret.txt",
    "{job}/../{job}/video.mp4",
    "{job}/./video.mp4",
    "{job}//video.mp4",
    "{job}/video.mp4/",
    "{job}/video.mp4/..",
    "{job}/video.mp4/../../inputs/image.png",
    "{job}/..\\..\\secret",
    "{job}\\video.mp4",
    "{job}/....//secret",
    "{job}/..;/secret",
    "{job}/.../secret",
    "{job}/ ../secret",
    "{job}/\t../secret",
    "{job}/video.mp4\x00.txt",
    "{job}/\x00",
    "{job}/video.mp4\n",
    "{job}/video.mp4%00",
    "{job}/%2e%2e/secret",
    "{job}/%252e%252e/secret",
    "{job}/..%2fsecret",
    "{job}/..%5csecret",
    "{job}/%c0%ae%c0%ae/secret",
    "{job}/\uff0e\uff0e/secret",
    "{job}/\u2025/secret",
    "{job}/\u2215etc\u2215passwd",
    "{job}/.hidden",
    "{job}/~",
    "{job}/a/b/c",
    "{job}/out",
    "{job}/inner/secret.txt",
    "{job}/direct",
    "{job}/circle",
    "{job}/chain",
    "{job}/" + "a" * 5000,
    "../jobs/{job}/output/video.mp4",
    "{upper}/video.mp4",
    "video_/video.mp4",
    "video_{job}/video.mp4",
    "{job}/aux/../../../../secret.txt",
    "{job}/video.mp4:stream",
    "{job}/video.mp4?/../../secret",
    "{job}/video.mp4#/../../secret",
]
"""What follows ``/file=``, as the server sees it after the percent signs are resolved once."""

assert len(set(FORMS)) >= 50


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def service(home: Path) -> Service:
    return new_service(home, requests_per_minute=100_000)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with running(service) as client:
        yield client


@pytest.fixture(scope="module")
def job_id(service: Service, client: TestClient, home: Path) -> str:
    """A finished job, with links in its folder that lead out of it."""
    (home / "secret.txt").write_bytes(SECRET)
    job = str(client.post("/sdapi/v1/framepack", json={"prompt": "a"}).json()["id"])
    folder = service.data.job(job).output
    (folder / "direct").symlink_to(home / "secret.txt")
    (folder / "out").symlink_to(home)
    (folder / "inner").symlink_to(home)
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "chain").symlink_to(folder / "direct")
    return job


def ask(app: FastAPI, path: str, *, raw: bytes | None = None) -> tuple[int, bytes]:
    """Send a path exactly so: clients tidy paths up before they send them."""
    sent: list[Message] = []
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await asyncio.sleep(10)
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": raw if raw is not None else path.encode("utf-8", "surrogateescape"),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:7860")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7860),
        "state": {},
    }
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return int(sent[0]["status"]), body


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_name_leads_elsewhere(
    client: TestClient, service: Service, job_id: str, form: str
) -> None:
    name = form.replace("{job}", job_id).replace("{upper}", job_id.upper())
    name = name.replace("{data}", str(service.data.path))

    status, body = ask(client.app, f"/file={name}")  # type: ignore[arg-type]

    assert SECRET not in body
    assert VIDEO not in body
    # A name that could be a file's is missing; every other one is refused.
    could_be = ("{job}/circle", "{job}/a/b/c", "video_{job}/video.mp4")
    assert status in ((403, 404) if form in could_be else (403,))


def test_a_name_that_is_right_leads_to_the_file(client: TestClient, job_id: str) -> None:
    assert ask(client.app, f"/file={job_id}/video.mp4") == (200, VIDEO)  # type: ignore[arg-type]
    assert ask(client.app, f"/file={job_id}/none.mp4")[0] == 404  # type: ignore[arg-type]
    assert ask(client.app, "/file=video_" + "0" * 24 + "/video.mp4")[0] == 404  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("route", ["/v1/videos/{}/content", "/v1/videos/{}"])
def test_ids_of_videos_lead_nowhere_else(
    client: TestClient, service: Service, job_id: str, route: str, form: str
) -> None:
    name = form.replace("{job}", job_id).replace("{upper}", job_id.upper())
    name = name.replace("{data}", str(service.data.path))
    path = route.format(name)
    if path in (f"/v1/videos/{job_id}", f"/v1/videos/{job_id}/content"):
        return

    status, body = ask(client.app, path)  # type: ignore[arg-type]

    assert SECRET not in body
    assert VIDEO not in body
    assert status in (307, 403, 404, 405, 422)


def test_what_a_job_says_it_left_is_not_believed(
    client: TestClient, service: Service, job_id: str
) -> None:
    for name in ("../inputs/x", "direct", "/etc/passwd", "out/secret.txt"):
        with service.database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET output = json_set(output, '$.video', ?) WHERE id = ?",
                (name, job_id),
            )
        answer = client.get(f"/v1/videos/{job_id}/content")

        assert answer.status_code in (403, 404), name
        assert SECRET not in answer.content


def test_a_signed_link_works_without_a_key_until_it_expires(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    _, secret = service.keys.create("me")
    with running(service) as client:
        mine = {"auth": ("", secret)}
        job = client.post("/sdapi/v1/framepack", json={"prompt": "a"}, **mine).json()["id"]
        link = client.post(f"/v1/videos/{job}/links", json={"variant": "video"}, **mine).json()
        anonymous = client.get(link["url"])
        whole = client.get(f"/v1/videos/{job}/content")
        other = client.get(link["url"].replace("variant=video", "variant=thumbnail"))
        nobody = client.post(f"/v1/videos/{job}/links")
        late = client.app.state.links.sign(  # type: ignore[attr-defined]
            f"/v1/videos/{job}/content", lasts_s=0
        )

        assert (anonymous.status_code, anonymous.content) == (200, VIDEO)
        assert client.get(link["url"], headers={"Range": "bytes=0-3"}).status_code == 206
        assert whole.status_code == 401
        assert other.status_code == 403
        assert nobody.status_code == 401
        assert client.get(late).status_code == 403
        assert client.post(f"/v1/videos/{job}/links", json={"hours": -1}, **mine).status_code == 422
        assert client.post("/v1/videos/video_0/links", **mine).status_code == 404
    assert service.data.secret.stat().st_mode & 0o777 == 0o600
