"""A client of the service of a test."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.helpers.service import running

from framepack.service.service import Service


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    """Asks the service that the fixture ``service`` of the test's module makes."""
    with running(service) as client:
        yield client
