"""A run that is killed, at any moment, and finished later: the same video, frame by frame."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.runs import (
    SECTION_FRAMES,
    SMALL,
    frames_of,
    seconds,
    stop_after_section,
    write_picture,
)

import framepack
from framepack.domain.events import Event
from framepack.pipeline.components import Components, load_components

SOURCE = Path(framepack.__file__).parents[1]
VARIANTS = ("bi-directional", "forward-only")
NUM_FRAMES = 3 * SECTION_FRAMES + 1

# Makes a video and says what it does; started as a process of its own, to be killed.
CHILD = """
import json, sys
import framepack
from framepack.pipeline import storing
if sys.argv[2] == "beside":
    storing.costs_nothing_beside = lambda device: True
for event in framepack.stream(**json.loads(sys.argv[1])):
    print(type(event).__name__, flush=True)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_picture(tmp_path_factory.mktemp("input") / "start.png")


def _arguments(folder: Path, picture: Path, variant: str) -> dict[str, Any]:
    return {
        **SMALL,
        "variant": variant,
        "image": str(picture),
        "duration_s": seconds(NUM_FRAMES),
        "output": str(folder / "out.mp4"),
        "run_dir": str(folder / "run"),
    }


class Reference(NamedTuple):
    """An undisturbed run in a process of its own."""

    frames: NDArray[np.uint8]
    num_events: int
    event_s: float
    """Mean seconds from one event to the next."""


def _start(arguments: dict[str, Any], stored: str = "in turn") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(arguments), stored],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "FRAMEPACK_DTYPE": "float32"},
        text=True,
    )


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, picture: Path) -> dict[str, Reference]:
    made: dict[str, Reference] = {}
    for variant in VARIANTS:
        folder = tmp_path_factory.mktemp(variant)
        with _start(_arguments(folder, picture, variant)) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "Planned\n"
            begun = time.monotonic()
            events = child.stdout.readlines()
        assert events[-1] == "Finished\n"
        made[variant] = Reference(
            frames_of(folder / "out.mp4"), len(events), (time.monotonic() - begun) / len(events)
        )
    return made


def _start_and_kill(
    arguments: dict[str, Any], num_events: int, delay_s: float, stored: str
) -> None:
    """Start a run and kill it some time after so many events."""
    with _start(arguments, stored) as child:
        assert child.stdout is not None
        for _ in range(num_events):
            assert child.stdout.readline()
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
    assert child.returncode in (0, -signal.SIGKILL)


_QUICK = {(7, "in turn"), (12, "in turn"), (8, "beside")}
_KILLS = [(number, stored) for stored in ("in turn", "beside") for number in range(20)]


@pytest.mark.parametrize(
    ("number", "stored"),
    [kill if kill in _QUICK else pytest.param(*kill, marks=pytest.mark.full) for kill in _KILLS],
)
def test_a_killed_run_is_finished_frame_by_frame_the_same(
    number: int,
    stored: str,
    tmp_path: Path,
    picture: Path,
    references: dict[str, Reference],
    components: Components,
) -> None:
    variant = VARIANTS[number % 2]
    reference = references[variant]
    chance = random.Random(number)
    # One kill in each tenth of the run, so that few of them still cover all of it. It is told by
    # events, because seconds depend on what else the machine does.
    share = (number // 2 + chance.random()) / 10
    num_events = 1 + int(share * reference.num_events)
    delay_s = chance.random() * reference.event_s
    _start_and_kill(_arguments(tmp_path, picture, variant), num_events, delay_s, stored)
    if (tmp_path / "run" / "run.json").exists():  # else it died after its last act
        framepack.resume(tmp_path / "run", components=components)
    assert not (tmp_path / "run").exists()
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mp4"), reference.frames)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_resumes_from_what_is_on_disk_after_every_event(
    tmp_path: Path,
    picture: Path,
    references: dict[str, Reference],
    components: Components,
    variant: str,
) -> None:
    """Copies the run directory at each event, as if the power had failed there."""
    snapshots: dict[str, Path] = {}
    events = framepack.stream(**_arguments(tmp_path, picture, variant), components=components)
    for event in events:
        name = _moment(event)
        if (tmp_path / "run").exists() and name is not None:
            snapshots[name] = tmp_path / name
            shutil.copytree(tmp_path / "run", snapshots[name] / "run")
    assert len(snapshots) == 7
    for name, folder in snapshots.items():
        _redirect(folder / "run", folder / "out.mp4")
        result = framepack.resume(folder / "run", components=components)
        np.testing.assert_array_equal(
            frames_of(result.path), references[variant].frames, err_msg=name
        )


def _moment(event: Event) -> str | None:
    """A name for the moments that differ on disk: first event, before and after each commit."""
    values = event.to_dict()
    if values["event"] == "Planned":
        return "planned"
    if values["event"] == "StageStarted" and values["stage"] == "write" and values["section"]:
        return f"decoded-{values['section']}"
    if values["event"] == "SectionDone":
        return f"done-{values['section']}"
    if values["event"] == "StageStarted" and values["section"] is None:
        return "rendered" if values["stage"] == "write" else None
    return None


def _redirect(run: Path, output: Path) -> None:
    path = run / "run.json"
    document = json.loads(path.read_text())
    document["delivery"]["outputs"]["video"] = str(output)
    path.write_text(json.dumps(document))


def test_a_resumed_run_loads_no_encoder(
    tmp_path: Path, picture: Path, components: Components
) -> None:
    arguments = _arguments(tmp_path, picture, VARIANTS[0])
    events = framepack.stream(**arguments, components=components)
    stop_after_section(events)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    _redirect(tmp_path / "copy", tmp_path / "again.mp4")
    settings = framepack.Settings(device="cpu", dtype="float32")
    loaded: list[str] = []

    def load(*args: Any, **options: Any) -> Components:
        return load_components(*args, progress=loaded.append, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("framepack.pipeline.components.load_components", load)
        framepack.resume(tmp_path / "copy", settings=settings)
    assert sorted(loaded) == ["transformer", "vae"]


def test_a_run_of_other_weights_is_not_continued(
    tmp_path: Path, picture: Path, components: Components
) -> None:
    events = framepack.stream(**_arguments(tmp_path, picture, VARIANTS[0]), components=components)
    stop_after_section(events)
    path = tmp_path / "run" / "run.json"
    document = json.loads(path.read_text())
    document["components"]["vae"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(framepack.WorkspaceError, match="began with other weights: vae changed"):
        framepack.resume(tmp_path / "run", components=components)
    assert (tmp_path / "run" / "state.safetensors").exists()


def test_resuming_where_there_is_no_run_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(framepack.InvalidRequest, match="holds no run"):
        framepack.resume(tmp_path / "nowhere")
