"""The example with SD.Next's flags, as a process, against the real application."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.live_server import serving
from tests.helpers.service import VIDEO, FakeExecutor, a_picture, new_service

PROGRAM = Path(__file__).parents[3] / "examples" / "create_video.py"


def _run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SDAPI_")}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, **environment},
        check=False,
        timeout=120,
    )


def _request_of(executor: FakeExecutor) -> dict[str, Any]:
    return dict(executor.tasks[0].request)


def test_every_flag_arrives_and_the_video_lands(tmp_path: Path) -> None:
    start = a_picture(tmp_path / "start.png")
    end = a_picture(tmp_path / "end.png", color="red")
    executor = FakeExecutor()
    service = new_service(tmp_path, executor)
    _, secret = service.keys.create("anna")
    flags = "--resolution 64 --duration 4 --fps 24 --seed 7 --steps 5 --scale 2 --rescale 0.5"
    with serving(service) as url:
        done = _run(
            *("--init", str(start), "--end", str(end), "--prompt", "pan left"),
            *("--sections", "it stands\nit turns", *flags.split()),
            *("--distilled", "6", "--shift", "3", "--variant", "bi-directional"),
            cwd=tmp_path,
            SDAPI_URL=url,
            SDAPI_USR="anna",
            SDAPI_PWD=secret,
        )
    assert done.returncode == 0, done.stderr
    written = [tmp_path / line for line in done.stdout.splitlines()]
    assert VIDEO in [path.read_bytes() for path in written]
    request = _request_of(executor)
    asked = {
        "prompt": "pan left",
        "duration_s": 4,
        "fps": 24,
        "seed": 7,
        "num_inference_steps": 5,
        "true_cfg_scale": 2,
        "guidance_rescale": 0.5,
        "guidance_scale": 6,
        "shift": 3,
        "variant": "bi-directional",
    }
    assert {name: request[name] for name in asked} == asked
    assert [cue["prompt"] for cue in request["section_prompts"]] == ["it stands", "it turns"]
    assert Path(request["image"]).name.startswith("image")
    assert Path(request["end_image"]).name.startswith("end_image")


def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path) -> None:
    with serving(new_service(tmp_path)) as url:
        bad = _run("--prompt", "x", "--steps", "0", cwd=tmp_path, SDAPI_URL=url)
    assert bad.returncode == 1
    assert "steps" in bad.stderr
    assert bad.stdout == ""
    gone = _run("--prompt", "x", cwd=tmp_path, SDAPI_URL="http://127.0.0.1:9")
    assert gone.returncode == 1
    assert "127.0.0.1:9" in gone.stderr
    assert "Traceback" not in gone.stderr
