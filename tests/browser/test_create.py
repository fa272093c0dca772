"""The page Create: what people do there, in a browser."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.browser.helpers import PICTURES, Studio

expect = pytest.importorskip("playwright.sync_api").expect

PHONE = (390, 844)


def wide_picture(studio: Studio) -> Path:
    """A picture wider than every bucket: red, green in the middle, blue."""
    path = studio.folder / "wide.png"
    picture = Image.new("RGB", (400, 100), "red")
    picture.paste("green", (100, 0, 300, 100))
    picture.paste("blue", (300, 0, 400, 100))
    picture.save(path)
    return path


def add_start(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a start picture").click()
    chooser.value.set_files(path)
    expect(start_slot(page).get_by_role("img")).to_be_visible()


def start_slot(page: Any) -> Any:
    return page.get_by_role("group", name="Start picture")


def prompt(page: Any) -> Any:
    return page.get_by_role("textbox", name="Prompt", exact=True)


def planned(page: Any, name: str) -> Any:
    """The figure of the plan under a name."""
    return page.locator(".create-figures > div", has_text=re.compile(f"^{name}")).locator("dd")


def paste_picture(page: Any, colour: str, name: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (96, 96), colour).save(data, "PNG")
    page.evaluate(
        """([content, name]) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, {type: "image/png"}));
          const target = document.activeElement ?? document.body;
          target.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }""",
        [base64.b64encode(data.getvalue()).decode(), name],
    )


def drop(page: Any, selector: str, path: Path, kind: str) -> None:
    page.evaluate(
        """([selector, content, name, type]) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, {type}));
          const options = {dataTransfer: data, bubbles: true, cancelable: true};
          const target = document.querySelector(selector);
          for (const event of ["dragenter", "dragover", "drop"]) {
            target.dispatchEvent(new DragEvent(event, options));
          }
        }""",
        [selector, base64.b64encode(path.read_bytes()).decode(), path.name, kind],
    )


def newest(studio: Studio) -> dict[str, Any]:
    found: dict[str, Any] = studio.api.get("/v1/videos", params={"limit": 1}).json()["data"][0]
    return found


def request_of(studio: Studio, video_id: str) -> dict[str, Any]:
    found: dict[str, Any] = studio.api.post(f"/v1/videos/{video_id}/reuse").json()["request"]
    return found


# --- Pictures ---------------------------------------------------------------------------------


def test_a_picture_shows_which_part_of_it_is_used(page: Any, studio: Studio) -> None:
    add_start(page, wide_picture(studio))
    caption = start_slot(page).get_by_text("px of 400 × 100")
    expect(caption).to_be_visible()
    width, height = map(int, re.findall(r"\d+", caption.inner_text())[:2])
    size = planned(page, "Size").inner_text()
    assert size == f"{width} × {height}"
    frame = page.locator(".create-crop").bounding_box()
    picture = start_slot(page).get_by_role("img").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(width / height, rel=0.03)
    assert frame["height"] == pytest.approx(picture["height"], abs=1.5)
    middle = picture["x"] + picture["width"] / 2
    assert frame["x"] + frame["width"] / 2 == pytest.approx(middle, abs=1.5)
    cut = 1 - frame["width"] / picture["width"]
    assert f"{round(cut * 100)} %" in caption.inner_text()


def test_pictures_swap_and_go(page: Any, studio: Studio) -> None:
    add_start(page, studio.picture("first.png"))
    page.get_by_role("button", name="Swap start and end picture").click()
    end = page.get_by_role("group", name="End picture")
    expect(end.get_by_role("img", name=re.compile("first.png"))).to_be_visible()
    expect(page.get_by_role("button", name="Add a start picture")).to_be_visible()
    end.get_by_role("button", name="Remove the end picture").click()
    expect(page.get_by_role("button", name="Add an end picture")).to_be_visible()


def test_a_picture_outlives_a_reload(page: Any, studio: Studio) -> None:
    add_start(page, studio.picture("kept.png"))
    page.reload()
    shown = start_slot(page).get_by_role("img", name=re.compile("kept.png"))
    expect(shown).to_be_visible()
    page.wait_for_function(
        "() => document.querySelector('.create-picture img').naturalWidth === 160"
    )


def test_a_pasted_picture_goes_to_the_start_or_to_the_place_in_focus(page: Any) -> None:
    expect(page.get_by_role("button", name="Add a start picture")).to_be_visible()
    paste_picture(page, "teal", "pasted.png")
    expect(start_slot(page).get_by_role("img", name=re.compile("pasted.png"))).to_be_visible()
    page.get_by_role("button", name="Add an end picture").focus()
    paste_picture(page, "red", "other.png")
    end = page.get_by_role("group", name="End picture")
    expect(end.get_by_role("img", name=re.compile("other.png"))).to_be_visible()


def test_a_dropped_file_of_another_kind_is_refused_in_words(page: Any, studio: Studio) -> None:
    expect(page.get_by_role("button", name="Add a start picture")).to_be_visible()
    path = studio.folder / "notes.txt"
    path.write_text("no picture")
    drop(page, ".create-slot", path, "text/plain")
    alert = page.get_by_role("alert").filter(has_text="notes.txt is a file of type text/plain")
    expect(alert).to_contain_text("a picture or a video is needed here")


def test_what_only_claims_to_be_a_picture_is_refused_beside_its_place(
    page: Any, studio: Studio
) -> None:
    path = studio.folder / "fake.png"
    path.write_bytes(b"this is no picture")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a start picture").click()
    chooser.value.set_files(path)
    expect(start_slot(page).get_by_role("alert")).to_contain_text("neither a picture nor a video")
    page.expected_errors.clear()  # the browser reports the refusal


# --- Settings that come back ------------------------------------------------------------------


def test_one_of_our_videos_gives_back_its_settings(page: Any, studio: Studio) -> None:
    made = studio.make(prompt="a blue square moves down", num_inference_steps=3, seed=77)
    path = studio.folder / "ours.mp4"
    path.write_bytes(studio.api.get(f"/v1/videos/{made['id']}/content").content)
    expect(page.get_by_role("button", name="Add a start picture")).to_be_visible()
    drop(page, "body", path, "video/mp4")
    expect(prompt(page)).to_have_value("a blue square moves down")
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("77")
    expect(page.get_by_role("spinbutton", name="Steps")).to_have_value("3")


def test_a_strange_video_can_be_extended(page: Any, studio: Studio) -> None:
    made = studio.make(duration_s=0.5)
    whole = studio.api.get(f"/v1/videos/{made['id']}/content").content
    path = studio.folder / "strange.mp4"
    assert b'"program"' in whole
    path.write_bytes(whole.replace(b'"program"', b'"another"'))  # the file's structure stays
    expect(page.get_by_role("button", name="Add a start picture")).to_be_visible()
    drop(page, "body", path, "video/mp4")
    dialog = page.get_by_role("dialog", name="No settings in this video")
    dialog.get_by_role("button", name="Extend it").click()
    expect(page.locator(".create-sources")).to_contain_text("Video to extend strange.mp4")
    expect(planned(page, "Frames")).not_to_have_text("120")
    page.expected_errors.clear()  # the browser reports that the file says nothing


# --- Plan and fields --------------------------------------------------------------------------


def test_the_plan_follows_what_is_edited(page: Any) -> None:
    duration = page.get_by_role("spinbutton", name="Duration")
    expect(planned(page, "Frames")).to_have_text("120")
    duration.fill("2")
    expect(planned(page, "Frames")).to_have_text("60")
    expect(planned(page, "Length")).to_have_text("2 s")
    page.get_by_role("button", name="Reset Duration").click()
    expect(duration).to_have_value("4")
    expect(planned(page, "Frames")).to_have_text("120")


def test_a_wrong_value_is_told_at_its_field_and_at_the_plan(page: Any) -> None:
    fps = page.get_by_role("spinbutton", name="Frame rate")
    expect(planned(page, "Frames")).to_have_text("120")
    fps.fill("900")
    expect(fps).to_have_attribute("aria-invalid", "true")
    expect(fps).to_have_accessible_description(re.compile("fps is 900"))
    page.locator(".create-plan").get_by_role("button", name="Show").click()
    expect(fps).to_be_focused()
    fps.fill("25")
    expect(fps).not_to_have_attribute("aria-invalid", "true")
    expect(planned(page, "Frames")).to_have_text("100")
    page.expected_errors.clear()  # the browser reports the refusal


def test_every_field_of_the_schema_is_on_the_page(page: Any, studio: Studio) -> None:
    expect(planned(page, "Frames")).to_have_text("120")
    schema = studio.api.get("/v1/schema").json()
    in_timeline = {"section_prompts", "section_images", "section_seeds"}
    without_styles = {"styles"}  # shown where the server has some
    wanted = {field["name"] for field in (*schema["fields"], *schema["options"])}
    expect(page.get_by_role("combobox", name="Model")).to_be_visible()
    found = page.locator("[data-field]").evaluate_all("all => all.map(one => one.dataset.field)")
    assert sorted(found) == sorted(wanted - in_timeline - without_styles)


def test_settings_can_be_searched_and_reset(page: Any) -> None:
    search = page.get_by_role("searchbox", name="Search settings")
    search.fill("distilled")
    field = page.get_by_role("spinbutton", name="Distilled guidance")
    expect(field).to_be_visible()
    field.fill("6")
    changed = page.locator("details[data-group=guidance]").get_by_text("1 changed")
    expect(changed).to_be_visible()
    search.fill("steps")
    page.get_by_role("button", name="Steps", exact=True).click()
    expect(page.get_by_role("spinbutton", name="Steps", exact=True)).to_be_focused()
    search.fill("")
    page.get_by_role("button", name="Reset all").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset", exact=True).click()
    expect(changed).to_be_hidden()


def test_the_negative_prompt_appears_when_it_acts(page: Any) -> None:
    negative = page.get_by_role("textbox", name="Negative prompt")
    expect(prompt(page)).to_be_visible()
    expect(negative).to_be_hidden()
    page.get_by_role("searchbox", name="Search settings").fill("true guidance")
    page.get_by_role("spinbutton", name="True guidance").fill("2")
    expect(negative).to_be_visible()


def test_the_prompt_is_enhanced_beside_the_original(page: Any) -> None:
    prompt(page).fill("she dances")
    page.get_by_role("button", name="Enhance").click()
    offered = page.get_by_role("textbox", name=re.compile("^Enhanced"))
    expect(offered).to_have_value(re.compile("she dances.+"))
    expect(page.get_by_role("region", name="Enhanced prompt")).to_contain_text("she dances")
    offered.fill("she dances on a table")
    page.get_by_role("button", name="Use this prompt").click()
    expect(prompt(page)).to_have_value("she dances on a table")


def are_kept(answer: Any) -> bool:
    """Whether an answer says that preferences are with the server."""
    return "/v1/preferences" in answer.url and answer.request.method == "PUT"


def test_presets_survive_a_reload_and_a_new_browser(
    new_page: Callable[..., Any], studio: Studio
) -> None:
    page = new_page()
    page.get_by_role("spinbutton", name="Duration").fill("1.5")
    prompt(page).fill("not in the preset")
    page.get_by_role("button", name="Save as a preset").click()
    page.get_by_role("textbox", name="Name").fill("short")
    with page.expect_response(are_kept):
        page.get_by_role("button", name="Save", exact=True).click()
    page.reload()
    page.get_by_role("button", name="Reset Duration").click()
    page.get_by_role("combobox", name="Preset").select_option("short")
    expect(page.get_by_role("spinbutton", name="Duration")).to_have_value("1.5")

    other = new_page()
    prompt(other).fill("stays")
    other.get_by_role("combobox", name="Preset").focus()
    other.get_by_role("combobox", name="Preset").select_option("short")
    expect(other.get_by_role("spinbutton", name="Duration")).to_have_value("1.5")
    expect(prompt(other)).to_have_value("stays")
    with other.expect_response(are_kept):
        other.get_by_role("button", name="Delete the preset").click()
        dialog = other.get_by_role("dialog")
        dialog.get_by_role("button", name="Delete the preset").click()
    assert "short" not in str(studio.api.get("/v1/preferences").json())


# --- Generate ---------------------------------------------------------------------------------


def test_a_video_is_made_by_keyboard_alone(page: Any, studio: Studio) -> None:
    expect(planned(page, "Frames")).to_have_text("120")
    page.keyboard.press("Tab")  # to the link that skips the navigation
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if prompt(page).evaluate("element => element === document.activeElement"):
            break
    page.keyboard.type("a red ball moves right")
    for _ in range(30):
        page.keyboard.press("Tab")
        label = page.evaluate("document.activeElement.labels?.[0]?.textContent ?? ''")
        if label.startswith("Duration"):
            break
    page.keyboard.press("Control+A")
    page.keyboard.type("0.5")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("region", name="Video", exact=True)).to_be_visible()
    video = newest(studio)
    assert video["prompt"] == "a red ball moves right"
    assert request_of(studio, video["id"])["duration_s"] == 0.5
    studio.wait(video["id"])


def test_a_request_that_says_nothing_is_refused_at_the_button(page: Any) -> None:
    expect(planned(page, "Frames")).to_have_text("120")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".create-actions").get_by_role("alert")).to_contain_text("prompt is empty")
    page.expected_errors.clear()  # the browser reports the refusal


def test_what_was_used_last_comes_back(page: Any, studio: Studio) -> None:
    prompt(page).fill("a green disc grows")
    page.get_by_role("spinbutton", name="Duration").fill("0.5")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("region", name="Video", exact=True)).to_be_visible()
    prompt(page).fill("something else")
    page.get_by_role("combobox", name="Preset").focus()
    page.get_by_role("combobox", name="Preset").select_option(label="Last used")
    expect(prompt(page)).to_have_value("a green disc grows")
    studio.wait(newest(studio)["id"])


def test_draft_and_final_differ_in_effort_alone(
    page: Any, studio: Studio, faults: Callable[[Any], list[str]]
) -> None:
    prompt(page).fill("the camera pans left")
    page.get_by_role("spinbutton", name="Duration").fill("0.5")
    page.get_by_role("button", name="Draft").click()
    page.get_by_role("button", name="Render final").click()
    link = page.get_by_role("link", name="Compare draft and final").first
    expect(link).to_be_visible()
    final_id, draft_id = (
        video["id"] for video in studio.api.get("/v1/videos", params={"limit": 2}).json()["data"]
    )
    expect(link).to_have_attribute("href", f"#/compare/{draft_id}/{final_id}")
    draft, final = (request_of(studio, each) for each in (draft_id, final_id))
    assert draft["seed"] == final["seed"]
    assert draft.pop("num_inference_steps") == 4
    assert draft.pop("speed") == "fast"
    assert "speed" not in final
    assert draft == final
    groups = {
        studio.api.get(f"/v1/videos/{each}").json()["options"]["group"]
        for each in (draft_id, final_id)
    }
    assert len(groups) == 1
    for each in (draft_id, final_id):
        studio.wait(each)
    assert faults(page) == []


# --- Looks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_serious_fault_for_people_with_disabilities(
    new_page: Callable[..., Any], faults: Callable[[Any], list[str]], studio: Studio, colours: str
) -> None:
    page = new_page(color_scheme=colours)
    add_start(page, studio.picture())
    prompt(page).fill("the camera pans left")
    expect(planned(page, "Frames")).to_have_text("120")
    page.get_by_role("button", name="Enhance").click()
    expect(page.get_by_role("region", name="Enhanced prompt")).to_be_visible()
    for group in ("wording", "sampling", "file", "loras", "subject"):
        page.locator(f"details[data-group={group}] > summary").click()
    page.wait_for_timeout(400)
    assert faults(page) == []


def test_it_fits_on_a_phone(
    new_page: Callable[..., Any], faults: Callable[[Any], list[str]], studio: Studio
) -> None:
    page = new_page(size=PHONE)
    add_start(page, PICTURES / "hills.jpg")
    expect(planned(page, "Frames")).to_have_text("120")
    for summary in page.locator("details > summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    buttons = page.locator("main button:visible")
    heights = [button.bounding_box()["height"] for button in buttons.all()]
    assert len(heights) > 8
    assert min(heights) > 43
    expect(page.get_by_role("button", name="Generate")).to_be_in_viewport()
    assert faults(page) == []


def test_it_speaks_german(new_page: Callable[..., Any]) -> None:
    page = new_page(locale="de-DE")
    expect(page.get_by_role("button", name="Startbild hinzufügen")).to_be_visible()
    page.get_by_role("searchbox", name="Einstellungen suchen").fill("rauschen")
    expect(page.get_by_role("spinbutton", name="Neue Versuche")).to_be_visible()
    expect(page.get_by_role("button", name="Erzeugen")).to_be_visible()


def test_it_is_there_at_once(new_page: Callable[..., Any]) -> None:
    painted = []
    for _ in range(3):  # the quickest, as other programs may hold one of them up
        page = new_page()
        expect(page.get_by_role("button", name="Generate")).to_be_visible()
        painted.append(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        )
    assert min(painted) < 2000


def test_a_lost_answer_makes_no_second_video(new_page: Callable[..., Any], studio: Studio) -> None:
    page = new_page()
    prompt(page).fill("asked for twice")
    page.get_by_role("spinbutton", name="Duration").fill("1")
    page.get_by_role("spinbutton", name="Steps").fill("2")
    lost = []

    def lose(route: Any) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch())  # the server has it, and the page never hears of it
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/videos", lose)
    generate = page.get_by_role("button", name="Generate", exact=True)
    generate.click()
    expect(page.get_by_text("The server does not answer").first).to_be_visible()
    generate.click()
    expect(page.locator(".create-job")).to_be_visible()
    found = studio.api.get("/v1/videos", params={"search": "asked for twice"}).json()["data"]
    assert len(found) == 1
    page.expected_errors.clear()
