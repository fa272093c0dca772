"""The page of one video: it plays as it grows, can be stopped and kept, and leads to others."""

import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from tests.browser.helpers import Studio

expect = pytest.importorskip("playwright.sync_api").expect

REQUEST = {"num_inference_steps": 4, "duration_s": 2.4}
STEPS = 36
SLOW = {"num_inference_steps": STEPS, "duration_s": 4.8}
"""Five sections: 7 s are left when the first is done, where nothing else is to do."""
SLOW_MS = 180_000  # other jobs may be before it, on a busy machine


def queued(studio: Studio, **request: Any) -> str:
    fields = {"model": "tiny", "prompt": "the camera pans left", "seed": 1, **REQUEST, **request}
    return str(studio.queue(**fields)["id"])


def finished(studio: Studio, **request: Any) -> str:
    return str(studio.make(**{**REQUEST, **request})["id"])


def plays(page: Any, source: str) -> None:
    """Wait until the video plays from an address with some words in it."""
    page.wait_for_function(
        """source => {
          const video = document.querySelector("video.watch-video");
          return video && video.src.includes(source) && video.currentTime > 0 && !video.error;
        }""",
        arg=source,
        timeout=SLOW_MS,
    )


def state(page: Any, word: str) -> None:
    page.locator(".page-head .badge").filter(has_text=word).wait_for(timeout=SLOW_MS)


def cells(page: Any, words: str) -> Any:
    return page.locator("[role=option]").filter(has_text=words)


@pytest.mark.parametrize("variant", ["forward-only", "bi-directional"])
def test_a_video_plays_while_it_renders_and_then_as_a_whole(
    new_page: Callable[..., Any], studio: Studio, variant: str
) -> None:
    video = queued(studio, **SLOW, variant=variant)
    page = new_page(f"/#/video/{video}")
    page.get_by_role("progressbar", name="Video", exact=True).wait_for(timeout=SLOW_MS)
    page.get_by_text(re.compile(rf"step \d+ of {STEPS}")).first.wait_for(timeout=SLOW_MS)
    expect(page.locator(".watch-facts").get_by_text("Time left")).to_be_visible()
    plays(page, "blob:")
    assert studio.api.get(f"/v1/videos/{video}").json()["state"] == "running"
    state(page, "Finished")
    plays(page, f"/v1/videos/{video}/content")
    assert page.locator("video").evaluate("video => video.loop && video.controls")
    page.wait_for_function(
        """() => [...document.querySelectorAll("[role=option] img")].length >= 4 &&
          [...document.querySelectorAll("[role=option] img")].every((each) => each.naturalWidth)"""
    )


def test_nothing_is_lost_when_the_page_is_loaded_again(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    video = queued(studio, **SLOW)
    page = new_page(f"/#/video/{video}")
    cells(page, "Done").first.wait_for(timeout=SLOW_MS)
    page.reload()
    cells(page, "Done").first.wait_for()
    page.get_by_role("progressbar", name="Video", exact=True).wait_for()
    plays(page, "blob:")
    state(page, "Finished")
    plays(page, "content")
    assert studio.wait(video)["output"]["num_frames"] == 144


def test_what_a_stopped_video_has_is_kept_and_can_be_finished(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    video = queued(studio, **{**SLOW, "duration_s": 6}, variant="forward-only")
    page = new_page(f"/#/video/{video}")
    cells(page, "Done").nth(1).wait_for(timeout=SLOW_MS)
    page.get_by_role("button", name="Stop and keep what is there").click()
    state(page, "Cancelled")
    plays(page, "variant=partial")
    link = page.get_by_role("link", name="Download the part")
    answer = studio.api.get(link.get_attribute("href"))
    assert answer.status_code == 200
    assert answer.content[4:8] == b"ftyp"
    page.get_by_role("button", name="Try again").click()
    state(page, "Finished")
    plays(page, "content")
    assert studio.wait(video)["output"]["num_frames"] == 180


def test_a_video_can_be_paused_and_go_on(new_page: Callable[..., Any], studio: Studio) -> None:
    video = queued(studio, **SLOW)
    page = new_page(f"/#/video/{video}")
    page.get_by_text(re.compile(rf"step ([2-9]|\d\d) of {STEPS}")).wait_for(timeout=SLOW_MS)
    page.get_by_role("button", name="Pause").click()
    state(page, "Paused")
    assert studio.api.get(f"/v1/videos/{video}").json()["state"] == "paused"
    page.get_by_role("button", name="Resume").click()
    state(page, "Finished")
    assert studio.wait(video)["output"]["num_frames"] == 144


def test_a_failure_is_told_and_can_be_tried_again(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    studio.api.post("/v1/queue/pause")
    upload = studio.api.post("/v1/uploads", files={"file": studio.picture().read_bytes()}).json()
    video = queued(studio, image=upload["id"], duration_s=1)
    inputs = studio.data / "jobs" / video / "inputs"
    kept = inputs.with_name("kept")
    shutil.move(inputs, kept)
    studio.api.post("/v1/queue/resume")
    page = new_page(f"/#/video/{video}")
    state(page, "Failed")
    said = studio.api.get(f"/v1/videos/{video}").json()["error"]["message"]
    assert page.locator(".watch-error").inner_text().strip() == said
    shutil.rmtree(inputs, ignore_errors=True)
    shutil.move(kept, inputs)
    page.expected_errors.clear()  # its picture could not be shown meanwhile
    page.get_by_role("button", name="Try again").click()
    state(page, "Finished")
    plays(page, "content")
    page.expected_errors.clear()


def test_a_section_is_made_again_as_another_video(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    parent = finished(studio, seed=21)
    page = new_page(f"/#/video/{parent}")
    cell = page.locator("[role=option]").nth(1)
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Another prompt for this section").fill("the camera pans right")
    dialog.get_by_role("button", name="Redo it").click()
    page.wait_for_url(lambda url: "#/video/" in url and parent not in url)
    child = page.url.rpartition("/")[2]
    own = page.locator("[role=option][aria-label*='own prompt: the camera pans right']")
    own.wait_for()
    assert own.get_attribute("data-index") == "1"
    state(page, "Finished")
    assert studio.api.get(f"/v1/videos/{child}").json()["remixed_from_video_id"] == parent
    page.get_by_role("link", name="Compare with the original").click()
    page.wait_for_url(f"**/#/compare/{parent}/{child}")
    page.get_by_role("cell", name="the camera pans right").or_(
        page.get_by_text("Section 1: the camera pans right")
    ).first.wait_for()


def test_a_video_is_extended_and_remixed_from_its_page(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    parent = finished(studio, duration_s=1.2, seed=22, variant="forward-only")
    page = new_page(f"/#/video/{parent}")
    page.get_by_role("button", name="Extend").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Seconds to add").fill("1.2")
    dialog.get_by_role("button", name="Make it longer").click()
    page.wait_for_url(lambda url: "#/video/" in url and parent not in url)
    longer = page.url.rpartition("/")[2]
    assert studio.wait(longer)["num_frames"] == 72
    state(page, "Finished")
    page.get_by_role("button", name="Remix").click()
    dialog.get_by_label("Prompt").fill("the camera pans right")
    dialog.get_by_role("button", name="Make it").click()
    page.wait_for_url(lambda url: longer not in url)
    page.get_by_role("heading", level=1, name="the camera pans right").wait_for()


def test_a_deleted_video_is_gone_after_a_question(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    video = finished(studio, duration_s=1, seed=23)
    page = new_page(f"/#/video/{video}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert studio.api.get(f"/v1/videos/{video}").status_code == 200
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/#/gallery")
    assert studio.api.get(f"/v1/videos/{video}").status_code == 404


def test_a_video_that_is_not_there_is_said_so(new_page: Callable[..., Any]) -> None:
    page = new_page("/#/video/video_000000000000000000000000")
    expect(page.get_by_role("heading", name="This video is not there")).to_be_visible()
    expect(page.locator("video")).to_have_count(0)
    page.expected_errors.clear()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (360, 780)])
def test_the_page_has_no_grave_fault_and_fits(
    new_page: Callable[..., Any],
    studio: Studio,
    faults: Callable[[Any], list[str]],
    theme: str,
    size: tuple[int, int],
) -> None:
    done = [
        each for each in studio.api.get("/v1/videos").json()["data"] if each["state"] == "completed"
    ]
    video = done[0]["id"] if done else finished(studio)
    page = new_page(f"/#/video/{video}", size=size, color_scheme=theme)
    plays(page, "content")
    widths = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    player = page.locator(".watch-player").bounding_box()
    assert page.locator("video").bounding_box() == player  # the whole picture, not a part of it
    assert faults(page) == []
