"""Two videos in step: one play button, one scrubber, and a table of what differs."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.browser.helpers import Studio

expect = pytest.importorskip("playwright.sync_api").expect

FRAME_S = 1 / 30


@pytest.fixture(scope="module")
def pair(studio: Studio) -> tuple[str, str]:
    """Two finished videos of 1.2 s and 1 s."""
    made = [
        studio.make(num_inference_steps=4, seed=seed, duration_s=seconds, prompt=prompt)["id"]
        for seed, seconds, prompt in ((1, 1.2, "the camera pans left"), (2, 1, "it zooms in"))
    ]
    return made[0], made[1]


@pytest.fixture
def comparing(new_page: Callable[..., Any], pair: tuple[str, str]) -> Callable[..., Any]:
    def opened(**options: Any) -> Any:
        page = new_page(f"/#/compare/{pair[0]}/{pair[1]}", **options)
        page.wait_for_function(
            """() => document.querySelectorAll("video").length === 2 &&
              [...document.querySelectorAll("video")].every((video) => video.readyState >= 2)"""
        )
        return page

    return opened


def times(page: Any) -> list[float]:
    found: list[float] = page.evaluate(
        "() => [...document.querySelectorAll('video')].map((video) => video.currentTime)"
    )
    return found


def settled(page: Any) -> None:
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].every((video) => !video.seeking)"
    )


def test_both_play_and_stop_as_one(comparing: Callable[..., Any]) -> None:
    page = comparing()
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].every((video) => video.currentTime > 0.2)"
    )
    page.get_by_role("button", name="Pause").click()
    settled(page)
    one, other = times(page)
    assert abs(one - other) < FRAME_S or one > 1 - FRAME_S  # the second one ends sooner
    assert page.evaluate(
        "() => [...document.querySelectorAll('video')].every((video) => video.paused)"
    )


def test_keys_go_by_one_frame(comparing: Callable[..., Any]) -> None:
    page = comparing()
    for _ in range(3):
        page.keyboard.press(".")
        settled(page)
    assert [int(time / FRAME_S) for time in times(page)] == [3, 3]
    page.keyboard.press(",")
    settled(page)
    assert [int(time / FRAME_S) for time in times(page)] == [2, 2]


def test_the_scrubber_moves_both_by_frames(comparing: Callable[..., Any]) -> None:
    page = comparing()
    scrub = page.get_by_role("slider", name="Position")
    scrub.focus()
    scrub.press("ArrowRight")
    settled(page)
    assert [int(time / FRAME_S) for time in times(page)] == [1, 1]
    assert scrub.get_attribute("aria-valuetext").endswith("frame 1")


def test_one_lies_over_the_other_up_to_a_slider(comparing: Callable[..., Any]) -> None:
    page = comparing()
    slider = page.get_by_role("slider", name="Where A ends and B begins")
    assert slider.is_hidden()
    page.get_by_role("button", name="One over the other").click()
    slider.fill("25")
    assert slider.get_attribute("aria-valuetext") == "A up to 25 %"
    clip = page.get_by_label("Video B", exact=True).evaluate(
        "video => getComputedStyle(video).clipPath"
    )
    assert clip == "inset(0px 0px 0px 25%)"
    one, other = (
        page.get_by_label(f"Video {letter}", exact=True).bounding_box() for letter in "AB"
    )
    assert one == other


def test_what_differs_stands_in_a_table(comparing: Callable[..., Any]) -> None:
    page = comparing()
    rows = page.locator(".compare-differences tbody tr")
    said = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows.all()
    }
    assert said["Seed"] == ["1", "2"]
    assert said["Prompt"] == ["the camera pans left", "it zooms in"]
    assert said["Seconds"] == ["1.2", "1"]
    assert "Model" not in said
    assert "Steps" not in said


def test_a_video_that_is_not_finished_cannot_be_compared(
    new_page: Callable[..., Any], studio: Studio, pair: tuple[str, str]
) -> None:
    waiting = studio.queue(model="tiny", prompt="a ball", duration_s=20)["id"]
    studio.api.post(f"/v1/videos/{waiting}/cancel").raise_for_status()
    page = new_page(f"/#/compare/{pair[0]}/{waiting}")
    expect(page.get_by_text("Both videos have to be finished.")).to_be_visible()
    expect(page.locator("video")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (360, 780)])
@pytest.mark.parametrize("layout", ["Side by side", "One over the other"])
def test_the_page_has_no_grave_fault_and_fits(
    comparing: Callable[..., Any],
    faults: Callable[[Any], list[str]],
    theme: str,
    size: tuple[int, int],
    layout: str,
) -> None:
    page = comparing(size=size, color_scheme=theme)
    page.get_by_role("button", name=layout).click()
    widths = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    boxes = [page.get_by_label(f"Video {letter}", exact=True).bounding_box() for letter in "AB"]
    is_stacked = boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]
    assert is_stacked == (size[0] < 720 and layout == "Side by side")
    assert faults(page) == []
