"""The Python face: its names, what it imports, and how requests and fields mix."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.runs import SMALL, make_video, seconds

import framepack
from framepack import api
from framepack.domain.events import Planned
from framepack.domain.plan import Plan
from framepack.pipeline.components import Components

# --- the Python face itself ---


def test_public_names_are_pinned() -> None:
    assert sorted(framepack.__all__) == [
        "CheckpointError",
        "Clip",
        "DriftReport",
        "Event",
        "Finished",
        "FramePackError",
        "FramePackPipeline",
        "FramePackTransformer3DModel",
        "GenerationRequest",
        "Inspection",
        "InvalidRequest",
        "LicenceNotAccepted",
        "MemoryRanOut",
        "MissingWeights",
        "Plan",
        "Planned",
        "Result",
        "Section",
        "SectionDone",
        "Settings",
        "StageStarted",
        "StepDone",
        "TINY",
        "WorkspaceError",
        "__version__",
        "edit_clip",
        "extend",
        "generate",
        "inspect",
        "measure_drift",
        "plan",
        "redo",
        "resume",
        "save_partial",
        "stream",
        "stream_extend",
        "stream_redo",
        "stream_resume",
        "upscale",
    ]
    assert all(getattr(framepack, name) is not None for name in framepack.__all__)
    assert all(getattr(api, name).__doc__ for name in api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        framepack.nothing  # noqa: B018


def _in_a_new_process(code: str) -> str:
    source = str(Path(framepack.__file__).parents[1])
    prelude = f"import sys; sys.path.insert(0, {source!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_is_quick_and_brings_no_torch() -> None:
    code = (
        "import time; start = time.process_time(); import framepack\n"
        "print(time.process_time() - start, 'torch' in sys.modules)"
    )
    taken, has_torch = _in_a_new_process(code).split()
    assert float(taken) < 0.5
    assert has_torch == "False"


def test_planning_and_inspecting_bring_no_torch(tmp_path: Path, components: Components) -> None:
    video = make_video(tmp_path, components, duration_s=seconds(9)).path
    code = (
        "import framepack\n"
        "plan = framepack.plan(prompt='x', model='i2v', duration_s=60)\n"
        f"info = framepack.inspect({str(video)!r}).info\n"
        "print(plan.num_frames, plan.num_sections, info.num_frames, 'torch' in sys.modules)"
    )
    assert _in_a_new_process(code).split() == ["1800", "51", "9", "False"]


def test_a_plan_needs_no_model_name() -> None:
    plan = framepack.plan(prompt="x", seed=1)
    assert plan.model == "tiny"
    assert any("Model tiny" in note for note in plan.notes)


def test_a_plan_says_that_an_animation_is_taken_for_a_picture(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    line = "The start picture is an animation: its first frame is used."
    assert line in framepack.plan(image=tmp_path / "moving.gif", model="tiny").notes
    assert line not in framepack.plan(image=tmp_path / "still.gif", model="tiny").notes


def test_a_request_and_fields_can_be_mixed() -> None:
    request = framepack.GenerationRequest(prompt="x", model="tiny", seed=1)
    plan = framepack.plan(request, seed=2, duration_s=1)
    assert (plan.seed, plan.num_frames, plan.request.prompt) == (2, 30, "x")


def test_the_first_event_is_the_plan(tmp_path: Path, components: Components) -> None:
    events = framepack.stream(
        **SMALL, duration_s=seconds(9), output=tmp_path / "out.mp4", components=components
    )
    first = next(iter(events))
    assert isinstance(first, Planned)
    assert Plan.model_validate(first.plan).num_frames == 9


def test_loaded_components_are_the_model(tmp_path: Path, components: Components) -> None:
    fields = {**SMALL, "duration_s": seconds(9), "components": components}
    result = framepack.generate(output=tmp_path / "out.mp4", **{**fields, "model": None})
    assert result.plan.model == "tiny"
    with pytest.raises(framepack.InvalidRequest, match="model i2v, but the components are of tiny"):
        framepack.stream(output=tmp_path / "other.mp4", **{**fields, "model": "i2v"})
    assert not (tmp_path / "other.mp4").exists()
