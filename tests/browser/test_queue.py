"""The page Queue: order, pause, stop, and what did not end well."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.browser.helpers import Studio

expect = pytest.importorskip("playwright.sync_api").expect

PHONE = (390, 844)
QUICK = {"model": "tiny", "duration_s": 1, "num_inference_steps": 2}


@pytest.fixture
def paused_queue(studio: Studio) -> Iterator[list[str]]:
    """Three videos that wait, whose order is stable; their ids in turn."""
    studio.api.post("/v1/queue/pause").raise_for_status()
    ids = [
        studio.queue(prompt=f"the {word} ball moves left", seed=seed, **QUICK)["id"]
        for seed, word in enumerate(("red", "green", "blue"))
    ]
    yield ids
    for video_id in ids:
        studio.api.post(f"/v1/videos/{video_id}/cancel")
        studio.api.delete(f"/v1/videos/{video_id}")
    studio.api.post("/v1/queue/resume").raise_for_status()


def rows(page: Any, title: str = "Waiting") -> Any:
    return page.get_by_role("list", name=title, exact=True).get_by_role("listitem")


def row(page: Any, word: str, title: str = "Waiting") -> Any:
    return rows(page, title).filter(has_text=f"the {word} ball")


def expect_order(page: Any, studio: Studio, ids: list[str], *words: str) -> None:
    """The page and the server agree on an order."""
    colours = dict(zip(("red", "green", "blue"), ids, strict=True))
    wanted = [colours[word] for word in words]
    expect(rows(page).locator("a")).to_have_text([f"the {word} ball moves left" for word in words])
    for _ in range(50):
        if studio.api.get("/v1/queue").json()["waiting"] == wanted:
            break
        page.wait_for_timeout(100)
    assert studio.api.get("/v1/queue").json()["waiting"] == wanted


def drag(page: Any, word: str, to: str) -> None:
    """Drag the handle of one row a little past the middle of another."""
    start = row(page, word).locator(".queue-handle").bounding_box()
    end = row(page, to).bounding_box()
    grip = (start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    is_up = end["y"] < start["y"]
    target = end["y"] + end["height"] * (0.3 if is_up else 0.7)
    page.mouse.move(*grip)
    page.mouse.down()
    page.mouse.move(grip[0], target, steps=12)
    page.wait_for_timeout(100)  # a frame, in which the rows step aside
    page.mouse.up()


def test_rows_are_dragged_to_another_place(
    page: Any, studio: Studio, paused_queue: list[str]
) -> None:
    page.goto("/#/queue")
    expect_order(page, studio, paused_queue, "red", "green", "blue")
    drag(page, "blue", "red")
    expect_order(page, studio, paused_queue, "blue", "red", "green")
    drag(page, "blue", "green")  # to the end, which the server knows as a priority
    expect_order(page, studio, paused_queue, "red", "green", "blue")


def test_a_drag_that_escape_ends_changes_nothing(
    page: Any, studio: Studio, paused_queue: list[str]
) -> None:
    page.goto("/#/queue")
    handle = row(page, "blue").locator(".queue-handle").bounding_box()
    page.mouse.move(handle["x"] + 5, handle["y"] + 5)
    page.mouse.down()
    page.mouse.move(handle["x"] + 5, handle["y"] - 200, steps=8)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect_order(page, studio, paused_queue, "red", "green", "blue")


def test_rows_are_moved_by_keys_and_the_focus_goes_along(
    page: Any, studio: Studio, paused_queue: list[str]
) -> None:
    page.goto("/#/queue")
    row(page, "red").locator(".queue-handle").focus()
    page.keyboard.press("Alt+ArrowDown")
    expect_order(page, studio, paused_queue, "green", "red", "blue")
    page.keyboard.press("Alt+ArrowDown")
    expect_order(page, studio, paused_queue, "green", "blue", "red")
    expect(row(page, "red").locator(".queue-handle")).to_be_focused()
    expect(page.locator("#announcer")).to_have_text("Now place 3 of 3")
    page.keyboard.press("Alt+ArrowUp")
    expect_order(page, studio, paused_queue, "green", "red", "blue")


def test_rows_are_moved_by_buttons(page: Any, studio: Studio, paused_queue: list[str]) -> None:
    page.goto("/#/queue")
    row(page, "blue").get_by_role("button", name="Move to the top").click()
    expect_order(page, studio, paused_queue, "blue", "red", "green")
    row(page, "blue").get_by_role("button", name="Move down").click()
    expect_order(page, studio, paused_queue, "red", "blue", "green")
    row(page, "green").get_by_role("button", name="Move up").click()
    expect_order(page, studio, paused_queue, "red", "green", "blue")


def test_a_video_is_paused_resumed_cancelled_and_tried_again(
    page: Any, studio: Studio, paused_queue: list[str]
) -> None:
    red = paused_queue[0]
    page.goto("/#/queue")
    row(page, "red").get_by_role("button", name="Pause").click()
    expect(row(page, "red", "Paused")).to_be_visible()
    assert studio.api.get(f"/v1/videos/{red}").json()["state"] == "paused"
    row(page, "red", "Paused").get_by_role("button", name="Resume").click()
    expect(rows(page)).to_have_count(3)
    row(page, "red").get_by_role("button", name="Cancel").click()
    ended = row(page, "red", "Failed or cancelled")
    expect(ended).to_contain_text("Cancelled")
    assert studio.api.get(f"/v1/videos/{red}").json()["state"] == "cancelled"
    ended.get_by_role("button", name="Try again").click()
    expect(rows(page)).to_have_count(3)


def test_a_failed_video_says_why(page: Any, studio: Studio) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    picture = studio.picture("gone.png").read_bytes()
    upload = studio.api.post("/v1/uploads", files={"file": picture}).json()["id"]
    video = studio.queue(prompt="a failure", image=upload, **QUICK)
    for path in (studio.data / "jobs" / video["id"] / "inputs").iterdir():
        path.write_bytes(b"no picture")
    studio.api.post("/v1/queue/resume").raise_for_status()
    message = studio.wait(video["id"], "failed")["error"]["message"]
    page.goto("/#/queue")
    failed = rows(page, "Failed or cancelled").filter(has_text="a failure")
    expect(failed).to_contain_text(message)
    failed.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(failed).to_have_count(0)
    assert studio.api.get(f"/v1/videos/{video['id']}").status_code == 404


def test_the_whole_queue_is_paused_and_goes_on(
    page: Any, studio: Studio, paused_queue: list[str]
) -> None:
    page.goto("/#/queue")
    expect(page.get_by_text("The queue is paused")).to_be_visible()
    expect(row(page, "red")).to_contain_text("Starts when the queue goes on")
    page.get_by_role("button", name="Let the queue go on").click()
    expect(page.get_by_text("The queue is paused")).to_be_hidden()
    for video_id in paused_queue:
        studio.wait(video_id)
    expect(page.get_by_role("heading", name="Waiting")).to_be_hidden()


def test_the_video_at_work_is_shown_and_stopped_with_what_there_is(
    page: Any, studio: Studio
) -> None:
    page.goto("/#/queue")
    video = studio.queue(
        prompt="a long pan", model="tiny", duration_s=20, num_inference_steps=20, seed=3
    )
    now = rows(page, "Rendering now")
    expect(now).to_contain_text("a long pan")
    expect(now.get_by_role("progressbar")).to_be_visible()
    expect(now).to_contain_text(re.compile(r"Section ([2-9]|\d\d) of"), timeout=60_000)
    now.get_by_role("button", name="Stop and keep").click()
    expect(now).to_have_count(0)
    studio.wait(video["id"], "cancelled")
    page.goto("/#/gallery")  # where it comes as soon as it is there
    expect(page.get_by_role("link", name="Open: a long pan")).to_be_visible(timeout=60_000)
    kept = studio.api.get(f"/v1/videos/{video['id']}/content?variant=partial")
    assert kept.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_queue_has_no_accessibility_faults(
    new_page: Callable[..., Any], faults: Any, paused_queue: list[str], scheme: str
) -> None:
    page = new_page("/#/queue", color_scheme=scheme)
    expect(rows(page)).to_have_count(len(paused_queue))
    assert faults(page) == []


def test_the_queue_fits_a_phone(
    new_page: Callable[..., Any], faults: Any, paused_queue: list[str]
) -> None:
    page = new_page("/#/queue", size=PHONE)
    expect(rows(page)).to_have_count(len(paused_queue))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert faults(page) == []
