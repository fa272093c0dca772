"""The page of the API needs nothing from elsewhere, and shows every route."""

import re
from pathlib import Path

from tests.helpers.service import new_service, running


def test_the_page_shows_every_route_and_loads_nothing(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        answer = client.get("/docs")
        document = client.get("/openapi.json").json()
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert re.findall(r'(?:src|href)="([^"]*)"', answer.text) == ["openapi.json"]
    for path, methods in document["paths"].items():
        for method in methods:
            shown = f'<b class="{method}">{method.upper()}</b> <code>{path}</code>'
            assert shown in answer.text
    assert "curl -X POST &#x27;http://127.0.0.1:7860/v1/videos&#x27;" in answer.text


def test_our_routes_have_an_example_of_their_answer(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        document = client.get("/openapi.json").json()
    without = {"/v1/videos/{video_id}/content"}  # files
    for path, methods in document["paths"].items():
        parts = path.split("/")
        if path in without or parts[1] != "v1" or parts[-1] in ("preview", "links", "picture"):
            continue
        if "stream" in parts or parts[-1].startswith("spritesheet"):
            continue
        for method, operation in methods.items():
            answers = operation["responses"]["200"]["content"]
            if set(answers) == {"*/*"}:  # a file
                continue
            assert any("example" in answer for answer in answers.values()), (method, path)
