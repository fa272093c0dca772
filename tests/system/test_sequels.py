"""Sections made again and videos made longer, from runs that were kept."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.runs import (
    SEAM_FRAMES,
    SECTION_FRAMES,
    SMALL,
    frames_of,
    seconds,
    stop_after_section,
    write_picture,
)

import framepack
from framepack.domain.events import StepDone
from framepack.media.inspection import inspect
from framepack.pipeline.components import Components

NUM_SECTIONS = 4
VARIANTS = ("bi-directional", "forward-only")


def _fields(folder: Path, variant: str, **more: Any) -> dict[str, Any]:
    picture = write_picture(folder / "start.png")
    length = seconds(NUM_SECTIONS * SECTION_FRAMES + 1)
    return {**SMALL, "variant": variant, "image": picture, "duration_s": length, **more}


def _kept_run(folder: Path, components: Components, variant: str, **more: Any) -> framepack.Result:
    return framepack.generate(
        output=folder / "out.mp4",
        run_dir=folder / "run",
        keep_run=True,
        components=components,
        **_fields(folder, variant, **more),
    )


def _kept_frames(variant: str) -> slice:
    """The frames of a video whose section 1 is made again that were final before it."""
    if variant == "forward-only":
        return slice(0, SECTION_FRAMES + 1 - SEAM_FRAMES)
    return slice(2 * SECTION_FRAMES + 4 + SEAM_FRAMES, None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_section_made_again_gives_the_video_of_its_own_request(
    tmp_path: Path, components: Components, variant: str
) -> None:
    first = _kept_run(tmp_path, components, variant)
    take = framepack.redo(
        tmp_path / "run", section=1, seed=99, output=tmp_path / "take.mp4", components=components
    )
    old, new = frames_of(first.path), frames_of(take.path)
    kept = _kept_frames(variant)
    np.testing.assert_array_equal(old[kept], new[kept])
    assert np.abs(old.astype(int) - new)[SECTION_FRAMES + 1 : 2 * SECTION_FRAMES].mean() > 1
    restored = inspect(take.path).restore(tmp_path / "restored")
    anew = framepack.generate(restored, output=tmp_path / "anew.mp4", components=components)
    np.testing.assert_array_equal(new, frames_of(anew.path))


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_what_depends_on_the_section_is_denoised(
    tmp_path: Path, components: Components, variant: str
) -> None:
    _kept_run(tmp_path, components, variant)
    events = framepack.stream_redo(
        tmp_path / "run", section=1, output=tmp_path / "take.mp4", components=components
    )
    denoised = {event.section for event in events if isinstance(event, StepDone)}
    assert denoised == ({1, 2, 3} if variant == "forward-only" else {0, 1})


def test_takes_branch_off_takes_and_leave_the_first_run_alone(
    tmp_path: Path, components: Components
) -> None:
    first = _kept_run(tmp_path, components, "forward-only")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").rglob("*.safetensors")}
    framepack.redo(
        tmp_path / "run",
        section=-1,
        prompt="the camera pans right",
        output=tmp_path / "one.mp4",
        take_dir=tmp_path / "one",
        components=components,
    )
    two = framepack.redo(
        tmp_path / "one", section=1, seed=5, output=tmp_path / "two.mp4", components=components
    )
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").rglob("*.safetensors")}
    assert before == after
    assert [section.seed for section in two.plan.sections] == [None, 5, None, None]
    assert "right" in two.plan.sections[3].prompt
    kept = _kept_frames("forward-only")
    np.testing.assert_array_equal(frames_of(first.path)[kept], frames_of(two.path)[kept])


def test_a_killed_take_goes_on(tmp_path: Path, components: Components) -> None:
    _kept_run(tmp_path, components, "forward-only")
    options: dict[str, Any] = {"section": 1, "seed": 4, "components": components}
    whole = framepack.redo(tmp_path / "run", output=tmp_path / "whole.mp4", **options)
    events = framepack.stream_redo(
        tmp_path / "run", output=tmp_path / "cut.mp4", take_dir=tmp_path / "cut", **options
    )
    stop_after_section(events)
    shutil.rmtree(tmp_path / "run")  # a take stands on its own
    again = framepack.resume(tmp_path / "cut", components=components)
    np.testing.assert_array_equal(frames_of(whole.path), frames_of(again.path))


def test_a_forward_run_is_extended_as_if_it_had_been_longer(
    tmp_path: Path, components: Components
) -> None:
    cut = seconds(NUM_SECTIONS * SECTION_FRAMES - 3)  # its last frames were trimmed
    _kept_run(tmp_path, components, "forward-only", duration_s=cut)
    longer = framepack.extend(
        tmp_path / "run",
        by_s=seconds(SECTION_FRAMES),
        prompt="the camera pans right",
        output=tmp_path / "longer.mp4",
        components=components,
    )
    assert longer.plan.num_frames == (NUM_SECTIONS + 1) * SECTION_FRAMES - 3
    restored = inspect(longer.path).restore(tmp_path / "restored")
    anew = framepack.generate(restored, output=tmp_path / "anew.mp4", components=components)
    np.testing.assert_array_equal(frames_of(longer.path), frames_of(anew.path))


@pytest.mark.parametrize(
    "cues",
    [
        {"section_prompts": "the camera pans left\nthe camera pans right"},
        {"section_prompts": "[0s: the camera pans left] [1.9s: the camera pans right]"},
        {"section_seeds": "-1: 4", "section_images": "-1: {folder}/start.png"},
    ],
)
def test_what_sections_were_told_stays_when_the_video_grows(
    tmp_path: Path, components: Components, cues: dict[str, str]
) -> None:
    """Lines share the sections, and others count from the end or to it: these move otherwise."""
    said = {name: text.format(folder=tmp_path) for name, text in cues.items()}
    first = _kept_run(tmp_path, components, "forward-only", **said)
    longer = framepack.extend(
        tmp_path / "run", by_s=seconds(20), output=tmp_path / "longer.mp4", components=components
    )
    old, new = first.plan.sections, longer.plan.sections
    assert len(new) == NUM_SECTIONS + 2
    assert [(each.prompt, each.seed) for each in old] == [
        (each.prompt, each.seed) for each in new[:NUM_SECTIONS]
    ]
    assert [each.image is None for each in old] == [
        each.image is None for each in new[:NUM_SECTIONS]
    ]
    assert new[-1].prompt == old[-1].prompt
    restored = inspect(longer.path).restore(tmp_path / "restored")
    anew = framepack.generate(restored, output=tmp_path / "anew.mp4", components=components)
    np.testing.assert_array_equal(frames_of(longer.path), frames_of(anew.path))


def test_a_take_overrides_whatever_was_said_of_its_section(
    tmp_path: Path, components: Components
) -> None:
    _kept_run(
        tmp_path,
        components,
        "forward-only",
        section_prompts="0:the camera pans left;;;-1:the camera pans up",
        section_seeds="3-3: 7",
    )
    take = framepack.redo(
        tmp_path / "run",
        section=3,
        prompt="the camera pans right",
        seed=9,
        output=tmp_path / "take.mp4",
        components=components,
    )
    assert take.plan.sections[3].prompt.endswith("right")
    assert take.plan.sections[3].seed == 9


def test_a_run_that_extended_a_video_is_counted_from_what_it_made(
    tmp_path: Path, components: Components
) -> None:
    source = _kept_run(tmp_path, components, "forward-only")
    added = framepack.generate(
        **{**SMALL, "variant": "forward-only"},
        extend=source.path,
        duration_s=seconds(20),
        output=tmp_path / "added.mp4",
        run_dir=tmp_path / "added",
        keep_run=True,
        components=components,
    )
    longer = framepack.extend(
        tmp_path / "added",
        by_s=seconds(20),
        prompt="the camera pans up",
        output=tmp_path / "longer.mp4",
        components=components,
    )
    assert longer.plan.num_frames == added.plan.num_frames + 20
    given = added.plan.num_given_sections
    assert [each.prompt.endswith("up") for each in longer.plan.sections[given:]] == [
        *(False,) * (added.plan.num_sections - given),
        *(True,) * (longer.plan.num_sections - added.plan.num_sections),
    ]
    take = framepack.redo(
        tmp_path / "added", section=0, seed=3, output=tmp_path / "take.mp4", components=components
    )
    assert [each.seed for each in take.plan.sections[given:]] == [3, None]
    with pytest.raises(framepack.InvalidRequest, match="has sections 0 to 1"):
        framepack.redo(
            tmp_path / "added", section=2, output=tmp_path / "x.mp4", components=components
        )


def test_a_prompt_needs_a_new_section(tmp_path: Path, components: Components) -> None:
    cut = seconds(NUM_SECTIONS * SECTION_FRAMES - 3)
    _kept_run(tmp_path, components, "forward-only", duration_s=cut)
    with pytest.raises(framepack.InvalidRequest, match="no new section that a prompt could"):
        framepack.extend(
            tmp_path / "run",
            by_s=seconds(2),
            prompt="the camera pans up",
            output=tmp_path / "x.mp4",
            components=components,
        )


def test_one_picture_has_no_sections(tmp_path: Path, components: Components) -> None:
    framepack.generate(
        one_frame=True,
        image=write_picture(tmp_path / "start.png"),
        output=tmp_path / "out.png",
        run_dir=tmp_path / "run",
        keep_run=True,
        components=components,
        **{name: SMALL[name] for name in SMALL if name not in ("latent_window_size", "fps")},
    )
    with pytest.raises(framepack.InvalidRequest, match="makes one picture"):
        framepack.redo(tmp_path / "run", section=0, output=tmp_path / "x.png")
    with pytest.raises(framepack.InvalidRequest, match="makes one picture"):
        framepack.extend(tmp_path / "run", output=tmp_path / "x.mp4")


def test_a_run_that_is_not_finished_cannot_be_kept_whole(
    tmp_path: Path, components: Components
) -> None:
    events = framepack.stream(
        output=tmp_path / "out.mp4",
        run_dir=tmp_path / "run",
        components=components,
        **_fields(tmp_path, "forward-only"),
    )
    stop_after_section(events)
    with pytest.raises(framepack.WorkspaceError, match="finished 1 of the 4 sections"):
        framepack.extend(tmp_path / "run", output=tmp_path / "x.mp4", components=components)
    assert not (tmp_path / "x.mp4").exists()


def test_a_bi_directional_run_names_the_way_to_extend_it(
    tmp_path: Path, components: Components
) -> None:
    _kept_run(tmp_path, components, "bi-directional")
    with pytest.raises(framepack.InvalidRequest, match=r"--extend .*out\.mp4"):
        framepack.extend(tmp_path / "run", output=tmp_path / "x.mp4", components=components)


@pytest.mark.parametrize("section", [4, -5])
def test_a_section_that_is_not_there_is_refused(
    tmp_path: Path, components: Components, section: int
) -> None:
    _kept_run(tmp_path, components, "forward-only")
    with pytest.raises(framepack.InvalidRequest, match="has sections 0 to 3"):
        framepack.redo(
            tmp_path / "run", section=section, output=tmp_path / "x.mp4", components=components
        )


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(framepack.InvalidRequest, match="--keep-run"):
        framepack.redo(tmp_path, section=0, output=tmp_path / "x.mp4")
