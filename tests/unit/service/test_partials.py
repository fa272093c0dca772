"""What is kept of stopped videos: who waits for it, what stays wanted, and its process."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.service import new_service, running, until

ASKED = {"prompt": "a red ball", "model": "tiny", "seconds": 1}
MORE_THAN_THE_SERVER_HAS_THREADS = 42


def test_those_who_wait_hold_no_thread_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, go = new_service(tmp_path), threading.Event()

    def made(*_: Any) -> dict[str, int]:
        assert go.wait(60)
        return {"partial_frames": 0}

    monkeypatch.setattr(service.partials, "_made", made)
    with running(service) as client, ThreadPoolExecutor(50) as threads:
        client.post("/v1/queue/pause")
        address = f"/v1/videos/{client.post('/v1/videos', json=ASKED).json()['id']}"
        client.post(f"{address}/cancel")
        waiting = [
            threads.submit(client.post, f"{address}/partial")
            for _ in range(MORE_THAN_THE_SERVER_HAS_THREADS)
        ]
        try:
            until(lambda: service.partials._under_way)
            answer = threads.submit(client.get, address).result(10)
        finally:
            go.set()
        assert answer.json()["state"] == "cancelled"
        assert {each.result(10).status_code for each in waiting} == {409}


def test_what_is_wanted_of_a_waiting_video_stays_wanted(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    job = service.submit({"prompt": "a red ball", "model": "tiny", "duration_s": 1})
    service.partials.want(job.id)
    service.partials.notice(job.id)
    until(lambda: not service.partials._under_way)
    assert service.data.job(job.id).partial_wanted.exists()
    service.store.cancel(job.id)
    until(lambda: not service.data.job(job.id).partial_wanted.exists())
    service.partials.close()
    service.database.close()


@pytest.mark.skipif(sys.platform == "win32", reason="sessions of POSIX")
def test_ctrl_c_in_the_terminal_does_not_reach_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, program = new_service(tmp_path), tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(sid=os.getsid(0))))"
    )
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    said = service.partials._ask(tmp_path, tmp_path / "out.mp4")
    assert said["sid"] not in (None, os.getsid(0))
    service.partials.close()
    service.database.close()
