"""The settings page: the server's machine, and this browser."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.helpers import Studio, running_studio

PHONE = (390, 844)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A server whose settings may be changed: one comes from the environment, one from a flag."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LOCAL_MODELS_DIR", raising=False)  # of the tests, which fix these
        patch.setenv("FRAMEPACK_WILDCARDS_DIR", str(folder / "wildcards"))
        with running_studio(folder, "--device", "cpu") as found:
            yield found


@pytest.fixture
def settings(new_page: Any, server: Studio) -> Any:
    page = new_page(f"{server.url}/#/settings")
    expect(page.get_by_role("heading", name="Folders")).to_be_visible()
    return page


def in_file(server: Studio) -> dict[str, Any]:
    return tomllib.loads((server.folder / "settings.toml").read_text())


def value_of(server: Studio, name: str) -> Any:
    fields = server.api.get("/v1/settings").json()["fields"]
    return next(field["value"] for field in fields if field["name"] == name)


def test_every_setting_of_the_server_is_in_its_group(settings: Any, server: Studio) -> None:
    answer = server.api.get("/v1/settings").json()
    for group in answer["groups"]:
        section = settings.get_by_role("region", name=group["title"], exact=True)
        for field in answer["fields"]:
            if field["group"] == group["id"]:
                expect(section.get_by_label(field["title"], exact=True)).to_have_count(1)


def test_a_change_is_told_saved_and_taken_back(settings: Any, server: Studio) -> None:
    loras = settings.get_by_label("LoRA folder", exact=True)
    loras.fill(str(server.folder / "loras"))
    settings.get_by_label("Keep run directories", exact=True).check()
    bar = settings.get_by_role("region", name="What will change")
    expect(bar.get_by_text("2 changes are not saved")).to_be_visible()
    expect(bar.get_by_text("Keep run directories: off → on")).to_be_visible()
    bar.get_by_role("button", name="Save").click()
    expect(settings.get_by_text("Saved. It holds from the next video on.")).to_be_visible()
    expect(bar).to_be_hidden()
    assert in_file(server)["keep_runs"] is True
    assert value_of(server, "loras_dir") == str(server.folder / "loras")

    for name in ("LoRA folder", "Keep run directories"):
        settings.get_by_role("button", name=f"Reset {name}").click()
    bar.get_by_role("button", name="Save").click()
    expect(bar).to_be_hidden()
    assert "keep_runs" not in in_file(server)
    assert value_of(server, "loras_dir") is None


def test_a_wrong_value_is_told_beside_its_field_and_nothing_is_written(
    settings: Any, server: Studio
) -> None:
    before = in_file(server)
    patience = settings.get_by_label("Enhancer's patience", exact=True)
    patience.fill("-1")
    settings.get_by_label("Licences accepted", exact=True).check()
    settings.get_by_role("button", name="Save").click()
    expect(patience).to_be_focused()
    assert patience.get_attribute("aria-invalid") == "true"
    expect(settings.get_by_text("enhancer_timeout_s is -1").first).to_be_visible()
    assert in_file(server) == before
    settings.expected_errors.clear()  # the server's refusal
    settings.get_by_role("button", name="Discard").click()
    expect(settings.get_by_label("Licences accepted", exact=True)).not_to_be_checked()
    expect(settings.get_by_role("region", name="What will change")).to_be_hidden()


def test_what_the_environment_or_a_flag_fixes_cannot_be_changed(settings: Any) -> None:
    expect(settings.get_by_label("Wildcard folder", exact=True)).to_be_disabled()
    expect(settings.get_by_text("Set by the environment (FRAMEPACK_WILDCARDS_DIR)")).to_be_visible()
    expect(settings.get_by_label("Device", exact=True)).to_be_disabled()
    expect(settings.get_by_text("Given when the server was started")).to_be_visible()


def test_a_secret_is_written_and_never_shown(settings: Any, server: Studio) -> None:
    key = settings.get_by_label("Enhancer's key", exact=True)
    assert key.get_attribute("type") == "password"
    key.fill("a secret of ours")
    settings.get_by_role("button", name="Save").click()
    expect(settings.get_by_text("Saved.")).to_be_visible()
    assert in_file(server)["enhancer_api_key"] == "a secret of ours"
    expect(key).to_have_value("")
    expect(key).to_have_attribute("placeholder", "•••••••• is set; type another to replace it")
    assert "a secret of ours" not in settings.content()
    settings.get_by_role("button", name="Remove it").click()
    settings.get_by_role("button", name="Save").click()
    expect(settings.get_by_role("button", name="Remove it")).to_have_count(0)
    assert "enhancer_api_key" not in in_file(server)


def test_what_is_not_saved_outlives_a_look_at_another_page(settings: Any) -> None:
    settings.get_by_label("Style file", exact=True).fill("/somewhere/styles.toml")
    settings.get_by_role("link", name="System").click()
    expect(settings.get_by_role("heading", name="System", exact=True)).to_be_visible()
    settings.get_by_role("link", name="Settings").click()
    style = settings.get_by_label("Style file", exact=True)
    expect(style).to_have_value("/somewhere/styles.toml")
    settings.get_by_role("button", name="Discard").click()
    expect(style).not_to_have_value("/somewhere/styles.toml")


def test_colours_and_language_are_this_browsers(settings: Any) -> None:
    settings.get_by_role("radio", name="Dark").check()
    assert settings.evaluate("document.documentElement.dataset.theme") == "dark"
    settings.locator("#settings-language").select_option("de")
    expect(settings.get_by_role("heading", name="Einstellungen")).to_be_visible()
    expect(settings.get_by_label("Ausgabeordner", exact=True)).to_be_visible()
    expect(settings.get_by_role("radio", name="Dunkel")).to_be_checked()


def test_what_the_browser_keeps_can_be_forgotten(settings: Any) -> None:
    settings.get_by_role("radio", name="Light").check()
    settings.get_by_role("button", name="Forget it").click()
    dialog = settings.get_by_role("dialog")
    with settings.expect_navigation():
        dialog.get_by_role("button", name="Forget it").click()
    expect(settings.get_by_role("radio", name="As the system")).to_be_checked()
    kept = settings.evaluate("Object.keys(localStorage).filter((name) => /theme|draft/.test(name))")
    assert kept in ([], ["framepack.theme"])
    assert settings.evaluate("localStorage.getItem('framepack.theme') ?? 'system'") == "system"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_of_accessibility(new_page: Any, server: Studio, faults: Any, scheme: str) -> None:
    page = new_page(f"{server.url}/#/settings", color_scheme=scheme)
    page.get_by_label("Models folder", exact=True).fill("/models")
    expect(page.get_by_role("region", name="What will change")).to_be_visible()
    assert faults(page) == []


def test_it_fits_a_phone(new_page: Any, server: Studio) -> None:
    page = new_page(f"{server.url}/#/settings", size=PHONE)
    page.get_by_label("Models folder", exact=True).fill("/a/long/path/of/models" * 4)
    expect(page.get_by_role("region", name="What will change")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
