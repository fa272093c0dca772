"""The program as people run it: a process with arguments, output, an exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from framepack.domain.events import Event, Finished, Planned, StepDone
from framepack.media.video import probe

ROOT = Path(__file__).parents[2]
# Small and quick; the picture decides the shape.
QUICK = ["--prompt", "the camera pans left", "--resolution", "64", "--steps", "2", "--seed", "3"]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **more}


def _framepack(
    *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "framepack", *arguments],
        capture_output=True,
        cwd=cwd,
        env=_environment(**environment),
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    y, x = np.mgrid[0:96, 0:96]
    pixels = np.stack([x * 2, y * 2, (x + y) % 256], axis=-1).astype(np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


def test_generate_makes_the_planned_video_and_inspect_reads_it(
    picture: Path, tmp_path: Path
) -> None:
    video = tmp_path / "out.mp4"
    arguments = ["--image", str(picture), "--duration", "1.5", *QUICK, "-o", str(video)]
    done = _framepack("generate", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [str(video)]
    shown = done.stderr.decode()
    assert "\nModel tiny (embedded): " in shown
    assert "start picture to video, tiny forward-only: 64x64, 45 frames" in shown
    assert "section 2/2, step 2/2" in shown
    assert probe(video).num_frames == 45
    assert (tmp_path / "out.thumb.jpg").exists()
    assert not list((tmp_path / "outputs").glob("runs/*"))

    told = _framepack("inspect", str(video), "--json", cwd=tmp_path)
    assert told.returncode == 0
    document = json.loads(told.stdout)
    assert document["request"]["seed"] == 3
    assert document["plan"]["num_frames"] == document["video"]["num_frames"] == 45
    assert len(document["components"]["transformer"]) == 64
    assert document["statistics"]["num_sections"] == 2
    assert document["pictures"] == ["image"]


def test_json_is_events_alone(tmp_path: Path) -> None:
    arguments = ["--duration", "0.5", *QUICK, "-o", str(tmp_path / "a.mp4"), "--no-metadata"]
    done = _framepack("generate", *arguments, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    events = [Event.from_dict(json.loads(line)) for line in done.stdout.splitlines()]
    assert isinstance(events[0], Planned)
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, StepDone) for event in events) == 2
    told = _framepack("inspect", str(tmp_path / "a.mp4"), "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["is_framepack"] is False


def test_a_name_is_found_when_none_is_given(tmp_path: Path) -> None:
    done = _framepack("generate", "--duration", "0.2", *QUICK, "-q", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == b""
    video = Path(done.stdout.decode().strip())
    assert video.parent == tmp_path / "outputs"
    assert probe(video).num_frames == 6


def test_a_console_without_the_letters_of_the_prompt_is_no_obstacle(tmp_path: Path) -> None:
    prompt = "a caf\u00e9 in \u6771\u4eac \U0001f3ac"
    arguments = ["--prompt", prompt, "--duration", "0.2", "--steps", "1", "--resolution", "64"]
    for command in ("plan", "generate"):
        done = _framepack(command, *arguments, cwd=tmp_path, PYTHONIOENCODING="cp1252")
        assert done.returncode == 0, done.stderr.decode("cp1252")
    planned = _framepack("plan", *arguments, "--json", cwd=tmp_path, PYTHONIOENCODING="cp1252")
    assert json.loads(planned.stdout)["request"]["prompt"] == prompt


@contextmanager
def _running(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "framepack", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment(),
        # A test run in the background of a script may have been told to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _read_until(process: subprocess.Popen[bytes], name: str) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"the run ended before {name}")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to other processes")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)]
)
def test_a_stopped_run_says_how_to_go_on_and_resume_goes_on(
    number: signal.Signals, picture: Path, tmp_path: Path
) -> None:
    video, run_dir = tmp_path / "out.mp4", tmp_path / "my run"
    arguments = ["--image", str(picture), "--duration", "2.4", "--steps", "8", *QUICK[:4]]
    arguments += ["--seed", "3", "-o", str(video), "--run-dir", str(run_dir), "--json"]
    with _running("generate", *arguments, cwd=tmp_path) as process:
        _read_until(process, "SectionDone")
        step = _read_until(process, "StepDone")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    later = [json.loads(line) for line in out.splitlines()]
    assert sum(event["event"] == "StepDone" for event in later) <= 2, (step, later)
    assert err.decode().splitlines()[-1] == (f"Cancelled. Go on with: framepack resume '{run_dir}'")
    assert not video.exists()

    # Stopped again, now keeping what there is.
    with _running("resume", str(run_dir), "--keep-partial", "--json", cwd=tmp_path) as process:
        _read_until(process, "StepDone")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    frames = probe(video).num_frames
    assert 0 < frames < 72
    said = err.decode().splitlines()[-1]
    assert said.startswith(f"Cancelled. The video has the {frames} frames that were finished. Go")

    done = _framepack("resume", str(run_dir), "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == str(video)
    assert probe(video).num_frames == 72
    assert not run_dir.exists()


def test_program_and_import_start_quickly(tmp_path: Path) -> None:
    # Processor time, because the machine that runs tests does other things as well.
    timed = "import time; {}; print(time.process_time())"
    for code, limit_s in (
        ("import framepack", 0.5),
        ("from framepack.cli.main import main; main(['--help'])", 1.0),
    ):
        times = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", timed.format(code)],
                capture_output=True,
                env=_environment(),
                cwd=tmp_path,
                check=True,
            )
            times.append(float(done.stdout.split()[-1]))
        assert min(times) < limit_s, (code, times)


def test_a_reader_that_leaves_early_is_no_crash(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "framepack", "plan", "--duration", "3600", "--json", "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=_environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1
