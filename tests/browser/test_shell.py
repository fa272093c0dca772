"""What holds on every page: several tabs, late answers, files from anywhere, keys that end."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser.helpers import Studio, running_studio

expect = pytest.importorskip("playwright.sync_api").expect

QUICK = {"model": "tiny", "duration_s": 1, "num_inference_steps": 2}


def prompt(page: Any) -> Any:
    return page.get_by_role("textbox", name="Prompt", exact=True)


def draft_of(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.evaluate("localStorage.getItem('framepack.draft')"))
    return found


def test_two_tabs_with_waiting_videos_leave_room_for_requests(page: Any, studio: Studio) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    made = [studio.queue(prompt=f"waits {number}", **QUICK)["id"] for number in range(4)]
    entries = json.dumps([{"id": each, "kind": "video"} for each in made])
    page.evaluate("text => localStorage.setItem('framepack.create.jobs', text)", entries)
    tabs = [page, page.context.new_page(), page.context.new_page()]
    for tab in tabs:
        tab.goto("/#/create")
        tab.reload()
        expect(tab.get_by_role("region", name="Video", exact=True)).to_have_count(4)
        expect(tab.locator(".create-job .watch-panel")).to_have_count(4)
    for tab in tabs:  # a browser has six connections for all of them
        status = tab.evaluate("async () => (await fetch('/v1/queue')).status")
        assert status == 200
    for each in made:
        studio.api.post(f"/v1/videos/{each}/cancel")
    studio.api.post("/v1/queue/resume").raise_for_status()


def test_what_is_typed_in_one_tab_is_in_the_other_and_stays(page: Any) -> None:
    other = page.context.new_page()
    other.goto("/")
    expect(prompt(other)).to_be_visible()
    prompt(page).press_sequentially("a long sentence that is typed quickly", delay=4)
    expect(prompt(other)).to_have_value("a long sentence that is typed quickly")
    expect(prompt(page)).to_have_value("a long sentence that is typed quickly")
    assert draft_of(page)["request"]["prompt"] == "a long sentence that is typed quickly"


def test_preferences_of_two_browsers_do_not_replace_each_other(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    one, other = new_page(), new_page()
    for page, name in ((one, "layout_one"), (other, "layout_two")):
        expect(prompt(page)).to_be_visible()
        with page.expect_response(lambda answer: answer.request.method == "PUT"):
            page.evaluate(
                """async name => {
                  const main = document.querySelector("script[type=module]").src;
                  const { prefs } = await import(main.replace("main.js", "lib/prefs.js"));
                  prefs.set(name, true);
                }""",
                name,
            )
    assert {"layout_one", "layout_two"} <= set(studio.api.get("/v1/preferences").json())


def test_a_page_that_answers_late_does_not_replace_the_next_one(page: Any) -> None:
    expect(prompt(page)).to_be_visible()
    held: list[Any] = []
    page.route("**/v1/models", lambda route: held.append(route))
    page.evaluate("location.hash = '#/models'")
    while not held:
        page.wait_for_timeout(50)
    page.evaluate("location.hash = '#/queue'")
    expect(page.get_by_role("heading", level=1, name="Queue")).to_be_visible()
    for each in held:
        each.continue_()
    page.wait_for_timeout(700)
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue")


def test_a_video_is_asked_for_once_however_often_the_button_is_pressed(
    page: Any, studio: Studio
) -> None:
    video = studio.make(prompt="asked for once", **QUICK)
    page.goto(f"/#/video/{video['id']}")
    page.get_by_role("button", name="Remix").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make it").dblclick()
    page.wait_for_url(lambda url: "#/video/" in url and video["id"] not in url)
    found = studio.api.get("/v1/videos", params={"search": "asked for once"}).json()["data"]
    assert len(found) == 2
    studio.wait(found[0]["id"])


def test_a_video_begins_with_the_picture_that_is_still_on_its_way(
    page: Any, studio: Studio
) -> None:
    held: list[Any] = []
    page.route("**/v1/uploads", lambda route: held.append(route))
    prompt(page).fill("with its picture")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a start picture").click()
    chooser.value.set_files(studio.picture("late.png"))
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Generate").click()
    held[0].continue_()
    expect(page.get_by_role("region", name="Video", exact=True)).to_be_visible()
    made = studio.api.get("/v1/videos", params={"limit": 1}).json()["data"][0]
    assert made["prompt"] == "with its picture"
    assert made["request"]["image"]
    studio.api.post(f"/v1/videos/{made['id']}/cancel")


def test_settings_that_come_back_can_be_sent_away_again(page: Any, studio: Studio) -> None:
    video = studio.make(prompt="from before", **QUICK)
    prompt(page).fill("what I was at")
    page.goto(f"/#/video/{video['id']}")
    page.get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("from before")
    page.get_by_role("button", name="Undo").click()
    expect(prompt(page)).to_have_value("what I was at")


def test_a_key_that_ends_is_asked_for_again_and_nothing_is_lost(
    new_page: Callable[..., Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "framepack", "keys"]
    where = ["--data-dir", str(tmp_path / "data")]

    def create(name: str) -> str:
        made = subprocess.run(
            [*command, "create", name, *where],
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.split()[-1]

    first = create("first")
    with running_studio(tmp_path) as closed:
        page = new_page(closed.url)
        page.get_by_label("Key").fill(first)
        page.get_by_role("button", name="Open the studio").click()
        expect(prompt(page)).to_be_visible()
        prompt(page).fill("not to be lost")  # behind the dialog nothing can be typed
        second = create("second")
        subprocess.run([*command, "revoke", "first", *where], check=True)
        dialog = page.get_by_role("dialog", name="This studio needs a key")
        dialog.get_by_label("Key").fill(second)
        dialog.get_by_role("button", name="Open the studio").click()
        expect(dialog).to_be_hidden()
        expect(prompt(page)).to_have_value("not to be lost")
        expect(page.locator(".create-figures dd").first).to_contain_text("s")
        page.goto("about:blank")  # before the server stops
    page.expected_errors.clear()  # the browser reports every refusal
