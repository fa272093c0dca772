"""The models page: weights and their terms, downloads, memory, recipes and LoRAs."""

import json
import re
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.helpers import Studio, running_studio
from tests.helpers import hub as hubs

from framepack.models.spec import HUNYUAN_LICENCE, TINY

PHONE = (390, 844)
LARGE = 1_000_000
DOWNLOADED_MS = 60_000
TUNED = f"""base = "f1"
title = "a fine-tune of somebody"

[components]
pipeline = "{TINY.as_posix()}"
transformer = "someone/fine-tune/transformer"
"""


@dataclass
class Shop:
    """A server that downloads from a hub of this machine, which holds back large files."""

    studio: Studio
    hub: hubs.Hub
    open: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("models")
    _fill_hub(folder / "hub")
    _write_loras(folder / "loras")
    opened = threading.Event()
    send = hubs._Handler._send

    def hold_back(self: Any, status: int, content: bytes, *given: Any, **named: Any) -> None:
        if len(content) > LARGE and named.get("body", True):
            opened.wait(60)
        send(self, status, content, *given, **named)

    with hubs.serve(folder / "hub") as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubs._Handler, "_send", hold_back)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "LOCAL_MODELS_DIR"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HOME", str(folder / "home"))
        patch.setenv("FRAMEPACK_LORAS_DIR", str(folder / "loras"))
        with running_studio(folder) as studio:
            try:
                yield Shop(studio, hub, opened)
            finally:
                opened.set()


def _fill_hub(folder: Path) -> None:
    repo = folder / "someone" / "fine-tune" / "transformer"
    repo.mkdir(parents=True)
    for path in (TINY / "transformer").iterdir():
        (repo / path.name).write_bytes(path.read_bytes())


def _write_loras(folder: Path) -> None:
    folder.mkdir()
    facts = {
        "modelspec.title": "Felt",
        "ss_trigger_words": '["made of felt"]',
        "ss_base_model_version": "hunyuan-video",
    }
    header = json.dumps({"__metadata__": facts}).encode()
    (folder / "felt.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture
def models(new_page: Any, shop: Shop) -> Any:
    page = new_page(f"{shop.studio.url}/#/models")
    expect(page.get_by_role("heading", name="LoRAs")).to_be_visible()
    return page


def card(page: Any, title: str) -> Any:
    return page.get_by_role("article", name=title)


def write_recipe(page: Any, name: str, text: str) -> Any:
    page.get_by_role("button", name="New recipe").click()
    dialog = page.get_by_role("dialog", name="New recipe")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Recipe (TOML)").fill(text)
    dialog.get_by_role("button", name="Check and save").click()
    return dialog


def test_every_model_says_what_it_is_and_whether_it_is_here(models: Any, shop: Shop) -> None:
    found = shop.studio.api.get("/v1/models").json()["data"]
    for model in (each for each in found if not each["recipe"]):
        shown = card(models, model["title"])
        expect(shown.get_by_text(model["id"], exact=True)).to_be_visible()
        state = "On this machine" if model["weights_present"] else "Not downloaded"
        expect(shown.get_by_text(state)).to_be_visible()
        for variant in model["variants"]:
            expect(shown.get_by_text(variant, exact=True)).to_be_visible()
    expect(card(models, "FramePack 13B, bi-directional")).to_contain_text("43.4 GB")
    expect(card(models, "FramePack 13B, bi-directional")).to_contain_text(
        "It needs an accelerator", timeout=60_000, ignore_case=True
    )
    # The tests' machine cannot run the large ones, so they are not pressed on anybody.
    expect(models.get_by_role("region", name="Get the large models")).to_have_count(0)


def test_nothing_is_fetched_before_the_terms_are_accepted(models: Any, shop: Shop) -> None:
    card(models, "FramePack-F1 13B").get_by_role("button", name="Download").click()
    dialog = models.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=HUNYUAN_LICENCE.name)).to_be_visible()
    expect(dialog.get_by_text(HUNYUAN_LICENCE.facts[0])).to_be_visible()
    link = dialog.get_by_role("link", name="Read the full text")
    assert link.get_attribute("href") == HUNYUAN_LICENCE.url
    dialog.get_by_role("button", name="Download").click()
    expect(dialog.get_by_text("Tick the box to accept the licence, or cancel.")).to_be_visible()
    expect(dialog.get_by_role("checkbox")).to_be_focused()
    dialog.get_by_role("button", name="Cancel").click()
    assert shop.studio.api.get("/v1/tasks?tool=download").json()["data"] == []


def test_weights_are_fetched_watched_stopped_and_fetched_on(models: Any, shop: Shop) -> None:
    write_recipe(models, "tuned", TUNED)
    line = models.get_by_role("listitem").filter(has_text="a fine-tune of somebody")
    expect(line.get_by_text("Not downloaded")).to_be_visible()
    line.get_by_role("button", name="Download").click()
    dialog = models.get_by_role("dialog")
    dialog.get_by_role("checkbox", name="I have read these terms").check()
    dialog.get_by_role("button", name="Download").click()
    bar = line.get_by_role("progressbar", name="Downloading a fine-tune of somebody")
    expect(bar).to_be_visible()
    expect(line.get_by_text(re.compile("ing someone/fine-tune/transformer"))).to_be_visible()
    models.reload()  # it goes on without the page
    expect(bar).to_be_visible()
    line.get_by_role("button", name="Cancel").click()
    expect(line.get_by_text("The download was stopped. What was fetched is kept.")).to_be_visible()

    shop.open.set()
    line.get_by_role("button", name="Try the download again").click()
    expect(dialog.get_by_role("checkbox")).to_be_checked()  # consent is remembered
    dialog.get_by_role("button", name="Download").click()
    expect(line.get_by_role("button", name="Try the download again")).to_have_count(0)
    expect(bar).to_have_count(0, timeout=DOWNLOADED_MS)
    assert shop.studio.api.get("/v1/models/tuned").json()["weights_present"] is True
    models.reload()
    expect(line.get_by_text("Not downloaded")).to_have_count(0)


def test_why_a_download_cannot_be_made_is_said(new_page: Any, studio: Studio) -> None:
    page = new_page("/#/models")  # of a server that is offline by its environment
    card(page, "FramePack 13B, bi-directional").get_by_role("button", name="Download").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Download").click()
    expect(dialog.get_by_text("the server is offline by its settings")).to_be_visible()
    page.expected_errors.clear()  # the server's refusal


def test_a_model_is_taken_into_memory_and_out_again(models: Any, shop: Shop) -> None:
    tiny = card(models, "embedded tiny model")
    tiny.get_by_role("button", name="Load now").click()
    expect(tiny.get_by_text("In memory")).to_be_visible(timeout=60_000)
    assert shop.studio.api.get("/v1/worker").json()["model"] == "tiny"
    tiny.get_by_role("button", name="Free its memory").click()
    expect(tiny.get_by_role("button", name="Load now")).to_be_visible(timeout=60_000)
    expect(tiny.get_by_text("In memory")).to_have_count(0)


def test_a_recipe_begins_as_a_models_is_checked_by_line_saved_and_deleted(
    models: Any, shop: Shop
) -> None:
    card(models, "embedded tiny model").get_by_role("button", name="Recipe").click()
    dialog = models.get_by_role("dialog", name="New recipe")
    area = dialog.get_by_label("Recipe (TOML)")
    text = area.input_value()
    assert text == shop.studio.api.get("/v1/models/tiny/recipe").text
    dialog.get_by_role("button", name="Check and save").click()
    expect(dialog.get_by_text("Give the recipe a name.")).to_be_visible()

    dialog.get_by_label("Name").fill("quick")
    wrong = text.replace("[components]", "[components")
    area.fill(wrong)
    dialog.get_by_role("button", name="Check and save").click()
    number = wrong.split("\n").index("[components") + 1
    expect(dialog.get_by_role("alert")).to_contain_text(f"line {number}")
    selected = area.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert selected == "[components"
    models.expected_errors.clear()  # the server's refusal

    area.fill(text.replace("num_inference_steps = 10", "num_inference_steps = 3"))
    dialog.get_by_role("button", name="Check and save").click()
    expect(models.get_by_text("Recipe quick is saved")).to_be_visible()
    steps = shop.studio.api.get("/v1/models/quick").json()["defaults"]["num_inference_steps"]
    assert steps == 3
    models.get_by_role("button", name="Delete recipe quick").click()
    models.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(models.get_by_text("Recipe quick is deleted.")).to_be_visible()
    assert shop.studio.api.get("/v1/models/quick").status_code == 404


def test_a_lora_shows_its_facts_and_goes_into_the_draft(models: Any) -> None:
    row = models.get_by_role("row", name="Felt")
    expect(row).to_contain_text("For hunyuan-video")
    expect(row).to_contain_text("made of felt")
    row.get_by_role("button", name="Use Felt").click()
    expect(models.get_by_text("Felt is in the draft.")).to_be_visible()
    draft = models.evaluate("JSON.parse(localStorage.getItem('framepack.draft')).request")
    assert draft["loras"] == [{"path": "felt", "weight": 1}]
    models.reload()
    expect(row.get_by_role("cell").nth(2)).to_have_text("1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_of_accessibility(new_page: Any, shop: Shop, faults: Any, scheme: str) -> None:
    page = new_page(f"{shop.studio.url}/#/models", color_scheme=scheme)
    expect(page.get_by_role("heading", name="LoRAs")).to_be_visible()
    assert faults(page) == []
    card(page, "FramePack-F1 13B").get_by_role("button", name="Download").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="New recipe").click()
    expect(page.get_by_role("dialog", name="New recipe")).to_be_visible()
    assert faults(page) == []


def test_it_fits_a_phone(new_page: Any, shop: Shop) -> None:
    page = new_page(f"{shop.studio.url}/#/models", size=PHONE)
    expect(page.get_by_role("heading", name="LoRAs")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
