"""A service that does its work in the process of the tests, with networks that stay loaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.workshop import SETTINGS, Bench, working

from framepack.service.tasks import TaskRunner


@pytest.fixture(scope="module")
def runner() -> TaskRunner:
    """Loads the networks once for all tests of a module."""
    return TaskRunner(SETTINGS)


@pytest.fixture
def bench(tmp_path: Path, runner: TaskRunner) -> Iterator[Bench]:
    """The service of one test, and a client."""
    with working(tmp_path, runner) as found:
        yield found
