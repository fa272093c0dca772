"""Servers and checks for the tests in a browser."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

__all__ = ["PICTURES", "Studio", "axe_faults", "find_browser", "running_studio"]

PICTURES = Path(__file__).parents[2] / "examples"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The browser of this machine: a path, or None."""
    named = os.environ.get("FRAMEPACK_TEST_BROWSER")
    if named:
        return named
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


@dataclass
class Studio:
    """A server in a process of its own.

    Attributes:
        url: where it answers.
        data: its data folder.
        folder: settings, outputs and everything else.
        options: further options of ``serve``.
    """

    folder: Path
    options: tuple[str, ...] = ()
    url: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _port: int = 0
    _client: httpx2.Client | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def api(self) -> httpx2.Client:
        """A client of the same server; it is closed when the server stops."""
        if self._client is None:
            self._client = httpx2.Client(base_url=self.url, timeout=60)
        return self._client

    def start(self) -> None:
        """Start it, at the port that it had before."""
        settings = self.folder / "settings.toml"
        if not settings.exists():
            settings.write_text(f'outputs_dir = "{(self.folder / "outputs").as_posix()}"\n')
        command = [sys.executable, "-m", "framepack", "serve", "--port", str(self._port)]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.data), "-q", *self.options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "FRAMEPACK_SETTINGS": str(settings), "OMP_NUM_THREADS": "1"},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("http"), (self.folder / "server.log").read_text()
        self.url = line.rstrip("/")
        self._port = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def make(self, **request: Any) -> dict[str, Any]:
        """Have a video made and wait for it: a small and quick one unless said otherwise."""
        fields = {"model": "tiny", "prompt": "the camera pans left", "duration_s": 1, "seed": 1}
        return self.wait(self.queue(**{**fields, **request})["id"])

    def queue(self, **request: Any) -> dict[str, Any]:
        """Have a video queued."""
        answer = self.api.post("/v1/videos", json=request)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, video_id: str, *states: str, timeout_s: float = 120) -> dict[str, Any]:
        """Wait until a video is completed, or in another of some states."""
        wanted = states or ("completed",)
        ends = time.monotonic() + timeout_s
        while True:
            video: dict[str, Any] = self.api.get(f"/v1/videos/{video_id}").json()
            if video["state"] in wanted:
                return video
            assert video["state"] != "failed", video["error"]
            assert time.monotonic() < ends, f"{video_id} is still {video['state']}"
            time.sleep(0.2)

    def picture(self, name: str = "start.png", colour: str = "#3355aa") -> Path:
        """A picture of one colour."""
        path = self.folder / name
        Image.new("RGB", (160, 120), colour).save(path)
        return path


@contextmanager
def running_studio(folder: Path, *options: str) -> Iterator[Studio]:
    """A server in an empty folder, while the block runs."""
    studio = Studio(folder, options)
    studio.start()
    try:
        yield studio
    finally:
        studio.stop()


def axe_faults(page: Any) -> list[str]:
    """Serious and critical faults, as lines that name the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: "
        + "; ".join(str(node["html"])[:160] for node in fault["nodes"][:4])
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
