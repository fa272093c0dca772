"""The page comes whole, unchanged files are not sent again, and nothing else of the disk is."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from framepack.ui.mount import PAGE, mount


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI()
    mount(app)
    with TestClient(app) as found:
        yield found


def test_the_page_is_at_the_root(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>FramePack Studio</title>" in answer.text


def test_everything_the_page_names_is_there(client: TestClient) -> None:
    named = re.findall(r'(?:src|href)="(/studio/[^"]+)"', client.get("/").text)
    assert len(named) > 30  # with the modules that it begins with
    assert {name: client.get(name).status_code for name in named} == dict.fromkeys(named, 200)


def test_every_module_that_is_imported_is_there() -> None:
    missing = []
    for module in PAGE.rglob("*.js"):
        for name in re.findall(r"""(?:from|import\()\s*["'](\.[^"']+)["']""", module.read_text()):
            if not (module.parent / name).resolve().is_file():
                missing.append(f"{module.relative_to(PAGE)} imports {name}")
    assert not missing


def test_every_icon_that_is_named_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (PAGE / "icons.svg").read_text()))
    named = {
        name
        for module in PAGE.rglob("*.js")
        for name in re.findall(r"""\bicon\(["']([a-z-]+)["']\)""", module.read_text())
    }
    assert named
    assert named - drawn == set()


def test_a_file_that_did_not_change_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/studio/js/main.js")
    again = client.get("/studio/js/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_what_is_named_with_its_edition_is_kept_for_good(client: TestClient) -> None:
    (script,) = re.findall(r'src="(/studio/[^"]+/js/main.js)"', client.get("/").text)
    assert "immutable" in client.get(script).headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-cache"


def test_a_page_of_an_older_edition_still_finds_its_parts(client: TestClient) -> None:
    answer = client.get("/studio/0123456789abcdef/js/lib/dom.js")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


def test_all_sheets_go_out_as_one_and_the_common_ones_first(client: TestClient) -> None:
    style = client.get("/studio/style.css").text
    sheets = sorted(PAGE.glob("css/*.css"))
    assert len(sheets) > 10
    assert all(sheet.read_text() in style for sheet in sheets)
    assert style.startswith((PAGE / "css/base.css").read_text())


def test_the_words_of_a_language_go_out_as_one(client: TestClient) -> None:
    words = client.get("/studio/words/de.json").json()
    assert words["shell.nav.create"] == "Erstellen"
    assert words["queue.heading"]


def test_the_first_page_needs_no_module_that_is_not_named(client: TestClient) -> None:
    named = set(re.findall(r'modulepreload" href="/studio/\w+/([^"]+)"', client.get("/").text))
    assert {"js/main.js", "js/create/page.js", "js/lib/dom.js"} <= named
    page = (PAGE / "js/create/page.js").read_text()
    later = re.findall(r"""import\(["']\./([^"']+)""", page)
    assert later
    assert {f"js/create/{name}" for name in later} <= named
    for name in named:
        text = (PAGE / name).read_text()
        for other in re.findall(r"""^(?:import|export)[^;]*?from\s+["'](\.[^"']+)""", text, re.M):
            path = ((PAGE / name).parent / other).resolve().relative_to(PAGE.resolve())
            assert path.as_posix() in named, f"{name} imports {path}"


def test_scripts_of_others_are_forbidden(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_nothing_is_fetched_from_elsewhere() -> None:
    # The namespace of SVG is a name, and help texts may link to pages that people choose to open.
    for path in PAGE.rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"""(?:src|href|url|from|import)\W{1,4}https?://""", text), path


@pytest.mark.parametrize(
    "path", ["../mount.py", "%2e%2e/mount.py", "js/../../mount.py", "/etc/passwd", "", "js"]
)
def test_only_the_pages_own_files_are_served(client: TestClient, path: str) -> None:
    assert client.get(f"/studio/{path}").status_code == 404


def test_names_are_those_of_addresses() -> None:
    for path in PAGE.rglob("*"):
        assert PurePosixPath(path.name).name.isascii()
        assert " " not in path.name
