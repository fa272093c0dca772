"""A task in the worker: it resumes, mends, falls back, answers again, and never leaves a doubt."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.gate import Gate, written_beside
from tests.helpers.runs import SMALL, frames_of

import framepack
from framepack.domain.errors import DiskFull
from framepack.domain.fallbacks import FALLBACKS
from framepack.pipeline.components import Components
from framepack.pipeline.run_lock import RunLock
from framepack.service.files import JobFolder
from framepack.service.tasks import TaskEnd, TaskRunner, settings_of, settings_values

SETTINGS = framepack.Settings(device="cpu", dtype="float32")
LENGTH_S = 1.2
"""Three sections."""


class Trial:
    """One job's folder, and tries at it."""

    def __init__(self, path: Path, runner: TaskRunner | None = None) -> None:
        self.folder = JobFolder(path)
        self.folder.make()
        self.events: list[dict[str, Any]] = []
        self.runner = runner or TaskRunner(SETTINGS)
        self.watch: Callable[[dict[str, Any]], object] = lambda event: None

    def run(
        self,
        *,
        until: str = "",
        at: int = 1,
        fallback: int = 0,
        options: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> TaskEnd:
        """Try; be stopped after the ``at``-th event of that kind."""
        self.events = []
        task = {
            "folder": str(self.folder.path),
            "request": {**SMALL, "duration_s": LENGTH_S, **fields},
            "options": dict(options or {}),
            "fallback": fallback,
        }
        return self.runner.run(
            task,
            on_event=self._hear,
            is_stopped=lambda: bool(until) and self.kinds.count(until) >= at,
        )

    def _hear(self, event: Mapping[str, Any]) -> None:
        self.events.append(dict(event))
        self.watch(self.events[-1])

    @property
    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def video(self) -> Path:
        return self.folder.output / "video.mp4"


@pytest.fixture
def trial(tmp_path: Path, runner: TaskRunner) -> Trial:
    return Trial(tmp_path / "job", runner)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, components: Components
) -> np.ndarray[Any, Any]:
    output = tmp_path_factory.mktemp("undisturbed") / "out.mp4"
    framepack.generate(
        output=output, components=components, settings=SETTINGS, duration_s=LENGTH_S, **SMALL
    )
    return frames_of(output)


def test_a_task_leaves_a_video_and_says_what(
    trial: Trial, undisturbed: np.ndarray[Any, Any]
) -> None:
    end = trial.run()
    assert end.outcome == "finished"
    assert end.output["video"] == "video.mp4"
    assert end.output["thumbnail"] == "video.thumb.jpg"
    assert end.output["num_frames"] == len(undisturbed)
    assert np.array_equal(frames_of(trial.video), undisturbed)
    assert trial.kinds.count("SectionDone") == 3


def test_every_kind_of_output_is_named(trial: Trial) -> None:
    options = {"container": "mkv", "frames": "png", "raw": True, "thumbnail": False}
    end = trial.run(options=options, duration_s=0.4)
    names = {kind: end.output.get(kind) for kind in ("video", "thumbnail", "raw", "frames")}
    assert names == {
        "video": "video.mkv", "thumbnail": None, "raw": "video.safetensors", "frames": "frames",
    }  # fmt: skip
    assert len(list((trial.folder.output / "frames").iterdir())) == end.output["num_frames"]


def test_without_a_video_the_other_forms_are_left(trial: Trial) -> None:
    end = trial.run(options={"video": False, "raw": True}, duration_s=0.4)
    assert end.outcome == "finished", end.error
    assert "video" not in end.output
    assert end.output["raw"] == "video.safetensors"


def test_a_stopped_task_goes_on_where_it_was_and_makes_the_same_video(
    trial: Trial, undisturbed: np.ndarray[Any, Any]
) -> None:
    assert trial.run(until="StepDone", at=3).outcome == "stopped"
    assert trial.kinds.count("SectionDone") == 1
    assert trial.kinds[-1] == "StepDone"
    end = trial.run()
    assert end.outcome == "finished"
    # Of the first one somebody else may have been told, so it is told again.
    sections = [each for each in trial.events if each["event"] == "SectionDone"]
    assert [each["render_index"] for each in sections] == [0, 1, 2]
    assert trial.kinds.count("StepDone") == 4
    assert np.array_equal(frames_of(trial.video), undisturbed)


def test_what_is_decoded_when_it_is_stopped_is_kept(trial: Trial) -> None:
    asked_during_decoding = trial.run(until="StageStarted", at=4)  # load, encode, denoise, decode
    assert asked_during_decoding.outcome == "stopped"
    assert trial.events[-1]["stage"] == "decode"
    trial.folder.remove()
    trial.folder.make()
    trial.run(until="StageStarted", at=5)
    assert trial.kinds[-1] == "SectionDone"


def test_a_section_is_waited_for_as_long_as_it_is_being_written(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_beside(monkeypatch)
    gate, waited = Gate(monkeypatch), dict[str, bool]()

    def watch(event: dict[str, Any]) -> None:
        if event["event"] in ("StepDone", "SectionDone"):
            name = f"{event['event']} {event['render_index']}"
            waited.setdefault(name, trial.runner.is_worth_waiting)
        if event["event"] == "StepDone" and event["render_index"] == 1:
            gate.open()

    trial.watch = watch
    trial.run(duration_s=0.8)
    expected = {"StepDone 0": False, "StepDone 1": True, "SectionDone 0": False}
    assert {name: waited[name] for name in expected} == expected
    assert trial.kinds.count("SectionDone") == 2


def test_a_finished_task_is_not_done_again(trial: Trial) -> None:
    first = trial.run()
    before = trial.video.stat()
    again = trial.run()
    assert again.outcome == "finished"
    assert again.output == json.loads(json.dumps(first.output))
    assert trial.events == []
    assert trial.video.stat() == before


def test_a_video_that_was_delivered_but_not_told_of_is_not_rendered_again(
    trial: Trial, undisturbed: np.ndarray[Any, Any]
) -> None:
    trial.run()
    trial.folder.result.unlink()  # as if it were killed just before
    end = trial.run()
    assert end.outcome == "finished"
    assert "StepDone" not in trial.kinds
    assert np.array_equal(frames_of(trial.video), undisturbed)
    assert [each.name for each in sorted(trial.folder.output.iterdir())] == [
        "video.mp4",
        "video.thumb.jpg",
    ]


def test_a_run_that_another_process_works_in_is_busy(trial: Trial) -> None:
    trial.run(until="SectionDone")
    with RunLock(trial.folder.run / "lock"):
        assert trial.run().outcome == "busy"
    assert trial.run().outcome == "finished"


def test_a_busy_run_that_was_just_begun_is_left_alone(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another process resumes between the making of the directory and the first event.
    lock = RunLock(trial.folder.run / "lock")
    from framepack.pipeline.workspace import Workspace

    create = Workspace.create

    def taken(*args: Any) -> Workspace:
        made = create(*args)
        lock.acquire()
        return made

    monkeypatch.setattr(Workspace, "create", taken)
    assert trial.run().outcome == "busy"
    lock.release()
    assert (trial.folder.run / "run.json").is_file()
    assert trial.run().outcome == "finished"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-len(content) // 4] ^= 0x55
    path.write_bytes(content)


_FULL = pytest.mark.full


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        pytest.param("state.safetensors", _cut, id="state-cut"),
        pytest.param("state.safetensors", _flip, id="state-flipped", marks=_FULL),
        pytest.param("state.safetensors", Path.unlink, id="state-missing", marks=_FULL),
        pytest.param("conditions.safetensors", _cut, id="conditions-cut", marks=_FULL),
        pytest.param("conditions.safetensors", _flip, id="conditions-flipped"),
        pytest.param("segments/*.mp4", _cut, id="segment-cut", marks=_FULL),
        pytest.param("segments/*.mp4", _flip, id="segment-flipped"),
        pytest.param("segments/*.mp4", Path.unlink, id="segment-missing", marks=_FULL),
        pytest.param("run.json", _cut, id="run-cut"),
        pytest.param("run.json", Path.unlink, id="run-missing", marks=_FULL),
    ],
)
def test_a_damaged_checkpoint_is_made_again_and_the_video_is_the_same(
    trial: Trial, undisturbed: np.ndarray[Any, Any], pattern: str, damage: Any
) -> None:
    trial.run(until="SectionDone", at=2)
    (damaged,) = trial.folder.run.glob(pattern)
    damage(damaged)
    end = trial.run()
    assert end.outcome == "finished", end.error
    assert np.array_equal(frames_of(trial.video), undisturbed)


def test_bad_input_fails_with_its_own_words(trial: Trial) -> None:
    end = trial.run(image=str(trial.folder.inputs / "gone.png"))
    assert end.error is not None
    assert (end.outcome, end.error.code, end.leaves) == ("failed", "invalid_request", False)
    assert "gone.png does not exist" in end.error.message


def test_missing_weights_fail_with_their_own_words(trial: Trial) -> None:
    end = trial.run(model="i2v")
    assert end.error is not None
    assert (end.outcome, end.error.code) == ("failed", "missing_weights")


@pytest.mark.parametrize(
    ("error", "code", "leaves"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", 1),
        (MemoryError(), "out_of_memory", 1),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "internal", 1),
        (DiskFull("the disk has 1 MB free"), "disk_full", 0),
        (OSError(28, "No space left on device"), "disk_full", 0),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_every_error_has_a_code_and_what_was_finished_is_kept(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, leaves: int
) -> None:
    trial.run(until="SectionDone")

    def fail(*args: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Components, "decode", fail)
        end = trial.run()
    assert end.error is not None
    assert (end.outcome, end.error.code, end.leaves) == ("failed", code, bool(leaves))
    assert trial.run().outcome == "finished"
    assert trial.kinds.count("StepDone") == 4


@pytest.mark.parametrize(
    "fallback",
    [1, pytest.param(2, marks=_FULL), 3, pytest.param(4, marks=_FULL), len(FALLBACKS) - 1],
)
def test_each_fallback_makes_the_video(
    tmp_path: Path, undisturbed: np.ndarray[Any, Any], fallback: int
) -> None:
    trial = Trial(tmp_path / "job")
    assert trial.run(fallback=fallback).outcome == "finished"
    frames = frames_of(trial.video)
    assert frames.shape == undisturbed.shape
    error = np.abs(frames.astype(float) - undisturbed.astype(float)).mean()
    way = FALLBACKS[fallback]
    if way.half_precision:
        assert 0 < error < 8
    elif way.offload is None:
        assert error == 0
    else:  # streamed blocks are not fused, and the encoder makes more of what rounding differs
        assert error < 0.5


def test_a_run_goes_on_in_half_precision_after_memory_ran_out(trial: Trial) -> None:
    trial.run(until="SectionDone")
    end = trial.run(fallback=len(FALLBACKS) - 1)
    assert end.outcome == "finished", end.error
    assert trial.kinds.count("StepDone") == 4


def test_networks_stay_loaded_between_tasks_of_the_same_kind(tmp_path: Path, trial: Trial) -> None:
    trial.run(duration_s=0.4)
    assert trial.runner._loaded is not None
    loaded = trial.runner._loaded[1]
    trial.folder = JobFolder(tmp_path / "two")
    trial.folder.make()
    trial.run(duration_s=0.4, seed=8)
    assert trial.runner._loaded[1] is loaded
    assert trial.runner.facts()["device"] == "cpu"
    trial.folder = JobFolder(tmp_path / "three")
    trial.folder.make()
    trial.run(duration_s=0.4, seed=9, fallback=1)
    assert trial.runner._loaded[1] is not loaded


def test_settings_cross_the_pipe_with_their_secrets(tmp_path: Path) -> None:
    settings = framepack.Settings(device="cpu", remote_vae_api_key="s3cret", outputs_dir=tmp_path)
    values = json.loads(json.dumps(settings_values(settings)))
    assert settings_of(values) == settings


def test_networks_that_were_read_ahead_are_those_of_the_task(tmp_path: Path) -> None:
    runner = TaskRunner(SETTINGS)
    assert runner.load("tiny") is None
    assert runner.facts()["model"] == "tiny"
    assert runner._loaded is not None
    ahead = runner._loaded[1]
    assert all(slot.on_device for slot in ahead.networks.slots.values())
    assert Trial(tmp_path, runner).run().outcome == "finished"
    assert runner._loaded[1] is ahead


def test_weights_that_are_not_there_are_told_of(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"hf_home": tmp_path, "models_dir": None})
    runner = TaskRunner(settings)
    assert "i2v" in str(runner.load("i2v"))
    assert runner.facts()["model"] is None
