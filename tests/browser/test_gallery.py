"""The page Gallery: finding what was made, and making more of it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.browser.helpers import PICTURES, Studio

expect = pytest.importorskip("playwright.sync_api").expect

PHONE = (390, 844)
QUICK = {"model": "tiny", "duration_s": 1, "num_inference_steps": 2}
DROP = """async ([id, name]) => {
  const answer = await fetch(`/v1/videos/${id}/content`);
  const file = new File([await answer.blob()], name, {type: "video/mp4"});
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.querySelector("main").dispatchEvent(
      new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
  }
}"""


@pytest.fixture(scope="module")
def hills(studio: Studio) -> dict[str, Any]:
    """A finished video from a picture."""
    picture = (PICTURES / "hills.jpg").read_bytes()
    upload = studio.api.post("/v1/uploads", files={"file": ("hills.jpg", picture)}).json()["id"]
    return studio.make(prompt="a pan over gallery hills", image=upload, seed=4711, **QUICK)


@pytest.fixture(scope="module")
def night(studio: Studio) -> dict[str, Any]:
    """Another one."""
    return studio.make(prompt="gallery stars at night", seed=12, **QUICK)


@pytest.fixture
def gallery(page: Any, hills: dict[str, Any], night: dict[str, Any]) -> Any:
    """The page with both videos."""
    page.goto("/#/gallery")
    for video in (hills, night):
        expect(card(page, video)).to_be_visible()
    return page


def card(page: Any, video: dict[str, Any]) -> Any:
    return page.get_by_role("article").filter(has=page.locator(f'a[href="#/video/{video["id"]}"]'))


def choose(page: Any, video: dict[str, Any], entry: str) -> None:
    """An entry of a video's menu."""
    card(page, video).get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name=entry).click()


def newest(studio: Studio) -> dict[str, Any]:
    found: dict[str, Any] = studio.api.get("/v1/videos?limit=1").json()["data"][0]
    return found


def expect_compared(page: Any, one: dict[str, Any], other: dict[str, Any]) -> None:
    """The page shows two videos side by side."""
    page.wait_for_url(f"**/#/compare/{one['id']}/{other['id']}")
    players = page.locator(".compare-figures video")
    expect(players).to_have_count(2)
    for player, video in zip(players.all(), (one, other), strict=True):
        expect(player).to_have_attribute("src", re.compile(video["id"]))


def test_search_finds_words_and_seeds(gallery: Any, hills: Any, night: Any) -> None:
    search = gallery.get_by_role("searchbox", name="Search")
    search.fill("STARS night")
    expect(card(gallery, hills)).to_have_count(0)
    expect(card(gallery, night)).to_be_visible()
    search.fill("4711")
    expect(card(gallery, night)).to_have_count(0)
    expect(card(gallery, hills)).to_be_visible()
    search.fill("no such words")
    expect(gallery.get_by_text("Nothing here fits")).to_be_visible()


def test_a_card_plays_and_tells_its_settings_while_it_is_pointed_at(
    gallery: Any, hills: Any
) -> None:
    shown = card(gallery, hills)
    expect(shown.locator("dl")).to_be_hidden()
    shown.hover()
    expect(shown.locator("dl")).to_contain_text("4711")
    movie = shown.locator("video")
    expect(movie).to_have_js_property("paused", False)
    expect(movie).to_have_js_property("muted", True)
    gallery.mouse.move(0, 0)
    expect(movie).to_have_count(0)


def test_nothing_moves_where_motion_is_unwelcome(
    new_page: Callable[..., Any], hills: dict[str, Any]
) -> None:
    page = new_page("/#/gallery", reduced_motion="reduce")
    card(page, hills).hover()
    expect(card(page, hills).locator("dl")).to_be_visible()
    page.wait_for_timeout(500)
    expect(card(page, hills).locator("video")).to_have_count(0)


def test_settings_are_reused(gallery: Any, hills: Any) -> None:
    choose(gallery, hills, "Reuse settings")
    gallery.wait_for_url("**/#/create")
    expect(gallery.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(hills["prompt"])
    draft = gallery.evaluate("JSON.parse(localStorage.getItem('framepack.draft')).request")
    assert draft["seed"] == 4711
    assert draft["image"].startswith("upload_")


@pytest.mark.parametrize("place", ["gallery", "queue"])
def test_a_dropped_video_brings_its_settings_back(page: Any, hills: Any, place: str) -> None:
    page.goto(f"/#/{place}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.evaluate(DROP, [hills["id"], "from-elsewhere.mp4"])
    page.wait_for_url("**/#/create")
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(hills["prompt"])


def test_a_remix_has_another_prompt_and_the_same_seed(
    gallery: Any, studio: Studio, hills: Any
) -> None:
    choose(gallery, hills, "Remix")
    dialog = gallery.get_by_role("dialog", name="Remix")
    dialog.get_by_label("Prompt").fill("a remixed pan")
    dialog.get_by_role("button", name="Make it").click()
    expect(gallery.get_by_text("The remix is queued.")).to_be_visible()
    remix = newest(studio)
    assert remix["remixed_from_video_id"] == hills["id"]
    assert (remix["prompt"], remix["seed"]) == ("a remixed pan", 4711)
    studio.wait(remix["id"])
    expect(card(gallery, remix)).to_be_visible()


def test_a_video_is_extended(gallery: Any, studio: Studio, hills: Any) -> None:
    choose(gallery, hills, "Extend")
    dialog = gallery.get_by_role("dialog", name="Extend")
    dialog.get_by_label("Seconds to add").fill("0")
    dialog.get_by_role("button", name="Make it longer").click()
    expect(dialog.get_by_label("Seconds to add")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Seconds to add").fill("1")
    dialog.get_by_role("button", name="Make it longer").click()
    expect(gallery.get_by_text("The longer video is queued.")).to_be_visible()
    longer = studio.wait(newest(studio)["id"])
    assert longer["remixed_from_video_id"] == hills["id"]
    assert float(longer["output"]["duration_s"]) > 1.5


def test_a_section_is_made_again(gallery: Any, studio: Studio, hills: Any) -> None:
    choose(gallery, hills, "Redo a section")
    dialog = gallery.get_by_role("dialog", name="Redo a section")
    dialog.get_by_label("Seed", exact=True).fill("99")
    dialog.get_by_role("button", name="Redo it").click()
    expect(gallery.get_by_text("The new take is queued.")).to_be_visible()
    take = studio.wait(newest(studio)["id"])
    assert take["remixed_from_video_id"] == hills["id"]


def test_two_videos_are_compared(gallery: Any, hills: Any, night: Any) -> None:
    card(gallery, hills).hover()
    card(gallery, hills).get_by_role("checkbox").check()
    compare = gallery.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    card(gallery, night).get_by_role("checkbox").check()
    compare.click()
    expect_compared(gallery, hills, night)


def test_another_one_is_chosen_to_compare_with(gallery: Any, hills: Any, night: Any) -> None:
    choose(gallery, hills, "Compare with")
    gallery.get_by_role("dialog").get_by_role("button", name=night["prompt"]).click()
    expect_compared(gallery, hills, night)


def test_videos_are_downloaded_one_after_the_other(gallery: Any, hills: Any, night: Any) -> None:
    names = []
    gallery.on("download", lambda download: names.append(download.suggested_filename))
    for video in (hills, night):
        card(gallery, video).hover()
        card(gallery, video).get_by_role("checkbox").check()
    gallery.get_by_role("region", name="Selected").get_by_role("button", name="Download").click()
    for _ in range(60):
        if len(names) == 2:
            break
        gallery.wait_for_timeout(100)
    assert sorted(names) == sorted(f"{video['id']}.mp4" for video in (hills, night))


def test_a_link_is_copied_that_needs_no_key(
    new_page: Callable[..., Any], studio: Studio, hills: dict[str, Any]
) -> None:
    page = new_page("/#/gallery", permissions=["clipboard-read", "clipboard-write"])
    choose(page, hills, "Copy a link")
    expect(page.get_by_text("The link is copied.")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert studio.api.get(link).headers["content-type"] == "video/mp4"


def test_several_are_deleted_after_asking(page: Any, studio: Studio) -> None:
    both = [studio.make(prompt=f"doomed {word}", **QUICK) for word in ("one", "two")]
    page.goto("/#/gallery")
    for video in both:
        card(page, video).hover()
        card(page, video).get_by_role("checkbox").check()
    bar = page.get_by_role("region", name="Selected videos")
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert studio.api.get(f"/v1/videos/{both[0]['id']}").status_code == 200
    bar.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for video in both:
        expect(card(page, video)).to_have_count(0)
        assert studio.api.get(f"/v1/videos/{video['id']}").status_code == 404
    expect(bar).to_be_hidden()


def test_a_menu_is_used_with_keys_alone(gallery: Any, hills: Any) -> None:
    button = card(gallery, hills).get_by_role("button", name="More for")
    button.focus()
    gallery.keyboard.press("Enter")
    expect(gallery.get_by_role("menuitem", name="Open")).to_be_focused()
    gallery.keyboard.press("End")
    expect(gallery.get_by_role("menuitem", name="Delete")).to_be_focused()
    gallery.keyboard.press("Escape")
    expect(gallery.get_by_role("menu")).to_have_count(0)
    expect(button).to_be_focused()


def test_more_are_shown_in_pages(page: Any, studio: Studio) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    made = [studio.queue(prompt=f"many {number}", **QUICK)["id"] for number in range(33)]
    for video_id in made:
        studio.api.post(f"/v1/videos/{video_id}/cancel")
    page.goto("/#/gallery")
    page.get_by_label("Show", exact=True).select_option("Cancelled")
    expect(page.get_by_role("article")).to_have_count(30)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("article").nth(32)).to_be_visible()
    for video_id in made:
        studio.api.delete(f"/v1/videos/{video_id}")
    studio.api.post("/v1/queue/resume").raise_for_status()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_has_no_accessibility_faults(
    new_page: Callable[..., Any], faults: Any, hills: Any, scheme: str
) -> None:
    page = new_page("/#/gallery", color_scheme=scheme)
    card(page, hills).hover()
    card(page, hills).get_by_role("checkbox").check()
    assert faults(page) == []
    card(page, hills).get_by_role("button", name="More for").click()
    assert faults(page) == []
    page.get_by_role("menuitem", name="Remix").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []


def test_the_gallery_fits_a_phone(new_page: Callable[..., Any], faults: Any, hills: Any) -> None:
    page = new_page("/#/gallery", size=PHONE)
    expect(card(page, hills)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert faults(page) == []
