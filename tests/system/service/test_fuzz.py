"""The server gets what its own description allows, and what it does not: no answer is a 5xx."""

from pathlib import Path

import pytest
from tests.helpers.fuzz import fuzz, stocked
from tests.helpers.live_server import a_video, serving
from tests.helpers.service import FakeExecutor, new_service

pytestmark = pytest.mark.filterwarnings("default")  # what schemathesis says of schemas is no error


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    executor = FakeExecutor(video=a_video(tmp_path / "ready.mp4"))
    service = new_service(tmp_path, executor, requests_per_minute=1e9, max_waiting=10**6)
    with serving(service) as address:
        found = fuzz(address, num_requests=300, ids=stocked(service))
    assert found.failures == []
    assert found.num_requests >= 300
    assert {200, 404, 422} <= set(found.statuses)
    assert not found.deviations
