"""Whoever asks how far his video is gets an answer, however much is being checked."""

import asyncio
import time
from pathlib import Path

import httpx2
import pytest
from tests.helpers.live_server import serving
from tests.helpers.service import FakeExecutor, new_service

SMALL = {"prompt": "a red ball", "model": "tiny", "duration_s": 1}
NUM_SENT = 100


def test_requests_that_take_long_to_check_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_service(tmp_path, FakeExecutor(is_held=True), requests_per_minute=1e9)
    waiting = service.submit(SMALL)
    monkeypatch.setattr("framepack.service.acceptance.check_limits", lambda *_: time.sleep(0.05))

    async def main(address: str) -> tuple[list[float], list[int]]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            sent = [
                asyncio.create_task(client.post("/v1/videos", json={**SMALL, "seed": number}))
                for number in range(NUM_SENT)
            ]
            await asyncio.sleep(0.3)
            times = []
            for _ in range(10):
                began = time.perf_counter()
                answer = await client.get(f"/v1/videos/{waiting.id}")
                assert answer.status_code == 200
                times.append(time.perf_counter() - began)
            still = sum(not task.done() for task in sent)
            assert still > 10, "the checks were over before anybody asked"
            return times, [(await task).status_code for task in sent]

    with serving(service) as address:
        times, statuses = asyncio.run(main(address))
    assert statuses == [200] * NUM_SENT
    assert max(times) < 1.0
