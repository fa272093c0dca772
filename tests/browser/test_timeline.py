"""The strip of sections on the page Create: what it shows, and what editing it asks for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser.helpers import Studio

DRAFT = {
    "model": "tiny",
    "variant": "forward-only",
    "prompt": "the camera pans left",
    "duration_s": 3.6,
    "num_inference_steps": 4,
    "seed": 1,
}
NUM_SECTIONS = 4  # 33 frames in the first one, then 36 in each: 108 end in the fourth


@pytest.fixture
def editing(new_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open the page Create with a draft, as whoever comes back to it finds it."""

    def opened(request: dict[str, Any] | None = None, **options: Any) -> Any:
        page = new_page("/studio/icon.svg", **options)  # an address of the same origin
        draft = {"request": {**DRAFT, **(request or {})}, "options": {}, "files": {}}
        page.evaluate("draft => localStorage.setItem('framepack.draft', draft)", json.dumps(draft))
        page.goto("/#/create")
        page.locator("[role=option]").first.wait_for()
        return page

    return opened


def draft_of(page: Any) -> dict[str, Any]:
    text = page.evaluate("() => localStorage.getItem('framepack.draft')")
    found: dict[str, Any] = json.loads(text)["request"]
    return found


def prompts(studio: Studio, request: dict[str, Any]) -> list[str]:
    """What the server would have each section show, from the start of the video."""
    answer = studio.api.post("/v1/videos/plan", json=request)
    assert answer.status_code == 200, answer.text
    sections = sorted(answer.json()["plan"]["sections"], key=lambda each: each["index"])
    return [section["prompt"] for section in sections]


def section(page: Any, index: int) -> Any:
    return page.locator("[role=option]").nth(index)


def test_the_strip_shows_every_section_and_the_order_of_rendering(
    editing: Callable[..., Any],
) -> None:
    page = editing({"variant": "bi-directional"})
    page.get_by_text("rendered from the end to the start").wait_for()
    labels = [each.get_attribute("aria-label") for each in page.locator("[role=option]").all()]
    count = len(labels)
    assert labels[0].startswith("Section 0, 0:00 to ")
    assert "rendered 1st" in labels[-1]
    assert f"rendered {count}th" in labels[0]
    assert "prompt of the video: the camera pans left" in labels[0]


def test_a_click_gives_a_section_a_prompt_that_holds_from_there_on(
    editing: Callable[..., Any], studio: Studio
) -> None:
    page = editing()
    section(page, 1).click()
    page.get_by_label("Prompt for this section").fill("then it pans right")
    page.get_by_text("the camera pans left then it pans right").wait_for()
    assert draft_of(page)["section_prompts"] == [{"section": 1, "prompt": "then it pans right"}]
    own, later = section(page, 1), section(page, 3)
    assert "own prompt: then it pans right" in own.get_attribute("aria-label")
    assert "prompt from section 1: then it pans right" in later.get_attribute("aria-label")
    first, *others = prompts(studio, draft_of(page))
    assert first == "the camera pans left"
    assert others == ["the camera pans left then it pans right"] * (NUM_SECTIONS - 1)


def test_a_prompt_can_end_where_its_section_does(
    editing: Callable[..., Any], studio: Studio
) -> None:
    page = editing()
    section(page, 1).click()
    page.get_by_label("Prompt for this section").fill("a dog runs by")
    page.get_by_label("Holds").select_option("in this section only")
    editor = page.get_by_role("region", name="Section 1")
    editor.get_by_label("Section text").select_option("replaces the prompt")
    request = draft_of(page)
    assert request["section_mode"] == "replace"
    said = prompts(studio, request)
    assert said == ["the camera pans left", "a dog runs by", *["the camera pans left"] * 2]


def test_the_keyboard_is_enough(editing: Callable[..., Any]) -> None:
    page = editing()
    section(page, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("it stops")
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement.dataset.index") == "2"
    assert draft_of(page)["section_prompts"] == [{"section": 2, "prompt": "it stops"}]
    page.keyboard.press("Delete")
    assert "section_prompts" not in draft_of(page)
    page.get_by_role("button", name="Undo").click()
    assert draft_of(page)["section_prompts"] == [{"section": 2, "prompt": "it stops"}]


def test_only_one_section_is_a_stop_of_the_tab_key(editing: Callable[..., Any]) -> None:
    page = editing()
    section(page, 0).focus()
    page.keyboard.press("End")
    stops = [each.get_attribute("tabindex") for each in page.locator("[role=option]").all()]
    assert stops == [*["-1"] * (NUM_SECTIONS - 1), "0"]


def test_text_of_other_programs_becomes_sections_when_one_is_changed(
    editing: Callable[..., Any], studio: Studio
) -> None:
    page = editing({"section_prompts": "[1.1s: it stops] [2.4s: it goes on]"})
    cell = page.locator("[role=option][aria-label*='own prompt: it stops']")
    cell.wait_for()
    assert cell.get_attribute("data-index") == "1"
    section(page, 3).click()
    page.get_by_label("Prompt for this section").fill("it ends")
    said = prompts(studio, draft_of(page))
    texts = ["", " it stops", " it goes on", " it ends"]
    assert said == [f"the camera pans left{text}" for text in texts]


def test_a_picture_is_sent_and_shown_from_its_section_on(
    editing: Callable[..., Any], studio: Studio
) -> None:
    page = editing()
    section(page, 1).click()
    group = page.get_by_role("group", name="Picture for this section")
    with page.expect_file_chooser() as choosing:
        group.get_by_role("button", name="Choose").click()
    choosing.value.set_files(studio.picture("garden.png"))
    group.get_by_role("button", name="Remove picture").wait_for()
    (cue,) = draft_of(page)["section_images"]
    assert cue["section"] == 1
    assert cue["image"].startswith("upload_")
    assert "own picture" in section(page, 1).get_attribute("aria-label")
    assert "picture from section 1" in section(page, 2).get_attribute("aria-label")
    page.reload()
    picture = section(page, 1).locator("img")
    picture.wait_for()
    page.wait_for_function(
        "() => document.querySelector('[role=option] img')?.naturalWidth > 0", timeout=5000
    )


def test_a_file_that_is_no_picture_is_refused_in_words(
    editing: Callable[..., Any], tmp_path: Path
) -> None:
    page = editing()
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    section(page, 1).click()
    group = page.get_by_role("group", name="Picture for this section")
    with page.expect_file_chooser() as choosing:
        group.get_by_role("button", name="Choose").click()
    choosing.value.set_files(text)
    page.get_by_role("alert").filter(has_text="notes.txt is a file of type text/plain").wait_for()
    assert "section_images" not in draft_of(page)


def test_a_seed_is_for_its_section_alone(editing: Callable[..., Any], studio: Studio) -> None:
    page = editing()
    section(page, 2).click()
    page.get_by_label("Seed of this section").fill("77")
    answer = studio.api.post("/v1/videos/plan", json=draft_of(page)).json()
    seeds = {each["index"]: each["seed"] for each in answer["plan"]["sections"]}
    assert seeds == {0: None, 1: None, 2: 77, 3: None}
    assert "seed 77" in section(page, 2).get_attribute("aria-label")
    assert "seed" not in section(page, 3).get_attribute("aria-label")


def test_entries_outside_of_a_shortened_video_can_be_taken_away(
    editing: Callable[..., Any],
) -> None:
    page = editing()
    page.evaluate(
        """async () => {
          const main = document.querySelector("script[type=module]").src;
          const { draft } = await import(main.replace("main.js", "lib/draft.js"));
          draft.set("section_prompts", [{ section: 9, prompt: "never" }]);
        }"""
    )
    note = page.get_by_text("1 entry names a section or a time that this video does not have.")
    note.wait_for()
    page.get_by_role("button", name="Remove", exact=True).click()
    note.wait_for(state="hidden")
    assert "section_prompts" not in draft_of(page)
    page.expected_errors.clear()  # the server refused the plan with that entry


CUES: list[dict[str, Any]] = [
    {"section_prompts": "one\ntwo"},
    {"section_prompts": "one\ntwo\nthree"},
    {"section_prompts": "1: one\n-1: last"},
    {"section_prompts": "0:a cat;;;2-3:it runs"},
    {"section_prompts": "even: it runs\nodd: it sits"},
    {"section_prompts": "even: it runs\n2: it rests"},
    {"section_prompts": "always [0s-1.3s: it sleeps] [2.2s: it runs]"},
    {"section_prompts": {"0-1": "both", "1": {"prompt": "own", "seed": 5}}},
    {"section_prompts": [{"section": 1, "until_section": -1, "prompt": "between"}]},
    {"section_seeds": "even: 7"},
    {"section_seeds": [{"section": 0, "until_section": 3, "seed": 20}, {"section": 2, "seed": 4}]},
    {"section_seeds": "5"},
]


@pytest.mark.parametrize("said", CUES, ids=[json.dumps(each) for each in CUES])
def test_the_strip_and_the_server_agree_on_what_holds(
    page: Any, studio: Studio, said: dict[str, Any]
) -> None:
    request = {**DRAFT, **said}
    answer = studio.api.post("/v1/videos/plan", json=request).json()
    cells = page.evaluate(
        """async ({ plan, request }) => {
          const main = document.querySelector("script[type=module]").src;
          const { makeModel } = await import(main.replace("main.js", "timeline/model.js"));
          const { cells } = makeModel(plan, request);
          return cells.map((cell) => [cell.text, cell.seed?.value ?? null]);
        }""",
        {"plan": answer["plan"], "request": request},
    )
    sections = sorted(answer["plan"]["sections"], key=lambda each: each["index"])
    assert cells == [[each["prompt"], each["seed"]] for each in sections]


def test_sixty_sections_scroll_in_their_own_place_on_a_phone(
    editing: Callable[..., Any], faults: Callable[[Any], list[str]]
) -> None:
    page = editing({"duration_s": 72}, size=(360, 780))
    page.wait_for_function("() => document.querySelectorAll('[role=option]').length >= 60")
    section(page, 0).focus()
    page.keyboard.press("End")
    last = page.locator("[role=option]").last
    assert last.evaluate("cell => cell === document.activeElement")
    box = last.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 361
    page.keyboard.press("Enter")
    page.get_by_label("Prompt for this section").wait_for()
    widths = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    assert faults(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_open_editor_has_no_grave_fault(
    editing: Callable[..., Any], faults: Callable[[Any], list[str]], theme: str
) -> None:
    page = editing({"section_prompts": "1: it stops", "section_seeds": "1: 7"}, color_scheme=theme)
    section(page, 2).click()
    page.get_by_text("(from section 1)").wait_for()
    assert faults(page) == []
