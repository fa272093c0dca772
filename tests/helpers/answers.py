"""What a server answers, read by tests that know whether it should refuse."""

from typing import Any

from fastapi.testclient import TestClient
from tests.helpers.service import until

__all__ = ["accepted", "ended", "refused"]


def accepted(answer: Any) -> dict[str, Any]:
    """The object of an answer that is no error."""
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: Any, status: int) -> str:
    """The words of an answer that is an error with a status."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def ended(client: TestClient, task: dict[str, Any]) -> dict[str, Any]:
    """A task as it is when it no longer waits or runs."""

    def now() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/v1/tasks/{task['id']}").json()
        return found if found["state"] not in ("queued", "running") else None

    found: dict[str, Any] = until(now, 60)
    return found
