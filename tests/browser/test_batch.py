"""The page Batch: many videos at once, and the grid that they fill."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.browser.helpers import PICTURES, Studio

expect = pytest.importorskip("playwright.sync_api").expect

PHONE = (390, 844)
BASE = {"model": "tiny", "duration_s": 1, "num_inference_steps": 2, "prompt": "a red ball rolls"}


@pytest.fixture
def drafted(new_page: Callable[..., Any]) -> Callable[..., Any]:
    """Opens a page with settings in Create."""

    def opened(path: str, base: dict[str, Any] = BASE, **options: Any) -> Any:
        page = new_page("/#/system", **options)
        draft = json.dumps({"request": base, "options": {}, "files": {}})
        page.evaluate("draft => localStorage.setItem('framepack.draft', draft)", draft)
        page.goto(f"/{path}")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        return page

    return opened


def name_it(page: Any, name: str) -> None:
    page.get_by_label("Name").fill(name)


def group(studio: Studio, name: str) -> list[dict[str, Any]]:
    """Videos of a group, the first one first."""
    answer = studio.api.get("/v1/videos", params={"group": name, "order": "asc", "limit": 100})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def axis(page: Any, name: str) -> Any:
    return page.get_by_role("group", name=name)


def test_two_pictures_and_two_prompts_make_four_videos(
    drafted: Callable[..., Any], studio: Studio
) -> None:
    page = drafted("#/batch", {**BASE, "seed": 5})
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures").click()
    chooser.value.set_files([PICTURES / "hills.jpg", PICTURES / "night.jpg"])
    expect(page.get_by_text("2 files")).to_be_visible()
    page.get_by_label("Prompts").fill("pan to the left\n\npan to the right\n")
    expect(page.get_by_text("2 pictures × 2 prompts")).to_be_visible()
    name_it(page, "four of them")
    page.get_by_role("button", name="Queue 4 videos").click()
    page.wait_for_url("**/#/batch/grid/four%20of%20them")
    table = page.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(["pan to the left", "pan to the right"])
    expect(table.get_by_role("rowheader")).to_have_text(["hills.jpg", "night.jpg"])
    made = group(studio, "four of them")
    assert [video["label"] for video in made] == [
        f"Picture: {picture} · Prompt: {prompt}"
        for picture in ("hills.jpg", "night.jpg")
        for prompt in ("pan to the left", "pan to the right")
    ]
    assert {video["seed"] for video in made} == {5}
    for video in made:
        studio.wait(video["id"])
    expect(page.get_by_text("4 of 4 finished")).to_be_visible()


def test_a_grid_of_steps_and_seeds_fills_and_plays_in_step(
    drafted: Callable[..., Any], studio: Studio
) -> None:
    page = drafted("#/batch/xyz")
    axis(page, "X: columns").get_by_label("Values").fill("7, 8")
    axis(page, "Y: rows").get_by_label("Values").fill("1-3 step 2")
    expect(page.get_by_text("2 columns × 2 rows")).to_be_visible()
    name_it(page, "steps and seeds")
    page.get_by_role("button", name="Queue 4 videos").click()
    page.wait_for_url("**/#/batch/grid/steps%20and%20seeds")
    expect(page.get_by_role("columnheader")).to_have_text(["7", "8"])
    expect(page.get_by_role("rowheader")).to_have_text(["1", "3"])
    made = group(studio, "steps and seeds")
    facts = [(video["request"]["num_inference_steps"], video["seed"]) for video in made]
    assert facts == [(1, 7), (1, 8), (3, 7), (3, 8)]
    for video in made:
        studio.wait(video["id"])
    expect(page.get_by_text("4 of 4 finished")).to_be_visible()
    page.get_by_role("button", name="Play all in step").click()
    movies = page.locator(".batch-movie")
    expect(movies).to_have_count(4)
    expect(page.get_by_role("button", name="Pause all")).to_be_visible()
    page.wait_for_timeout(400)
    page.get_by_role("button", name="Pause all").click()
    times = [movies.nth(index).evaluate("movie => movie.currentTime") for index in range(4)]
    assert max(times) > 0
    assert max(times) - min(times) < 0.25
    page.get_by_role("link", name="Steps: 3 · Seed: 8").click()
    page.wait_for_url(f"**/#/video/{made[3]['id']}")


def test_the_third_axis_has_tabs_and_replaces_words(
    drafted: Callable[..., Any], studio: Studio
) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    page = drafted("#/batch/xyz")
    axis(page, "X: columns").get_by_label("Values").fill("1, 2")
    axis(page, "Y: rows").get_by_label("Setting").select_option("Solver")
    for name in ("unipc", "euler"):
        axis(page, "Y: rows").get_by_role("checkbox", name=name).check()
    axis(page, "Z: tabs").get_by_label("Setting").select_option("Replace a word of the prompt")
    words = axis(page, "Z: tabs").get_by_role("textbox")
    words.fill("blue => green")
    expect(axis(page, "Z: tabs").get_by_role("alert")).to_contain_text("in no prompt of Create")
    expect(page.get_by_role("button", name="Queue")).to_be_disabled()
    words.fill("red => red | green")
    name_it(page, "three axes")
    page.get_by_role("button", name="Queue 8 videos").click()
    page.get_by_role("tab", name="“red”: green").click()
    expect(page.get_by_role("tab", name="“red”: green")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="“red”: red")).to_have_attribute("aria-selected", "true")
    made = group(studio, "three axes")
    assert {video["prompt"] for video in made} == {"a red ball rolls", "a green ball rolls"}
    # Nothing but the axes differs.
    assert {video["request"]["solver"] for video in made} == {"unipc", "euler"}
    page.get_by_role("button", name="More for this group").click()
    page.get_by_role("menuitem", name="Cancel those that wait").click()
    expect(page.get_by_text("8 videos are cancelled.")).to_be_visible()
    studio.api.post("/v1/queue/resume").raise_for_status()


def test_without_a_seed_all_cells_have_the_same(
    drafted: Callable[..., Any], studio: Studio
) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    page = drafted("#/batch/xyz")
    axis(page, "X: columns").get_by_label("Setting").select_option("Shift")
    axis(page, "X: columns").get_by_label("Values").fill("1, 3, 5")
    expect(page.get_by_text("All use seed")).to_be_visible()
    name_it(page, "one seed")
    page.get_by_role("button", name="Queue 3 videos").click()
    page.wait_for_url("**/#/batch/grid/one%20seed")
    made = group(studio, "one seed")
    assert len({video["seed"] for video in made}) == 1
    for video in made:
        studio.api.post(f"/v1/videos/{video['id']}/cancel")
    studio.api.post("/v1/queue/resume").raise_for_status()


def test_values_that_make_no_sense_are_told_before_anything_is_queued(
    drafted: Callable[..., Any],
) -> None:
    page = drafted("#/batch/xyz")
    steps = axis(page, "Y: rows")
    button = page.get_by_role("button", name="Queue")
    for text, message in (
        ("4, many", "“many” is no number"),
        ("2.5", "not a whole number"),
        ("0-3", "at least 1"),
        ("500", "at most 200"),
    ):
        steps.get_by_label("Values").fill(text)
        expect(steps.get_by_role("alert")).to_contain_text(message)
        expect(button).to_be_disabled()
    axis(page, "X: columns").get_by_label("Values").fill("1-150")
    steps.get_by_label("Values").fill("1-9")
    expect(page.get_by_text("are too many at once")).to_be_visible()
    steps.get_by_label("Values").fill("2")
    expect(page.get_by_text("150 videos are many")).to_be_visible()


def test_what_the_server_refuses_is_told_with_its_label_and_the_rest_goes_on(
    drafted: Callable[..., Any], studio: Studio
) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    page = drafted("#/batch/xyz")
    axis(page, "X: columns").get_by_label("Setting").select_option("Width")
    axis(page, "X: columns").get_by_label("Values").fill("96, 100")
    axis(page, "Y: rows").get_by_label("Setting").select_option("Height")
    axis(page, "Y: rows").get_by_label("Values").fill("128")
    name_it(page, "odd widths")
    page.get_by_role("button", name="Queue 2 videos").click()
    expect(page.get_by_text("1 could not be queued")).to_be_visible()
    expect(page.get_by_text("Height: 128 · Width: 100")).to_be_visible()
    page.get_by_role("button", name="Queue 2 videos").click()  # makes the first one no second time
    page.wait_for_timeout(1500)
    made = group(studio, "odd widths")
    assert [video["label"] for video in made] == ["Height: 128 · Width: 96"]
    page.expected_errors.clear()  # the refusals, which the browser logs
    studio.api.post(f"/v1/videos/{made[0]['id']}/cancel")
    studio.api.post("/v1/queue/resume").raise_for_status()


def test_a_lost_connection_and_a_double_click_make_nothing_twice(
    drafted: Callable[..., Any], studio: Studio
) -> None:
    studio.api.post("/v1/queue/pause").raise_for_status()
    page = drafted("#/batch")
    page.get_by_label("Seeds", exact=True).fill("1-4")
    name_it(page, "once each")
    answers = []

    def lose_one(route: Any) -> None:
        answers.append(route.fetch())
        if len(answers) == 2:
            route.abort()  # it arrived, but the answer got lost
        else:
            route.fulfill(response=answers[-1])

    page.route("**/v1/videos", lose_one)
    page.get_by_role("button", name="Queue 4 videos").dblclick()
    page.wait_for_url("**/#/batch/grid/once%20each", timeout=30_000)
    made = group(studio, "once each")
    assert [video["seed"] for video in made] == [1, 2, 3, 4]
    page.unroute("**/v1/videos")
    page.expected_errors.clear()
    for video in made:
        studio.api.post(f"/v1/videos/{video['id']}/cancel")
    studio.api.post("/v1/queue/resume").raise_for_status()


def test_what_was_entered_outlives_a_reload(drafted: Callable[..., Any]) -> None:
    page = drafted("#/batch")
    page.get_by_label("Prompts").fill("one\ntwo")
    page.get_by_role("button", name="Add random ones").click()
    seeds = page.get_by_label("Seeds", exact=True).input_value()
    assert len(seeds.split(",")) == 3
    page.reload()
    expect(page.get_by_label("Prompts")).to_have_value("one\ntwo")
    expect(page.get_by_label("Seeds", exact=True)).to_have_value(seeds)
    expect(page.get_by_text("2 prompts × 3 seeds")).to_be_visible()


def test_a_group_is_one_stack_of_the_gallery(drafted: Callable[..., Any], studio: Studio) -> None:
    for seed in (1, 2):
        studio.make(**{**BASE, "seed": seed}, group="a small stack", label=f"Seed: {seed}")
    page = drafted("#/gallery")
    page.get_by_role("link", name="Open the group a small stack").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("a small stack")
    expect(page.get_by_text("2 of 2 finished")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="More for this group").click()
        page.get_by_role("menuitem", name="Save as a picture").click()
    assert saved.value.suggested_filename == "a small stack.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["#/batch", "#/batch/xyz", "#/batch/grid/axe"])
def test_batch_has_no_accessibility_faults(
    drafted: Callable[..., Any], studio: Studio, faults: Any, path: str, scheme: str
) -> None:
    if path.endswith("axe") and not group(studio, "axe"):
        for seed in (1, 2):
            studio.make(**{**BASE, "seed": seed}, group="axe", label=f"Steps: 2 · Seed: {seed}")
    page = drafted(path, color_scheme=scheme)
    page.wait_for_timeout(600)
    assert faults(page) == []


@pytest.mark.parametrize("path", ["#/batch", "#/batch/xyz"])
def test_batch_fits_a_phone(drafted: Callable[..., Any], faults: Any, path: str) -> None:
    page = drafted(path, size=PHONE)
    expect(page.get_by_role("button", name="Queue")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert faults(page) == []
