"""A real server with the embedded model, and a real browser that opens its studio."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from tests.browser.helpers import Studio, axe_faults, find_browser, running_studio  # noqa: E402

playwright_api.expect.set_options(timeout=20_000)  # the machine may be busy

IGNORED_ERRORS = ("net::ERR_ABORTED",)  # a video that is left while it loads


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests are skipped where there is none.

    Not for longer than a module: Playwright keeps an event loop running in this thread, and tests
    elsewhere run loops of their own.
    """
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium: install it, or name it with FRAMEPACK_TEST_BROWSER")
    with playwright_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A server for all tests of a session; what one leaves in the gallery others see too."""
    with running_studio(tmp_path_factory.mktemp("studio")) as found:
        yield found


@pytest.fixture
def new_page(browser: Any, studio: Studio) -> Iterator[Callable[..., Any]]:
    """Open pages, each as a new user with nothing stored; errors in their consoles are faults."""
    contexts, errors = [], list[str]()

    def opened(path: str = "/", *, size: tuple[int, int] = (1280, 800), **options: Any) -> Any:
        width, height = size
        given = {"viewport": {"width": width, "height": height}, "locale": "en-US", **options}
        context = browser.new_context(base_url=studio.url, **given)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(f"{path}: {error}"))
        page.on(
            "console",
            lambda message: (
                errors.append(f"{path}: {message.text}")
                if message.type == "error"
                and not any(word in message.text for word in IGNORED_ERRORS)
                else None
            ),
        )
        page.goto(path)
        page.expected_errors = errors  # a test that provokes some clears them
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors, "errors in the browser's console:\n" + "\n".join(errors)


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """The studio at desktop width, empty."""
    return new_page()


@pytest.fixture
def faults() -> Callable[[Any], list[str]]:
    """Serious and critical accessibility faults of what a page shows."""
    return axe_faults
