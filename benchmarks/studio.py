"""How soon the studio's page is there, and how quickly it answers while a video renders.

    python benchmarks/studio.py FOLDER [--loads 9] [--rounds 12] [--report FILE.json]

A real server and a real Chromium. Loads are of new users with nothing cached. Interactions are
real clicks and keys; each is timed by the browser itself, from the event to the next paint (its
Event Timing, in steps of 8 ms; what the browser leaves out took less than 16 ms and counts as 16).
They are made in turn while the server is idle and while it renders with one thread, which leaves
the other core to server and browser together.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.helpers import Studio, find_browser, running_studio  # noqa: E402

_PAGES = ("queue", "gallery", "batch", "tools", "create")
_LEFT_OUT_MS = 16.0
_TIMING = """() => {
  window.timings = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.timings.push([entry.name, entry.duration]);
  }).observe({ type: "event", durationThreshold: 16, buffered: true });
}"""


@dataclass
class Report:
    """What was measured.

    Attributes:
        commit: of this checkout.
        machine: processor cores and system.
        first_paint_ms: first contentful paint of each load.
        form_ready_ms: until the button that generates can be pressed.
        num_requests: of one load.
        kilobytes: of one load, decoded.
        idle_ms: interactions with an idle server, to the next paint.
        rendering_ms: the same while a video renders.
        switch_idle_ms: from a click in the navigation to the heading of the page.
        switch_rendering_ms: the same while a video renders.
        console_errors: what the console said.
    """

    commit: str
    machine: str
    first_paint_ms: list[float] = field(default_factory=list)
    form_ready_ms: list[float] = field(default_factory=list)
    num_requests: int = 0
    kilobytes: float = 0.0
    idle_ms: list[float] = field(default_factory=list)
    rendering_ms: list[float] = field(default_factory=list)
    switch_idle_ms: list[float] = field(default_factory=list)
    switch_rendering_ms: list[float] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)


def main() -> None:
    """Measure, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loads", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    report = Report(_commit(), f"{platform.machine()}, {_cores()} cores, {platform.system()}")
    with running_studio(asked.folder) as studio, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for _ in range(asked.loads):
            _load(browser, studio, report)
        _interact(browser, studio, report, asked.rounds)
        browser.close()
    text = json.dumps(asdict(report))
    if asked.report:
        asked.report.write_text(text + "\n")
    print(text)
    for name in ("first_paint_ms", "form_ready_ms", "idle_ms", "rendering_ms"):
        print(f"{name:20} {_spread(getattr(report, name))}")
    for name in ("switch_idle_ms", "switch_rendering_ms"):
        print(f"{name:20} {_spread(getattr(report, name))}")
    print(f"{report.num_requests} requests, {report.kilobytes:.0f} kB")


def _load(browser: Any, studio: Studio, report: Report) -> None:
    """Open the page as a new user."""
    context = browser.new_context(base_url=studio.url, locale="en-US")
    page = _page(context, report)
    began = time.perf_counter()
    page.goto("/")
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    report.form_ready_ms.append((time.perf_counter() - began) * 1000)
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    report.first_paint_ms.append(page.evaluate(paint))
    page.wait_for_load_state("load")
    entries = "performance.getEntriesByType('resource')"
    report.num_requests = page.evaluate(f"{entries}.length") + 1
    total = f"{entries}.reduce((sum, each) => sum + each.decodedBodySize, 0)"
    report.kilobytes = page.evaluate(total) / 1000
    context.close()


def _interact(browser: Any, studio: Studio, report: Report, rounds: int) -> None:
    """Use the page in turn while nothing and while something renders."""
    context = browser.new_context(
        base_url=studio.url, locale="en-US", viewport={"width": 1280, "height": 900}
    )
    page = _page(context, report)
    page.goto("/")
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    page.evaluate(_TIMING)
    long = {"model": "tiny", "prompt": "the camera pans left", "duration_s": 120, "seed": 1}
    video = studio.queue(**long)["id"]
    for number in range(rounds):
        is_rendering = number % 2 == 1
        _set_rendering(studio, video, is_rendering)
        switches = report.switch_rendering_ms if is_rendering else report.switch_idle_ms
        inputs = report.rendering_ms if is_rendering else report.idle_ms
        _switch_pages(page, switches)
        inputs += _use_form(page)
    studio.api.post(f"/v1/videos/{video}/cancel")
    context.close()


def _set_rendering(studio: Studio, video: str, wanted: bool) -> None:
    action, states = ("resume", ("running",)) if wanted else ("pause", ("paused",))
    if studio.api.get(f"/v1/videos/{video}").json()["state"] in states:
        return
    studio.api.post(f"/v1/videos/{video}/{action}")
    studio.wait(video, *states)
    if wanted:  # until steps are taken
        before = _steps(studio, video)
        while _steps(studio, video) == before:
            time.sleep(0.1)


def _steps(studio: Studio, video: str) -> tuple[int, int]:
    detail = studio.api.get(f"/v1/videos/{video}").json()["progress_detail"]
    return detail["section"], detail["step"]


def _switch_pages(page: Page, found: list[float]) -> None:
    """From a click in the navigation to the heading of the page."""
    for name in _PAGES:
        began = time.perf_counter()
        page.locator(f'nav a[href="#/{name}"]').click()
        page.locator("main h1, main [role=alert]").first.wait_for()
        found.append((time.perf_counter() - began) * 1000)
        page.wait_for_timeout(150)


def _use_form(page: Page) -> list[float]:
    """Type, open groups, change a number: what the browser says of each event."""
    actions: list[Callable[[], object]] = [
        lambda: page.get_by_label("Prompt", exact=True).press("x"),
        lambda: page.get_by_label("Prompt", exact=True).press("Backspace"),
        lambda: page.locator("main details > summary").first.click(),
        lambda: page.locator("main details > summary").first.click(),
        lambda: page.get_by_label("Seed", exact=True).first.press("7"),
        lambda: page.get_by_label("Seed", exact=True).first.press("Backspace"),
    ]
    found = []
    for act in actions:
        page.evaluate("() => { window.timings.length = 0; }")
        act()
        page.wait_for_timeout(250)  # entries come after the paint
        durations = page.evaluate("() => window.timings.map((each) => each[1])")
        found.append(max(durations, default=_LEFT_OUT_MS))
    return found


def _page(context: Any, report: Report) -> Page:
    page: Page = context.new_page()
    page.on("pageerror", lambda error: report.console_errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            report.console_errors.append(message.text) if message.type == "error" else None
        ),
    )
    return page


def _spread(values: list[float]) -> str:
    ordered = sorted(values)
    return (
        f"median {statistics.median(ordered):.0f}, least {ordered[0]:.0f}, most {ordered[-1]:.0f} "
        f"of {len(ordered)}"
    )


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()


def _cores() -> int:
    import os

    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
