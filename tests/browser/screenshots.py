"""Take the pictures of the studio that the documentation shows.

    python -m tests.browser.screenshots docs/images/studio

They are made as a person would make what they show: a picture is dropped, sections are written,
the video is rendered by the embedded model, and so on. Run it after changing the page, look at
the pictures, and commit them.
"""

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.helpers import PICTURES, Studio, find_browser, running_studio

DESKTOP, PHONE = (1280, 800), (390, 844)
PROMPT = "the camera pans left"
SECTIONS = {1: "the camera zooms in", 2: "the camera pans right"}
LENGTH_S = 3.6
PAGES = {
    "create": "/#/create",
    "batch": "/#/batch",
    "queue": "/#/queue",
    "gallery": "/#/gallery",
    "tools": "/#/tools",
    "models": "/#/models",
    "settings": "/#/settings",
    "system": "/#/system",
}


def main() -> None:
    """Take all of them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as place,
        running_studio(Path(place)) as studio,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        camera = Camera(browser, studio, folder)
        first = camera.walk()
        camera.fill_the_gallery()
        camera.compare(first)
        camera.every_page(first)
        browser.close()


class Camera:
    """Takes pictures of a studio.

    Args:
        browser: the browser.
        studio: the server.
        folder: where the pictures go.
    """

    def __init__(self, browser: Browser, studio: Studio, folder: Path) -> None:
        self._browser, self._studio, self._folder = browser, studio, folder

    def walk(self) -> str:
        """From an empty page to a video of three sections; returns its id."""
        with self._page(DESKTOP, "dark") as page:
            page.goto("/#/create")
            expect(page.locator("[role=option]")).to_have_count(4)
            self._take(page, "walk-1-empty")
            with page.expect_file_chooser() as chooser:
                page.get_by_role("button", name="Add a start picture").click()
            chooser.value.set_files(PICTURES / "hills.jpg")
            page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)
            page.get_by_role("spinbutton", name="Duration").fill(str(LENGTH_S))
            page.get_by_role("spinbutton", name="Duration").press("Tab")
            expect(page.locator("[role=option]")).to_have_count(3)
            expect(
                page.get_by_role("group", name="Start picture").get_by_role("img")
            ).to_be_visible()
            page.wait_for_timeout(800)
            self._take(page, "walk-2-picture")
            for index, words in SECTIONS.items():
                page.locator("[role=option]").nth(index).click()
                page.get_by_label("Prompt for this section").fill(words)
                editor = page.locator(".timeline-editor")
                editor.get_by_label("Section text").select_option("replaces the prompt")
                page.wait_for_timeout(600)
            page.locator(".create-strip").scroll_into_view_if_needed()
            self._take(page, "walk-3-sections")
            page.get_by_role("button", name="Generate", exact=True).click()
            video = self._newest()
            self._until_section(video, 2)
            page.locator(".create-jobs").scroll_into_view_if_needed()
            page.wait_for_timeout(700)
            self._take(page, "walk-4-rendering")
            self._studio.wait(video)
            page.goto(f"/#/video/{video}")
            page.locator("video").first.wait_for()
            page.wait_for_timeout(2500)
            self._take(page, "walk-5-video")
        return video

    def fill_the_gallery(self) -> None:
        """Videos for the gallery, one that waits and one that renders."""
        quick: dict[str, Any] = {"model": "tiny", "duration_s": 2, "num_inference_steps": 8}
        for number, (name, words) in enumerate(
            [
                ("day.jpg", "the camera zooms in"),
                ("hills.jpg", "the camera pans up"),
                ("night.jpg", "the camera pans right"),
                ("", "a red ball moves right"),
                ("", "a green star moves up"),
            ]
        ):
            more = {"image": self._upload(name)} if name else {}
            self._studio.make(prompt=words, seed=number + 1, **{**quick, **more})

    def compare(self, first: str) -> None:
        """A take of the first video, beside it."""
        answer = self._studio.api.post(
            f"/v1/videos/{first}/redo", json={"section": 2, "prompt": "the camera pans up"}
        )
        take = self._studio.wait(answer.json()["id"])["id"]
        for size, name in ((DESKTOP, "compare"), (PHONE, "compare-phone")):
            with self._page(size, "light") as page:
                page.goto(f"/#/compare/{first}/{take}")
                page.locator("video").nth(1).wait_for()
                page.wait_for_timeout(2000)
                self._take(page, name)

    def every_page(self, first: str) -> None:
        """Each page at both widths, while a video renders and two wait."""
        image = self._upload("hills.jpg")
        for number in range(3):
            self._studio.queue(model="tiny", prompt=PROMPT, image=image, duration_s=60, seed=number)
        for size, suffix in ((DESKTOP, ""), (PHONE, "-phone")):
            for name, path in {**PAGES, "video": f"/#/video/{first}"}.items():
                with self._page(size, "light") as page:
                    page.goto(path)
                    page.locator("main h1").first.wait_for(state="attached")
                    page.wait_for_timeout(9000 if name == "system" else 2500)
                    self._take(page, name + suffix)

    # --- Inside --------------------------------------------------------------------------------

    @contextmanager
    def _page(self, size: tuple[int, int], scheme: str) -> Iterator[Page]:
        context = self._browser.new_context(
            base_url=self._studio.url,
            viewport={"width": size[0], "height": size[1]},
            device_scale_factor=1 if size == DESKTOP else 2,
            color_scheme=scheme,  # type: ignore[arg-type]
            locale="en-US",
        )
        context.set_default_timeout(60_000)
        page = context.new_page()
        yield page
        context.close()

    def _take(self, page: Page, name: str) -> None:
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.convert("RGB").save(self._folder / f"{name}.webp", quality=82, method=6)

    def _upload(self, name: str) -> str:
        with (PICTURES / name).open("rb") as file:
            answer = self._studio.api.post("/v1/uploads", files={"file": (name, file)})
        return str(answer.json()["id"])

    def _newest(self) -> str:
        for _ in range(100):
            time.sleep(0.2)
            data = self._studio.api.get("/v1/videos", params={"limit": 1}).json()["data"]
            if data:
                return str(data[0]["id"])
        raise TimeoutError("nothing was queued")

    def _until_section(self, video: str, section: int) -> None:
        for _ in range(600):
            time.sleep(0.2)
            answer = self._studio.api.get(f"/v1/videos/{video}").json()
            detail = answer["progress_detail"]
            if answer["state"] == "completed" or (
                detail["section"] >= section and detail["step"] >= 3
            ):
                return
        raise TimeoutError(f"{video} does not go on: {answer}")


if __name__ == "__main__":
    main()
