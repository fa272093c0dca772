"""How people reach a server: the browser of this machine, and addresses that others can use."""

import ipaddress
import json
import os
import threading
from collections.abc import Iterable
from typing import Any

from framepack.cli.console import say

__all__ = ["answers", "far_addresses", "open_browser"]

_ASK_S = 2.0


def open_browser(url: str, wait_s: float = 0.0) -> None:
    """Open a page in the default browser; say so where there is none.

    Browsers that draw in the terminal are left alone, unless ``BROWSER`` asks for one: the
    server's own lines are there.

    Args:
        url: of the page.
        wait_s: most seconds to wait until it is open. A program that ends next must wait, or it
            may end before the browser has started.
    """
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        browser = None
    draws_here = type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER")
    if browser is None or draws_here:
        say(f"Found no browser that could be opened; open {url} yourself.")
        return
    # Some browsers return only when their window is closed.
    opening = threading.Thread(target=browser.open, args=(url,), daemon=True)
    opening.start()
    opening.join(wait_s)


def answers(url: str) -> bool:
    """Whether a server of this program is there."""
    import http.client
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=_ASK_S) as response:
            said: Any = json.load(response)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return isinstance(said, dict) and "version" in said


def far_addresses(interfaces: Iterable[tuple[str, bool]] | None = None) -> list[str]:
    """IPv4 addresses of this computer that others on its networks can use.

    Args:
        interfaces: address and whether its interface is up; those of this computer when None.
    """
    found = []
    for address, is_up in _interfaces() if interfaces is None else interfaces:
        number = ipaddress.IPv4Address(address)
        if is_up and not (number.is_loopback or number.is_link_local):
            found.append(address)
    return sorted(found, key=ipaddress.IPv4Address)


def _interfaces() -> list[tuple[str, bool]]:
    import socket

    import psutil

    stats = psutil.net_if_stats()
    return [
        (address.address, name in stats and stats[name].isup)
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family == socket.AF_INET
    ]
