"""Sections that are written while the next one is denoised: nothing is told or lost too early."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.gate import Gate, written_beside
from tests.helpers.runs import SECTION_FRAMES, SMALL, frames_of, seconds

import framepack
from framepack.api import drain
from framepack.domain.errors import DiskFull, WorkspaceError
from framepack.domain.events import Event, MemoryRanOut, SectionDone, StageStarted, StepDone
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.components import Components
from framepack.pipeline.workspace import Workspace

VARIANTS = ("bi-directional", "forward-only")


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, components: Components
) -> dict[str, NDArray[np.uint8]]:
    """Frames by variant, of runs whose sections are written in turn."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for variant in VARIANTS:
        list(_stream(folder, components, variant))
    return {variant: frames_of(folder / f"{variant}.mp4") for variant in VARIANTS}


@pytest.fixture(autouse=True)
def _beside(undisturbed: object, monkeypatch: pytest.MonkeyPatch) -> None:
    written_beside(monkeypatch)


def _stream(folder: Path, components: Components, variant: str = VARIANTS[0]) -> Iterator[Event]:
    return framepack.stream(
        **{**SMALL, "variant": variant},
        duration_s=seconds(2 * SECTION_FRAMES + 5),
        output=folder / f"{variant}.mp4",
        run_dir=folder / "run",
        components=components,
    )


def _num_stored(folder: Path) -> int:
    state = Workspace.open(folder / "run").load_state()
    return state.num_done if state is not None else 0


def _is_step(event: Event, render_index: int) -> bool:
    return isinstance(event, StepDone) and event.render_index == render_index


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_video_is_that_of_a_run_that_writes_in_turn(
    tmp_path: Path,
    components: Components,
    undisturbed: dict[str, NDArray[np.uint8]],
    variant: str,
) -> None:
    done = []
    for event in _stream(tmp_path, components, variant):
        if isinstance(event, SectionDone):
            done.append(event)
            assert _num_stored(tmp_path) == len(done), "what is told is on the disk"
    assert [event.render_index for event in done] == [0, 1, 2]
    assert all(event.seconds > 0 for event in done)
    np.testing.assert_array_equal(frames_of(tmp_path / f"{variant}.mp4"), undisturbed[variant])
    assert not [each for each in threading.enumerate() if "framepack" in each.name]


def test_the_next_section_is_denoised_while_one_is_written(
    tmp_path: Path, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    told: list[Event] = []
    for event in _stream(tmp_path, components):
        told.append(event)
        if _is_step(event, 1) and sum(_is_step(each, 1) for each in told) == 2:
            # Every step of the second section is done, and the first one is not on the disk.
            assert not any(isinstance(each, SectionDone) for each in told)
            assert _num_stored(tmp_path) == 0
            gate.open()
    first = next(i for i, event in enumerate(told) if isinstance(event, SectionDone))
    begun = told[first + 1]
    assert isinstance(begun, StageStarted)
    assert (begun.stage, begun.section) == ("decode", 1), "sections are stored one at a time"


def test_a_section_that_is_being_written_when_the_run_is_cancelled_is_kept(
    tmp_path: Path,
    components: Components,
    undisturbed: dict[str, NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, events = Gate(monkeypatch), _stream(tmp_path, components)
    while not _is_step(next(events), 1):
        pass
    assert _num_stored(tmp_path) == 0
    threading.Timer(0.2, gate.open).start()
    events.close()  # type: ignore[attr-defined]
    assert _num_stored(tmp_path) == 1
    steps = [
        event
        for event in framepack.stream_resume(tmp_path / "run", components=components)
        if isinstance(event, StepDone)
    ]
    assert {step.render_index for step in steps} == {1, 2}
    video = tmp_path / f"{VARIANTS[0]}.mp4"
    np.testing.assert_array_equal(frames_of(video), undisturbed[VARIANTS[0]])


@pytest.mark.parametrize(
    ("error", "raised"),
    [(DiskFull("the disk is full"), DiskFull), (MemoryError("of the host"), WorkspaceError)],
)
def test_a_section_that_cannot_be_written_ends_the_run_and_is_made_again(
    tmp_path: Path,
    components: Components,
    undisturbed: dict[str, NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
) -> None:
    gate, told = Gate(monkeypatch, error), list[Event]()

    def hear(event: Event) -> None:
        told.append(event)
        if _is_step(event, 1):
            gate.open()

    with pytest.raises(raised, match=r"disk is full|memory ran out while section 2 was written"):
        drain(_stream(tmp_path, components), hear)
    # Networks that take less memory would not help the disk or the encoder.
    assert not any(isinstance(event, MemoryRanOut | SectionDone) for event in told)
    assert _num_stored(tmp_path) == 0
    framepack.resume(tmp_path / "run", components=components)
    video = tmp_path / f"{VARIANTS[0]}.mp4"
    np.testing.assert_array_equal(frames_of(video), undisturbed[VARIANTS[0]])


def test_want_of_memory_in_a_section_does_not_touch_the_one_being_written(
    tmp_path: Path,
    components: Components,
    undisturbed: dict[str, NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, forward = Gate(monkeypatch), FramePackTransformer3DModel.forward
    calls: list[None] = []

    def short(model: FramePackTransformer3DModel, *args: object, **kwargs: object) -> object:
        calls.append(None)
        if len(calls) == 4:  # the second step of the second section
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(model, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(FramePackTransformer3DModel, "forward", short)
    monkeypatch.setattr(Components, "fall_back", lambda self: _Way())
    told = list[Event]()
    for event in _stream(tmp_path, components):
        told.append(event)
        if isinstance(event, MemoryRanOut):
            assert _num_stored(tmp_path) == 0
            gate.open()
    done = [event.render_index for event in told if isinstance(event, SectionDone)]
    assert done == [0, 1, 2]
    video = tmp_path / f"{VARIANTS[0]}.mp4"
    np.testing.assert_array_equal(frames_of(video), undisturbed[VARIANTS[0]])


class _Way:
    title = "with less"
