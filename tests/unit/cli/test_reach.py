"""How people reach a server: the browser here, addresses for others."""

import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from framepack.cli import reach


class _Browser:
    def __init__(self) -> None:
        self.opened: list[str] = []
        self.done = threading.Event()

    def open(self, url: str) -> None:
        self.opened.append(url)
        self.done.set()


def test_the_default_browser_opens_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = _Browser()
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    reach.open_browser("http://127.0.0.1:7860")
    assert browser.done.wait(5)
    assert browser.opened == ["http://127.0.0.1:7860"]


def test_a_program_that_ends_next_waits_until_the_browser_has_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(_Browser):
        def open(self, url: str) -> None:
            self.done.wait(0.2)
            super().open(url)

    browser = Slow()
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    reach.open_browser("http://127.0.0.1:7860", wait_s=20)
    assert browser.opened == ["http://127.0.0.1:7860"]


def _no_browser() -> webbrowser.BaseBrowser:
    raise webbrowser.Error("could not locate runnable browser")


@pytest.mark.parametrize("get", [_no_browser, lambda: webbrowser.GenericBrowser("lynx")])
def test_without_a_browser_with_windows_the_address_is_said(
    get: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "get", get)
    monkeypatch.delenv("BROWSER", raising=False)
    reach.open_browser("http://127.0.0.1:7860")
    said = capsys.readouterr().err
    assert said == ("Found no browser that could be opened; open http://127.0.0.1:7860 yourself.\n")


def test_others_get_neither_this_computers_own_nor_sleeping_addresses() -> None:
    interfaces = [
        ("192.168.1.20", True),
        ("127.0.0.1", True),
        ("10.0.0.5", True),
        ("169.254.3.4", True),
        ("172.17.0.1", False),
    ]
    assert reach.far_addresses(interfaces) == ["10.0.0.5", "192.168.1.20"]


def test_the_addresses_of_this_computer_are_read() -> None:
    assert "127.0.0.1" in [address for address, is_up in reach._interfaces() if is_up]


@contextmanager
def _server(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "is_ours"),
    [
        (200, b'{"status": "ok", "version": "1"}', True),
        (200, b'{"status": "ok"}', False),
        (200, b"<html>", False),
        (404, b'{"version": "1"}', False),
    ],
)
def test_only_a_server_of_ours_counts_as_there(status: int, body: bytes, is_ours: bool) -> None:
    with _server(status, body) as url:
        assert reach.answers(url) is is_ours


def test_nobody_there_is_no_answer() -> None:
    assert not reach.answers("http://127.0.0.1:1")
