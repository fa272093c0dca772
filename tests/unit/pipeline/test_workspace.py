import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.runs import plan_without_model

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.codecs import h264_format
from framepack.media.outputs import Outputs
from framepack.media.video import read_frames
from framepack.media.writer import VideoWriter
from framepack.models.encoders import PromptEmbeds
from framepack.pipeline.conditions import Conditions, Pictures
from framepack.pipeline.decode import Seam
from framepack.pipeline.delivery import Delivery
from framepack.pipeline.history import LatentHistory
from framepack.pipeline.run_state import RunState
from framepack.pipeline.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return _create(tmp_path / "run", tmp_path / "out.mp4")


def _create(directory: Path, output: Path, pictures: Pictures | None = None) -> Workspace:
    plan = plan_without_model(duration_s=3.0)
    return Workspace.create(directory, plan, Delivery(Outputs(output)), pictures or Pictures())


def _conditions() -> Conditions:
    embeds = PromptEmbeds(torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.bool), torch.ones(1))
    latent = torch.randn(1, 4, 1, 2, 2)
    return Conditions({"x": embeds}, None, latent, latent, None, torch.randn(1, 2, 3))


def _frames(count: int) -> list[np.ndarray]:
    return [np.full((count, 16, 16, 3), 100, dtype=np.uint8)]


def _state(workspace: Workspace) -> RunState:
    segment = workspace.write_segment("000001", 12, _frames(3))
    assert segment is not None
    return RunState(
        num_done=2,
        history=LatentHistory(torch.randn(1, 4, 19, 2, 2), grows_backward=True),
        seam=Seam(torch.randn(1, 3, 9, 16, 16), 3),
        segments=(segment,),
        statistics={"num_steps": 8},
    )


def test_segments_are_encoded_as_the_request_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    class Writer(VideoWriter):
        def __init__(self, path: Path, **options: Any) -> None:
            asked.update(options)
            super().__init__(path, **options)

    monkeypatch.setattr("framepack.pipeline.workspace.VideoWriter", Writer)
    plan = plan_without_model(duration_s=3.0, fps=12.5, crf=31, preset="veryfast")
    workspace = Workspace.create(
        tmp_path / "run", plan, Delivery(Outputs(tmp_path / "o.mp4")), Pictures()
    )
    workspace.write_segment("x", 0, _frames(2))
    chosen = h264_format(31, "veryfast")
    assert asked == {"width": 16, "height": 16, "fps": 12.5, "video_format": chosen}


def test_a_run_is_found_again_as_it_was_made(workspace: Workspace, tmp_path: Path) -> None:
    again = Workspace.open(workspace.directory)
    assert again.plan == workspace.plan
    assert again.delivery == Delivery(Outputs(tmp_path / "out.mp4"))
    assert again.load_conditions() is None
    assert again.load_state() is None


def test_a_relative_output_stays_where_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _create(tmp_path / "run", Path("out.mp4"))
    monkeypatch.chdir("/")
    assert Workspace.open(tmp_path / "run").delivery.path == tmp_path / "out.mp4"


def test_pictures_are_kept_pixel_for_pixel(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pictures = Pictures(start=Image.fromarray(noise))
    kept = _create(tmp_path / "run", tmp_path / "out.mp4", pictures).pictures()
    assert kept.start is not None
    np.testing.assert_array_equal(np.asarray(kept.start), noise)
    assert kept.end is None


def test_state_and_conditions_come_back_bit_equal(workspace: Workspace) -> None:
    state, conditions = _state(workspace), _conditions()
    workspace.save_conditions(conditions)
    workspace.commit(state)
    again = Workspace.open(workspace.directory)
    loaded = again.load_state()
    assert loaded is not None
    assert loaded.seam is not None
    assert state.seam is not None
    assert torch.equal(loaded.history.latents, state.history.latents)
    assert torch.equal(loaded.seam.pixels, state.seam.pixels)
    assert replace(loaded, history=state.history, seam=state.seam) == state
    assert loaded.history.grows_backward
    assert loaded.seam.start_frame == 3
    found = again.load_conditions()
    assert found is not None
    assert torch.equal(found.start_latent, conditions.start_latent)


def test_a_state_without_seam_comes_back_without_seam(workspace: Workspace) -> None:
    workspace.commit(replace(_state(workspace), seam=None))
    loaded = workspace.load_state()
    assert loaded is not None
    assert loaded.seam is None


def test_segments_are_played_by_their_place(workspace: Workspace) -> None:
    segments = [workspace.write_segment(f"{i}", i * 3, _frames(3)) for i in (2, 0, 1)]
    paths = workspace.in_play_order([segment for segment in segments if segment])
    assert [path.stem for path in paths] == ["0", "1", "2"]


def test_no_frames_make_no_segment(workspace: Workspace) -> None:
    assert workspace.write_segment("x", 0, []) is None
    assert not workspace.segment_path("x").exists()


def test_a_leftover_segment_is_overwritten(workspace: Workspace) -> None:
    workspace.segment_path("x").write_bytes(b"half a segm")
    segment = workspace.write_segment("x", 0, _frames(4))
    assert segment is not None
    assert segment.num_frames == 4
    assert len(list(read_frames(workspace.segment_path("x")))) == 4


def _flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


class Damage(NamedTuple):
    name: str
    message: str


@pytest.mark.parametrize(
    "damage",
    [
        Damage("state.safetensors", r"state\.safetensors is damaged.*delete .* render again"),
        Damage("segments/000001.mp4", r"000001\.mp4 is damaged .*delete .* render again"),
        Damage("conditions.safetensors", r"conditions.* is damaged.*delete .* encode the inputs"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(workspace: Workspace, damage: Damage) -> None:
    workspace.save_conditions(_conditions())
    workspace.commit(_state(workspace))
    _flip_last_byte(workspace.directory / damage.name)
    with pytest.raises(WorkspaceError, match=damage.message):
        (workspace.load_conditions(), workspace.load_state())


def test_a_lost_segment_is_named(workspace: Workspace) -> None:
    workspace.commit(_state(workspace))
    workspace.segment_path("000001").unlink()
    with pytest.raises(WorkspaceError, match=r"000001\.mp4 is missing"):
        workspace.load_state()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 2, "plan": {}}']
)
def test_a_damaged_description_is_one_clear_error(workspace: Workspace, text: str) -> None:
    (workspace.directory / "run.json").write_text(text)
    with pytest.raises(WorkspaceError, match=r"run\.json is damaged .*; delete "):
        Workspace.open(workspace.directory)


def test_a_run_of_a_later_version_is_refused(workspace: Workspace) -> None:
    path = workspace.directory / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(WorkspaceError, match="written in format 99, this version reads 2"):
        Workspace.open(workspace.directory)


def test_a_directory_without_a_run_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="holds no run"):
        Workspace.open(tmp_path)


def test_a_second_run_in_one_directory_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="already holds a run; continue it with"):
        _create(workspace.directory, tmp_path / "other.mp4")


def test_other_peoples_files_are_not_worked_among(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidRequest, match=r"holds other files \(.*\); name a new directory"):
        _create(tmp_path, tmp_path / "out.mp4")


def test_removing_a_run_leaves_what_came_later(workspace: Workspace) -> None:
    workspace.commit(_state(workspace))
    (workspace.directory / ".state.safetensors.12345678.part").touch()
    (workspace.directory / "notes.txt").touch()
    workspace.remove()
    assert [path.name for path in workspace.directory.iterdir()] == ["notes.txt"]


def test_removing_a_run_removes_its_directory(workspace: Workspace) -> None:
    workspace.commit(_state(workspace))
    with workspace:
        workspace.remove()
    assert not workspace.directory.exists()


def test_other_weights_are_refused_by_name(workspace: Workspace) -> None:
    workspace.bind({"vae": "a", "transformer": "b"}, {})
    again = Workspace.open(workspace.directory)
    again.bind({"vae": "a", "transformer": "b"}, {})
    with pytest.raises(WorkspaceError, match="began with other weights: transformer changed"):
        again.bind({"vae": "a", "transformer": "c"}, {})


def test_another_machine_may_go_on_but_is_warned(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.bind({"vae": "a"}, {"device": "cuda", "dtype": "bfloat16"})
    Workspace.open(workspace.directory).bind({"vae": "a"}, {"device": "cpu", "dtype": "bfloat16"})
    assert [record.getMessage() for record in caplog.records] == [
        "the run began with device cuda and goes on with cpu: sections will not match exactly"
    ]


def test_what_a_run_was_made_with_is_known_when_it_goes_on(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    assert workspace.made_with == {}
    workspace.bind({"vae": "a"}, {"attention": "flash"})
    again = Workspace.open(workspace.directory)
    assert again.made_with == {"attention": "flash"}
    again.bind({"vae": "a"}, {"attention": "flash", "compile": "off"})
    assert caplog.text == ""
    again.bind({"vae": "a"}, {"attention": "sdpa", "compile": "off"})
    assert "began with attention flash and goes on with sdpa" in caplog.text


def test_two_processes_cannot_work_in_one_run(workspace: Workspace) -> None:
    with workspace, pytest.raises(WorkspaceError, match="is in use by process"):
        Workspace.open(workspace.directory).__enter__()


def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WorkspaceError, match=r"has 1 MB free, this video may need .* MB; free"):
        _create(tmp_path / "run", tmp_path / "out.mp4")
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((WorkspaceError, InvalidRequest), match="another"):
        _create(tmp_path / "file", tmp_path / "out.mp4")
    with pytest.raises(WorkspaceError, match=r"cannot write .*; choose another run directory"):
        _create(tmp_path / "file" / "run", tmp_path / "out.mp4")


def test_removing_a_run_takes_what_a_killed_process_left_half_written(workspace: Workspace) -> None:
    for name in (".state.safetensors.0a1b2c3d.part", ".tmpmNHc6I"):
        (workspace.directory / name).write_bytes(b"half")
    workspace.remove()
    assert not workspace.directory.exists()
