"""Watch a server with many clients: how fast it answers while a video renders, and its memory.

    python benchmarks/service_load.py FOLDER [--jobs 500] [--pollers 50] [--streams 20]
                                             [--seconds 60] [--report FILE.json]

A real server in a process of its own, with its worker and the embedded model, has one long video
to render and the other jobs waiting. Pollers ask for the state of videos once a second each, as the
OpenAI client does; streams follow the events of the video that renders. Connections are kept, one
for each client. What is timed is the whole of a request, as the client sees it.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

LONG: dict[str, Any] = {
    "prompt": "a red ball rolls to the right",
    "model": "tiny",
    "size": "128x128",
    "seconds": 300,
    "priority": 10,
}
SHORT: dict[str, Any] = {"prompt": "a blue ball", "model": "tiny", "size": "64x64", "seconds": 1}

_EVERY_S = 1.0
_MB = 1e6


@dataclass
class Load:
    """What was measured.

    Attributes:
        status_ms: time of status calls: median, 95 %, 99 %, and the longest.
        list_ms: of lists of 20 videos.
        num_calls: status calls and lists.
        num_errors: answers other than 200, and lost connections.
        num_events: events that all streams had, together.
        event_lag_ms: from the time of an event to its arrival: median and 99 %.
        rss_mb: of the server: idle, with the jobs, under load at first, and at its end.
        cpu_share: of one core that the server used under load.
        num_steps: denoising steps that were taken meanwhile.
    """

    status_ms: dict[str, float] = field(default_factory=dict)
    list_ms: dict[str, float] = field(default_factory=dict)
    num_calls: int = 0
    num_errors: int = 0
    num_events: int = 0
    event_lag_ms: dict[str, float] = field(default_factory=dict)
    rss_mb: dict[str, float] = field(default_factory=dict)
    cpu_share: float = 0.0
    num_steps: int = 0


def main() -> None:
    """Start a server, load it, and say what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--pollers", type=int, default=50)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    with serving(asked.folder) as (address, process):
        load = asyncio.run(measure(address, process, asked))
    text = json.dumps({"asked": vars(asked), **asdict(load)}, indent=2, default=str)
    print(text)
    if asked.report is not None:
        asked.report.write_text(text + "\n", encoding="utf-8")


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "settings.toml"
    settings.write_text("[service]\nrequests_per_minute = 1e9\nmax_waiting = 100000\n")
    command = [sys.executable, "-m", "framepack", "serve", "--port", "0", "--quiet"]
    server = subprocess.Popen(
        [*command, "--data-dir", str(folder / "data")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FRAMEPACK_SETTINGS": str(settings)},
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http"), "the server did not start"
        yield address, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(60)


async def measure(address: str, process: psutil.Process, asked: argparse.Namespace) -> Load:
    """Queue the jobs, wait for the long one to render, and load the server."""
    load = Load()
    load.rss_mb["idle"] = process.memory_info().rss / _MB
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        long = (await _ok(client.post("/v1/videos", json=LONG)))["id"]
        ids = [long]
        for number in range(asked.jobs - 1):
            body = {**SHORT, "seed": number}
            ids.append((await _ok(client.post("/v1/videos", json=body)))["id"])
        load.rss_mb["jobs_queued"] = process.memory_info().rss / _MB
        before = await _wait_for_steps(client, long)
        calls = await _under_load(client, process, asked, ids, load)
        after = (await _ok(client.get(f"/v1/videos/{long}")))["progress_detail"]
        counts = (await _ok(client.get("/v1/queue")))["counts"]
    assert counts.get("running") == 1, f"nothing rendered: {counts}"
    load.num_steps = _steps(after) - _steps(before)
    for name in ("status", "list"):
        setattr(load, f"{name}_ms", _spread(calls[name]))
    load.num_calls = len(calls["status"]) + len(calls["list"])
    return load


async def _under_load(
    client: httpx2.AsyncClient,
    process: psutil.Process,
    asked: argparse.Namespace,
    ids: list[str],
    load: Load,
) -> dict[str, list[float]]:
    calls: dict[str, list[float]] = {"status": [], "list": []}
    lags: list[float] = []
    ends = time.monotonic() + asked.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(asked.streams):
            delay = number / asked.streams * _EVERY_S
            group.create_task(_follow(client, ids[0], delay, ends, lags, load))
        for number in range(asked.pollers):
            # Every other one asks for the video that renders, as its owner would.
            video = ids[0] if number % 2 else ids[number % len(ids)]
            delay = number / asked.pollers * _EVERY_S
            group.create_task(_poll(client, video, delay, ends, calls, load))
        group.create_task(_watch(process, asked.seconds, load))
    load.num_events = len(lags)
    load.event_lag_ms = _spread(lags)
    return calls


async def _poll(
    client: httpx2.AsyncClient,
    video: str,
    delay: float,
    ends: float,
    calls: dict[str, list[float]],
    load: Load,
) -> None:
    await asyncio.sleep(delay)
    count = 0
    while time.monotonic() < ends:
        count += 1
        is_list = count % 20 == 0
        path = "/v1/videos" if is_list else f"/v1/videos/{video}"
        began = time.perf_counter()
        try:
            answer = await client.get(path)
            load.num_errors += answer.status_code != 200
        except httpx2.HTTPError:
            load.num_errors += 1
        took = time.perf_counter() - began
        calls["list" if is_list else "status"].append(1000 * took)
        await asyncio.sleep(max(_EVERY_S - took, 0))


async def _follow(
    client: httpx2.AsyncClient,
    video: str,
    delay: float,
    ends: float,
    lags: list[float],
    load: Load,
) -> None:
    """Follow from now on; what happened before is not late."""
    await asyncio.sleep(delay)
    began = time.time()
    async with client.stream("GET", f"/v1/videos/{video}/events") as answer:
        if answer.status_code != 200:
            load.num_errors += 1
            return
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                at = float(json.loads(line[5:])["at"])
                if at > began:
                    lags.append(1000 * (time.time() - at))
            if time.monotonic() > ends:
                return


async def _watch(process: psutil.Process, seconds: float, load: Load) -> None:
    await asyncio.sleep(min(5.0, seconds / 4))
    used = process.cpu_times()
    load.rss_mb["load_begins"] = process.memory_info().rss / _MB
    rest = seconds - min(5.0, seconds / 4)
    await asyncio.sleep(rest)
    load.rss_mb["load_ends"] = process.memory_info().rss / _MB
    now = process.cpu_times()
    load.cpu_share = round((now.user + now.system - used.user - used.system) / rest, 3)


async def _wait_for_steps(client: httpx2.AsyncClient, video: str) -> dict[str, Any]:
    for _ in range(600):
        detail: dict[str, Any] = (await _ok(client.get(f"/v1/videos/{video}")))["progress_detail"]
        if detail["step"]:
            return detail
        await asyncio.sleep(0.2)
    raise AssertionError("the long video was not begun")


async def _ok(request: Any) -> dict[str, Any]:
    answer = await request
    assert answer.status_code == 200, answer.text
    values: dict[str, Any] = answer.json()
    return values


def _steps(detail: dict[str, Any]) -> int:
    return int(detail["section"] * detail["num_steps"] + detail["step"])


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2)

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0)}


if __name__ == "__main__":
    main()
