"""Whether the server lives, whether it can work, and its figures."""

import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from tests.helpers.service import FakeExecutor, new_service, running

import framepack
from framepack.service.records import JobError

Usage = namedtuple("Usage", ("total", "used", "free"))


def figures(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_server_that_runs_is_alive_and_ready(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        assert client.get("/healthz").json() == {"status": "ok", "version": framepack.__version__}
        assert client.get("/readyz").json() == {
            "status": "ready",
            "checks": {"store": "ok", "disk": "ok", "worker": "ok"},
        }


def test_a_full_disk_and_a_stopped_dispatcher_are_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_service(tmp_path)
    with running(service) as client:
        assert service.dispatcher is not None
        service.dispatcher.stop(5)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 0))
        answer = client.get("/readyz")

        assert answer.status_code == 503
        assert answer.json()["status"] == "not_ready"
        assert answer.json()["checks"]["worker"] == "no job is begun"
        assert "0 MB are free" in answer.json()["checks"]["disk"]
        assert client.get("/healthz").status_code == 200


def test_figures_are_those_of_the_jobs(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        for _ in range(2):
            client.post("/sdapi/v1/framepack", json={"prompt": "a"})
        found = figures(client)

    assert found["framepack_jobs", (("state", "completed"),)] == 2
    assert found["framepack_jobs", (("state", "running"),)] == 0
    assert found["framepack_queue_length", ()] == 0
    assert found["framepack_frames_total", ()] == 50
    assert found["framepack_render_seconds_total", ()] == 4
    assert found["framepack_seconds_per_frame", ()] == 0.08
    assert found["framepack_worker_alive", ()] == 1
    assert found["framepack_device_memory_bytes", (("device", "fake"),)] == 1.5e9
    posts = (("method", "POST"), ("route", "/sdapi/v1/framepack"), ("status", "200"))
    assert found["framepack_http_requests_total", posts] == 2


def test_jobs_that_wait_and_jobs_that_run_are_counted(tmp_path: Path) -> None:
    held = FakeExecutor(is_held=True)
    service = new_service(tmp_path, held)
    with running(service) as client:
        for _ in range(3):
            service.submit({"prompt": "a"})
        while service.store.counts().get("running") != 1:
            pass
        found = figures(client)
        held.go.set()

    assert found["framepack_queue_length", ()] == 2
    assert found["framepack_jobs", (("state", "running"),)] == 1
    assert found["framepack_worker_busy", ()] == 1


def test_failures_are_told_apart(tmp_path: Path) -> None:
    broken = FakeExecutor(fails=JobError("invalid_request", "no"))
    with running(new_service(tmp_path, broken)) as client:
        client.post("/sdapi/v1/framepack", json={"prompt": "a"})
        found = figures(client)

    assert found["framepack_failed_jobs", (("code", "invalid_request"),)] == 1
    assert found["framepack_jobs", (("state", "failed"),)] == 1


def test_unknown_paths_and_methods_make_no_further_figures(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        for number in range(50):
            client.get(f"/nothing/{number}")
            client.request(f"ODD{number}", "/healthz")
        text = client.get("/metrics").text

    assert len(set(re.findall(r'route="([^"]*)"', text))) <= 3
    assert len(set(re.findall(r'method="([^"]*)"', text))) <= 3


def test_figures_need_a_key_where_there_are_keys(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    _, secret = service.keys.create("prometheus")
    with running(service) as client:
        assert client.get("/metrics").status_code == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/metrics", headers=headers).status_code == 200
        assert client.get("/readyz").status_code == 200
