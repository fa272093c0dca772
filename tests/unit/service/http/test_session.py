"""Signing in: the cookie opens what the key does, for pages of this server alone."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.helpers.service import BASE, new_service, running

from framepack.service.service import Service

KEY = "a-key-of-an-operator"
OWN = {"Origin": BASE}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text(KEY)
    return new_service(tmp_path, api_key_file=path)


def sign_in(client: TestClient, key: str = KEY) -> str:
    answer = client.post("/v1/session", json={"key": key}, headers=OWN)
    assert answer.status_code == 200, answer.text
    assert answer.json()["signed_in"] is True
    return str(answer.headers["set-cookie"])


def test_without_keys_everybody_is_signed_in(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        session = client.get("/v1/session").json()
        answer = client.post("/v1/session", json={"key": "any"}, headers=OWN)
    assert (session["needs_key"], session["signed_in"], session["is_admin"]) == (False, True, True)
    assert (answer.json()["signed_in"], "set-cookie" in answer.headers) == (True, False)


def test_a_key_becomes_a_cookie_that_opens_the_server(client: TestClient) -> None:
    before = client.get("/v1/session").json()
    assert (before["needs_key"], before["signed_in"], before["is_admin"]) == (True, False, False)
    assert client.get("/v1/videos").status_code == 401
    cookie = sign_in(client)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/v1/session").json()["is_admin"] is True
    assert client.get("/v1/videos").status_code == 200
    assert client.post("/v1/queue/pause", headers=OWN).status_code == 200
    client.delete("/v1/session", headers=OWN)
    assert client.get("/v1/videos").status_code == 401


def test_the_cookie_of_a_page_that_came_by_tls_goes_by_nothing_else(client: TestClient) -> None:
    plain = sign_in(client)
    page = {"Origin": BASE.replace("http:", "https:")}
    tls = client.post("/v1/session", json={"key": KEY}, headers=page).headers["set-cookie"]
    assert ("Secure" in plain, "Secure" in tls) == (False, True)


def test_a_tenant_signs_in_as_itself(service: Service, client: TestClient) -> None:
    key, secret = service.keys.create("tenant")
    sign_in(client, secret)
    session = client.get("/v1/session").json()
    assert (session["signed_in"], session["is_admin"]) == (True, False)
    made = client.post("/v1/videos", json={"prompt": "x", "model": "tiny"}, headers=OWN).json()
    assert service.store.get(made["id"]).owner == key.id
    service.keys.revoke("tenant")
    assert client.get("/v1/session").json()["signed_in"] is False
    assert client.get("/v1/videos").status_code == 401


def test_a_wrong_key_is_told_so_and_sets_no_cookie(client: TestClient) -> None:
    answer = client.post("/v1/session", json={"key": "guess"}, headers=OWN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "set-cookie" not in answer.headers


def test_strangers_send_nothing_large(client: TestClient) -> None:
    answer = client.post("/v1/session", json={"key": "x" * 20_000}, headers=OWN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_guesses_are_slowed_down_as_those_in_headers_are(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text(KEY)
    service = new_service(tmp_path, api_key_file=path, requests_per_minute=60)
    with running(service) as client:
        codes = [
            client.post("/v1/session", json={"key": f"guess {n}"}, headers=OWN).status_code
            for n in range(25)
        ]
    assert set(codes) == {401, 429}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_nothing_is_changed_without_proof_that_the_page_is_ours(
    service: Service, client: TestClient, headers: dict[str, str]
) -> None:
    sign_in(client)
    assert client.post("/v1/queue/pause", headers=headers).status_code in (401, 403)
    assert not service.store.is_paused


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_pages_of_others_do_not_read_with_the_cookie(client: TestClient, site: str) -> None:
    sign_in(client)
    assert client.get("/v1/videos", headers={"Sec-Fetch-Site": site}).status_code == 401
    assert client.get("/v1/videos", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.get("/docs", headers={"Sec-Fetch-Site": "none"}).status_code == 200


def test_a_key_in_a_header_goes_before_the_cookie(client: TestClient) -> None:
    sign_in(client)
    wrong = {"Authorization": "Bearer wrong"}
    assert client.get("/v1/videos", headers=wrong).status_code == 401


def test_the_page_needs_no_key_and_nothing_else_is_open(client: TestClient) -> None:
    for path in ("/", "/studio/js/main.js", "/favicon.ico"):
        assert client.get(path).status_code in (200, 404), path
    for path in ("/studio", "/v1/session/x", "/v1/sessions", "/docs", "/file=x", "/v1/events"):
        assert client.get(path).status_code == 401, path


def test_a_script_without_a_session_makes_no_browser_ask(client: TestClient) -> None:
    script = client.get("/v1/videos", headers={"Sec-Fetch-Mode": "cors"})
    typed = client.get("/docs", headers={"Sec-Fetch-Mode": "navigate"})
    assert script.headers["www-authenticate"] == "Bearer"
    assert typed.headers["www-authenticate"].startswith("Basic")
