"""The system page: what the doctor knows, and what the server does now."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.helpers import Studio

from framepack import __version__

PHONE = (390, 844)


@pytest.fixture
def system(new_page: Callable[..., Any]) -> Any:
    page = new_page("/#/system", permissions=["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("heading", name="In order")).to_be_visible(timeout=60_000)
    return page


def test_findings_of_the_doctor_are_shown_by_level(system: Any, studio: Studio) -> None:
    found = studio.api.get("/v1/system").json()
    for finding in found["findings"]:
        expect(system.get_by_text(finding["text"], exact=True).first).to_be_visible()
    notes = sum(finding["level"] == "note" for finding in found["findings"])
    heading = system.get_by_role("heading", name="Good to know")
    expect(heading).to_contain_text(str(notes))
    expect(system.get_by_text("Everything that is needed works.")).to_be_visible()


def test_versions_folders_and_links_are_there(system: Any, studio: Studio) -> None:
    machine = studio.api.get("/v1/system").json()["machine"]
    expect(system.get_by_text(__version__, exact=True)).to_be_visible()
    expect(system.get_by_text(machine["folders"][0]["path"], exact=True)).to_be_visible()
    for name, path in (("Every route", "/docs"), ("Figures for Prometheus", "/metrics")):
        link = system.get_by_role("link", name=name)
        assert link.get_attribute("href") == path
        assert studio.api.get(path).status_code == 200


def test_the_report_can_be_copied_for_others(system: Any) -> None:
    system.get_by_role("button", name="Copy report").click()
    expect(system.get_by_text("The report is copied")).to_be_visible()
    report = system.evaluate("navigator.clipboard.readText()")
    assert f"framepack {__version__}" in report
    assert '"memory_gb"' in report


def test_looking_again_asks_the_machine_anew(system: Any) -> None:
    with system.expect_response(lambda answer: "refresh=true" in answer.url) as asked:
        system.get_by_role("button", name="Look again").click()
    assert asked.value.status == 200
    expect(system.get_by_role("heading", name="In order")).to_be_visible(timeout=60_000)


def test_what_the_server_does_now_follows_without_a_reload(system: Any, studio: Studio) -> None:
    now = system.get_by_role("list", name="Videos by state")
    before = studio.api.get("/v1/queue").json()["counts"].get("completed", 0)
    studio.make(prompt="seen from the system page")
    expect(now.get_by_text(f"{before + 1} finished")).to_be_visible()
    expect(system.get_by_text("Model in memory")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_of_accessibility(new_page: Any, faults: Any, scheme: str) -> None:
    page = new_page("/#/system", color_scheme=scheme)
    expect(page.get_by_role("heading", name="In order")).to_be_visible(timeout=60_000)
    assert faults(page) == []


def test_it_fits_a_phone(new_page: Any) -> None:
    page = new_page("/#/system", size=PHONE)
    expect(page.get_by_role("heading", name="In order")).to_be_visible(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
