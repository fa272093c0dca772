"""`framepack serve` and the commands that use it, as the processes that people run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.helpers.runs import write_picture
from tests.helpers.service import until

from framepack.cli.reach import far_addresses
from framepack.client import Client
from framepack.media.video import probe

ROOT = Path(__file__).parents[3]
SMALL = ["--model", "tiny", "--resolution", "64", "--steps", "2", "--seed", "3", "--prompt", "pan"]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **more}


def _framepack(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "framepack", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=_environment(**environment),
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


@contextmanager
def _serving(
    folder: Path, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and the address that it printed."""
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "framepack", "serve", "--data-dir", str(folder / "data")]
            + (list(arguments) or ["--port", "0"]),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env=_environment(**environment),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "server.log").read_text()
        yield process, address
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _said(folder: Path) -> str:
    """What servers in a folder wrote for people, and their log."""
    return (folder / "server.log").read_text()


def _stopped(process: subprocess.Popen[str]) -> int:
    process.terminate()
    return process.wait(60)


def _imports(process: subprocess.Popen[str], word: str) -> bool:
    """Whether a library is mapped into a process."""
    return word in Path(f"/proc/{process.pid}/maps").read_text()


def test_submit_waits_for_the_video_and_writes_it(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "start.png")
    with _serving(tmp_path) as (process, url):
        done = _framepack(
            "submit",
            *("--url", url, "--image", str(picture), "--duration", "1.5"),
            *(*SMALL, "-o", "out.mp4"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["out.mp4"]
        assert "step 2/2" in done.stderr
        assert "45 frames (1.50 s) in" in done.stderr
        assert probe(tmp_path / "out.mp4").num_frames == 45
        listed = _framepack("jobs", "--url", url, cwd=tmp_path)
        assert re.search(r"video_\w{24}  completed  100%", listed.stdout)
        if sys.platform == "linux":
            assert not _imports(process, "libtorch"), "the server itself never loads torch"
        assert _stopped(process) == 0
    log = [line for line in (tmp_path / "server.log").read_text().splitlines() if line[:1] == "{"]
    levels = {json.loads(line)["level"] for line in log}
    assert levels == {"info"}, log


def test_a_stopped_server_goes_on_where_it_was_and_a_follower_waits(tmp_path: Path) -> None:
    arguments = ["--duration", "9", "--latent-window-size", "3", "--variant", "bi-directional"]
    with _serving(tmp_path) as (process, url):
        port = url.rpartition(":")[2]
        asked = _framepack("submit", *arguments, *SMALL, "--url", url, cwd=tmp_path)
        video_id = asked.stdout.strip()
        follower = subprocess.Popen(
            [sys.executable, "-m", "framepack", "follow", video_id, "-o", "out.mp4", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=_environment(FRAMEPACK_URL=url),
        )
        with Client(url) as client:
            until(lambda: client.get(video_id).progress.section >= 2, 120)
        assert _stopped(process) == 0
    with _serving(tmp_path, "--port", port):
        told, said = follower.communicate(timeout=300)
    assert follower.returncode == 0, said
    events = [json.loads(line) for line in told.splitlines()]
    kinds = [event["event"] for event in events]
    assert "Resumed" in kinds
    assert kinds[-1] == "Completed"
    sections = [event["section"] for event in events if event["event"] == "SectionDone"]
    assert sorted(sections) == list(range(len(sections))), "none is made twice, none is missing"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert probe(tmp_path / "out.mp4").num_frames == 270


def test_a_second_signal_stops_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with _serving(tmp_path) as (process, url):
        with Client(url) as client:
            video = client.create("pan", model="tiny", resolution=64, duration_s=20, seed=1)
            until(lambda: client.get(video.id).progress.step >= 1, 120)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) in (0, 130)
        assert psutil.wait_procs(workers, 20)[1] == [], "no worker is left behind"
    with _serving(tmp_path) as (_, url), Client(url) as client:
        assert client.get(video.id).state in ("queued", "running")


def test_a_server_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    refused = _framepack("serve", "--host", "0.0.0.0", "--port", "0", *data, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert "framepack keys create" in refused.stderr

    made = _framepack("keys", "create", "anna", "--max-waiting", "1", *data, cwd=tmp_path)
    secret = made.stdout.strip()
    (tmp_path / "key").write_text(f"{secret}\n")
    listed = _framepack("keys", "list", *data, cwd=tmp_path)
    assert "anna" in listed.stdout
    assert secret not in listed.stdout
    with _serving(tmp_path, "--host", "0.0.0.0", "--port", "0") as (_, url):
        denied = _framepack("jobs", "--url", url, cwd=tmp_path)
        assert (denied.returncode, denied.stdout) == (1, "")
        allowed = _framepack("jobs", "--url", url, "--api-key-file", "key", cwd=tmp_path)
        assert allowed.returncode == 0, allowed.stderr
        healthy = _framepack("doctor", "--server", url, "--api-key-file", "key", cwd=tmp_path)
        assert healthy.returncode == 0, healthy.stdout
        assert "may use it" in healthy.stdout
        _framepack("keys", "revoke", "anna", *data, cwd=tmp_path)
        time.sleep(1.2)  # the server looks for new keys once a second
        late = _framepack("jobs", "--url", url, "--api-key-file", "key", cwd=tmp_path)
        assert late.returncode == 1
        unhealthy = _framepack("doctor", "--server", url, cwd=tmp_path)
        assert unhealthy.returncode == 1
        assert "!!  access" in unhealthy.stdout


def test_share_needs_a_key_and_tells_others_where_to_go(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    refused = _framepack("serve", "--share", "--port", "0", *data, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "framepack keys create" in refused.stderr
    both = _framepack("serve", "--share", "--server", "127.0.0.1", *data, cwd=tmp_path)
    assert (both.returncode, both.stderr.count("\n")) == (2, 1)
    assert "--share listens at every address" in both.stderr

    _framepack("keys", "create", "anna", *data, cwd=tmp_path)
    with _serving(tmp_path, "--share", "--port", "0") as (process, url):
        connections = psutil.Process(process.pid).net_connections()
        listening = {at.laddr.ip for at in connections if at.status == psutil.CONN_LISTEN}
        assert listening == {"0.0.0.0"}
        assert _stopped(process) == 0
    (line,) = re.findall(r"^Others on the network.*$", _said(tmp_path), re.MULTILINE)
    for address in far_addresses():
        assert f"http://{address}:{url.rpartition(':')[2]}" in line


def test_the_studio_is_there_and_opens_unless_only_programs_are_served(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    opened = tmp_path / "opened"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    asked = ("--inbrowser", "--server", "127.0.0.1", "--port", port)
    with _serving(tmp_path, *asked, BROWSER=f"{browser} %s") as (_, url):
        until(opened.exists, 60)
        with urllib.request.urlopen(url, timeout=60) as page:
            assert page.headers["Content-Type"].startswith("text/html")
        again = _framepack("serve", *asked, cwd=tmp_path, BROWSER=f"{browser} %s")
        assert (again.returncode, again.stdout.strip()) == (0, url)
        until(lambda: len(opened.read_text().splitlines()) == 2, 60)
    assert opened.read_text().splitlines() == [url, url]
    assert f"The studio is there: open {url}" in _said(tmp_path)

    with _serving(tmp_path, "--no-ui", "--port", "0") as (_, url):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=60)
        assert refused.value.code == 404
        refused.value.close()
        with urllib.request.urlopen(f"{url}/healthz", timeout=60) as answer:
            assert json.load(answer)["status"] == "ok"
    neither = _framepack("serve", "--no-ui", "--inbrowser", cwd=tmp_path)
    assert (neither.returncode, neither.stderr.count("\n")) == (2, 1)


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    with _serving(tmp_path):
        second = _framepack("serve", "--port", "0", "--data-dir", "data", cwd=tmp_path)
    assert second.returncode == 1
    assert second.stdout == ""
    assert "Traceback" not in second.stderr
    assert second.stderr.splitlines()[-1].startswith("Error: another server uses the data folder")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _framepack("serve", "--port", port, "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[service]\nprot = 1", "unknown setting service.prot"),
        ('[service]\nport = "x"', "setting service.port is 'x'"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text(text)
    done = _framepack("serve", cwd=tmp_path, FRAMEPACK_SETTINGS=str(settings))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
