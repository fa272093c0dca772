"""What `doctor --server` makes of a server's answers."""

from typing import Any

import httpx2
import pytest
from tests.helpers.stub_server import Stub, refusal

from framepack import __version__
from framepack.cli.server_findings import examine_server
from framepack.client import Client


def _levels(*answers: Any) -> dict[str, tuple[str, str]]:
    stub = Stub(list(answers))
    with Client("http://stub:1", transport=stub.transport()) as client:
        return {found.topic: (found.level, found.text) for found in examine_server(client)}


def _ok(values: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, json=values)


ALIVE = {"status": "ok", "version": __version__}
READY = {"status": "ready", "checks": {"store": "ok", "disk": "ok"}}
NO_VIDEOS = {"data": [], "has_more": False}


def test_a_good_server_has_no_problem() -> None:
    found = _levels(_ok(ALIVE), _ok(READY), _ok(NO_VIDEOS))
    assert {level for level, _ in found.values()} == {"good"}
    assert list(found) == ["server", "version", "store", "disk", "readiness", "access"]


def test_what_is_wrong_is_named() -> None:
    bad = {"status": "not_ready", "checks": {"store": "ok", "disk": "3 MB are free"}}
    old = {"status": "ok", "version": "0.0.1"}
    found = _levels(_ok(old), _ok(bad, 503), refusal(401, "this needs a key"))
    assert found["version"][0] == "note"
    assert found["disk"] == ("problem", "3 MB are free")
    assert found["readiness"][0] == "problem"
    assert found["access"][0] == "problem"
    assert found["store"][0] == "good"


@pytest.mark.parametrize(
    "answer", [httpx2.ConnectError("refused"), httpx2.Response(200, text="hello")]
)
def test_no_server_is_one_finding(answer: Any) -> None:
    found = _levels(answer)
    assert list(found) == ["server"]
    assert found["server"][0] == "problem"
