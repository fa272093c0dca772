"""Settings go from the API into a file, from there to the command line and back: byte for byte."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.runs import SECTION_FRAMES, SMALL, frames_of, seconds, write_picture
from tests.helpers.service import data_url
from tests.helpers.workshop import SETTINGS, Bench, working

from framepack.service.tasks import TaskRunner

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with working(tmp_path, TaskRunner(SETTINGS)) as found:
        yield found


def canonical(bench: Bench, request: dict[str, Any]) -> str:
    """A request as text, with checksums in the place of uploads."""

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        if isinstance(value, list):
            return [named(item) for item in value]
        if isinstance(value, str) and value.startswith("upload_"):
            path = bench.service.uploads.input(value, sees=None).path
            return hashlib.sha256(path.read_bytes()).hexdigest()
        return value

    return json.dumps(named(request), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def carried(bench: Bench, path: Path) -> dict[str, Any]:
    """The request in a file, as the API gives it."""
    with path.open("rb") as file:
        answer = bench.client.post("/v1/inspect", files={"file": (path.name, file)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["notes"] == []
    request: dict[str, Any] = answer.json()["request"]
    return request


def generated(source: Path, output: Path) -> Path:
    """The video that the command line makes of the request in a file."""
    command = [sys.executable, "-m", "framepack", "generate", "--from", source, "--output", output]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    options = ["--quiet", "--device", "cpu", "--dtype", "float32"]
    done = subprocess.run(
        [*map(str, command), *options],
        capture_output=True,
        text=True,
        env=environment,
        cwd=output.parent,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return output


def test_settings_come_back_byte_for_byte(bench: Bench, tmp_path: Path) -> None:
    start, end, other = (
        data_url(write_picture(tmp_path / f"{seed}.png", seed=seed, size=(64, 64)))
        for seed in range(3)
    )
    asked = {
        **SMALL,
        "prompt": "ein Würfel „rollt“ 🎲\nnach links",
        "negative_prompt": "blur",
        "duration_s": seconds(3 * SECTION_FRAMES + 1),
        "image": start,
        "end_image": end,
        "start_strength": 0.9,
        "true_cfg_scale": 1.5,
        "section_prompts": "0: it rolls\n-1: it stops",
        "section_images": [{"section": 1, "image": other}],
        "section_seeds": {"1": 5},
        "blend_sections": 1,
        "crf": 20,
    }
    first = bench.make(**asked)
    video = bench.video(first)
    request = carried(bench, video)
    text = canonical(bench, request)

    # The request in the file, sent to the API: the job says it, and so does its file.
    second = bench.finished(bench.post("videos", request)["id"])
    assert canonical(bench, bench.post(f"videos/{second}/reuse")["request"]) == text
    assert canonical(bench, carried(bench, bench.video(second))) == text

    # The same file, given to the command line; and what that wrote.
    made = generated(video, tmp_path / "made.mp4")
    assert canonical(bench, carried(bench, made)) == text

    # What was asked first, without all that was decided from it.
    reused = bench.post(f"videos/{first}/reuse")["request"]
    assert set(reused) < set(request)
    third = bench.finished(bench.post("videos", reused)["id"])
    assert canonical(bench, carried(bench, bench.video(third))) == text

    frames = frames_of(video)
    for path in (bench.video(second), made, bench.video(third)):
        np.testing.assert_array_equal(frames, frames_of(path))
