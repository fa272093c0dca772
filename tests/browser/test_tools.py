"""The tools page: forms, tasks that run on the server, and what they leave."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.helpers import Studio, running_studio

PHONE = (390, 844)
FINISHED_MS = 90_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A server with two videos, the second with its raw frames."""
    with running_studio(tmp_path_factory.mktemp("tools")) as found:
        found.make(prompt="the first video", duration_s=0.5)
        found.make(prompt="the second video", duration_s=0.5, raw=True)
        yield found


@pytest.fixture
def tools(new_page: Any, server: Studio) -> Any:
    return lambda tool: new_page(f"{server.url}/#/tools/{tool}")


@pytest.fixture(scope="module")
def video_file(server: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished video as a file of the user's."""
    path = tmp_path_factory.mktemp("files") / "mine.mp4"
    first = server.api.get("/v1/videos?search=first").json()["data"][0]
    path.write_bytes(server.api.get(f"/v1/videos/{first['id']}/content").content)
    return path


def from_gallery(page: Any, *prompts: str) -> None:
    page.get_by_role("button", name="From the gallery").click()
    dialog = page.get_by_role("dialog")
    for prompt in prompts:
        dialog.get_by_role("button", name=prompt).click()
    if len(prompts) > 1:
        dialog.get_by_role("button", name=f"Add {len(prompts)} videos").click()


def start(page: Any) -> None:
    page.get_by_role("button", name="Start", exact=True).click()


def newest(page: Any, title: str) -> Any:
    return page.get_by_role("article", name=title).first


def finished(page: Any, title: str) -> Any:
    task = newest(page, title)
    expect(task.get_by_text("finished", exact=True)).to_be_visible(timeout=FINISHED_MS)
    return task


def test_every_tool_has_a_card_and_a_form_of_its_fields(tools: Any, server: Studio) -> None:
    page = tools("clip")
    for tool in server.api.get("/v1/tools").json()["data"]:
        page.get_by_role("link", name=tool["title"]).click()
        form = page.get_by_role("form", name=tool["title"])
        expect(form).to_be_visible()
        for summary in form.locator("summary").all():
            summary.click()
        for field in tool["fields"]:
            by = form.get_by_role("group", name=field["title"])
            by = by if field["kind"] == "file" else form.get_by_label(field["title"])
            expect(by.first).to_be_attached()


def test_two_videos_of_the_gallery_are_joined_played_and_used_further(
    tools: Any, server: Studio
) -> None:
    page = tools("clip")
    from_gallery(page, "the first video", "the second video")
    sources = page.get_by_role("group", name="Videos").get_by_role("listitem")
    expect(sources.nth(0)).to_contain_text("the first video")
    page.get_by_role("button", name="Move the second video up").click()
    expect(sources.nth(0)).to_contain_text("the second video")
    page.get_by_label("Speed", exact=True).fill("2")
    start(page)
    task = finished(page, "Cut and join")
    expect(task).to_contain_text("the second video + the first video")
    seconds = task.locator("video").evaluate(
        "video => video.readyState ? video.duration : "
        "new Promise((done) => video.onloadedmetadata = () => done(video.duration))"
    )
    made = server.api.get("/v1/tasks").json()["data"][0]
    assert seconds == pytest.approx(made["output"]["report"]["duration_s"], abs=0.1)
    with page.expect_download() as download:
        task.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).stat().st_size == made["output"]["report"]["bytes"]

    task.get_by_role("button", name="Drift report").click()
    expect(page.get_by_role("form", name="Drift report")).to_be_visible()
    expect(page.get_by_role("group", name="Video").get_by_role("listitem")).to_contain_text(
        "Cut and join"
    )
    start(page)
    report = finished(page, "Drift report")
    score = server.api.get("/v1/tasks").json()["data"][0]["output"]["report"]["drift"]["score"]
    expect(report.locator("strong")).to_have_text(f"{score:.2f}".rstrip("0").rstrip("."))
    picture = report.get_by_role("button", name="Show the plot large").locator("img")
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    report.get_by_text("Each section in numbers").click()
    assert report.get_by_role("row").count() > 1
    report.get_by_text("How to read this").click()
    expect(report.get_by_text("2.3 is about the least that people notice")).to_be_visible()
    picture.click()
    expect(page.get_by_role("dialog", name="Drift along the video")).to_be_visible()


def test_a_file_is_sent_and_enlarged_in_time(tools: Any, video_file: Path) -> None:
    page = tools("interpolate")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a file").first.click()
    chooser.value.set_files(video_file)
    expect(page.get_by_role("group", name="Video").first).to_contain_text("mine.mp4")
    page.get_by_label("Interpolation method").select_option("blend")
    start(page)
    task = finished(page, "Interpolate")
    expect(task).to_contain_text("mine.mp4")
    expect(task).to_contain_text("60 frames/s")


def test_raw_frames_are_encoded_from_the_video_that_has_them(tools: Any) -> None:
    page = tools("encode")
    page.get_by_role("button", name="From the gallery").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="the second video")).to_be_visible()
    expect(dialog.get_by_role("button", name="the first video")).to_have_count(0)
    dialog.get_by_role("button", name="the second video").click()
    page.get_by_text("Video file", exact=True).click()
    page.get_by_label("Container").select_option("gif")
    start(page)
    task = finished(page, "Encode raw frames")
    expect(task.locator("img.tools-video")).to_be_visible()


def test_what_is_wrong_is_told_beside_the_field_and_nothing_begins(
    tools: Any, server: Studio, tmp_path: Path
) -> None:
    page = tools("clip")
    count = len(server.api.get("/v1/tasks?limit=100").json()["data"])
    start(page)
    expect(page.get_by_text("Videos: choose a file first.")).to_be_visible()

    text = tmp_path / "notes.txt"
    text.write_text("no video")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload files").click()
    chooser.value.set_files(text)
    expect(page.get_by_text("notes.txt is a file of type text/plain")).to_be_visible()

    from_gallery(page, "the first video", "the second video")
    page.get_by_label("Crop").fill("all of it")
    start(page)
    crop = page.get_by_label("Crop")
    expect(crop).to_be_focused()
    assert crop.get_attribute("aria-invalid") == "true"
    expect(page.get_by_text("crop is 'all of it'").first).to_be_visible()
    assert len(server.api.get("/v1/tasks?limit=100").json()["data"]) == count
    page.expected_errors.clear()  # the server's refusal


def test_a_task_is_watched_cancelled_and_forgotten(tools: Any, server: Studio) -> None:
    page = tools("clip")
    from_gallery(page, "the first video", "the second video")
    page.get_by_label("Repeats").fill("200")
    page.get_by_label("Size").fill("1280x720")
    start(page)
    task = newest(page, "Cut and join")
    bar = task.get_by_role("progressbar")
    expect(bar).to_be_visible()
    expect(task.get_by_text("at work")).to_be_visible()
    page.reload()  # it goes on without the page
    expect(task.get_by_text(re.compile(r"frame \d+ of \d+"))).to_be_visible()
    task.get_by_role("button", name="Cancel").click()
    expect(task.get_by_text("It was cancelled and left nothing.")).to_be_visible()
    before = page.get_by_role("article").count()
    task.get_by_role("button", name="Delete this task").click()
    expect(page.get_by_role("article")).to_have_count(before - 1)


def test_what_was_entered_is_there_after_a_reload(tools: Any) -> None:
    page = tools("clip")
    from_gallery(page, "the first video", "the second video")
    page.get_by_label("Cross-fade").fill("0.25")
    page.reload()
    expect(page.get_by_label("Cross-fade")).to_have_value("0.25")
    expect(page.get_by_role("group", name="Videos").get_by_role("listitem")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tool", ["clip", "drift"])
def test_no_fault_of_accessibility(
    new_page: Any, server: Studio, faults: Any, scheme: str, tool: str
) -> None:
    page = new_page(f"{server.url}/#/tools/{tool}", color_scheme=scheme)
    page.get_by_role("button", name="From the gallery").click()
    expect(page.get_by_role("dialog").get_by_role("button", name="the first video")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("Escape")
    for summary in page.locator("summary").all():
        summary.click()
    assert faults(page) == []


def test_it_fits_a_phone(new_page: Any, server: Studio) -> None:
    for tool in ("clip", "drift"):
        page = new_page(f"{server.url}/#/tools/{tool}", size=PHONE)
        expect(page.get_by_role("form")).to_be_visible()
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
