"""Settings go through the page and come out as they went in."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.browser.helpers import PICTURES, Studio

expect = pytest.importorskip("playwright.sync_api").expect


def canonical(studio: Studio, video_id: str) -> str:
    """A video's request as text; the same picture is the same upload each time."""
    answer = studio.api.post(f"/v1/videos/{video_id}/reuse").json()
    assert answer["notes"] == []
    request = dict(answer["request"])
    for name in ("image", "end_image"):
        content = studio.api.get(f"/v1/uploads/{request[name]}/content")
        assert content.status_code == 200
        request[name] = content.content.hex()
    return json.dumps(request, sort_keys=True, ensure_ascii=False)


def upload(studio: Studio, path: Path) -> str:
    with path.open("rb") as file:
        answer = studio.api.post("/v1/uploads", files={"file": (path.name, file)})
    return str(answer.json()["id"])


def test_a_reused_request_is_sent_as_it_was(page: Any, studio: Studio) -> None:
    asked = {
        "model": "tiny",
        "prompt": "ein Würfel „rollt“ 🎲\nnach links",
        "image": upload(studio, PICTURES / "day.jpg"),
        "end_image": upload(studio, PICTURES / "night.jpg"),
        "variant": "bi-directional",
        "section_prompts": [{"section": 1, "prompt": "then, slowly, it stops"}],
        "section_seeds": [{"section": 1, "until_section": 2, "seed": 9}],
        "duration_s": 2.4,
        "num_inference_steps": 2,
        "seed": 4294967295,
        "start_strength": 0.85,
        "camera_motion": 0.1,
        "crf": 21,
    }
    first = studio.make(**asked)["id"]
    page.goto(f"/#/video/{first}")
    page.get_by_role("button", name="Reuse settings").click()
    page.wait_for_url("**/#/create")
    box = page.get_by_role("textbox", name="Prompt", exact=True)
    expect(box).to_have_value(asked["prompt"])
    page.get_by_role("button", name="Generate", exact=True).click()
    card = page.locator(".create-job")
    expect(card).to_be_visible()
    newest = studio.api.get("/v1/videos", params={"limit": 1}).json()["data"][0]["id"]
    assert newest != first
    assert canonical(studio, newest) == canonical(studio, first)
    studio.wait(newest)
