"""How long a planned video is: to the frame, with interpolated frames, and as a loop."""

import pytest
from tests.helpers.plans import BOTH, PICTURE, plan_for

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import Variant


def test_a_minute_from_a_picture_is_1800_frames_in_50_sections() -> None:
    plan = plan_for(PICTURE, duration_s=60)
    assert (plan.num_frames, plan.num_sections, plan.num_generated_frames) == (1800, 50, 1801)


def test_a_minute_from_text_needs_one_more_section_for_want_of_a_start_latent() -> None:
    plan = plan_for(duration_s=60)
    assert (plan.num_frames, plan.num_sections, plan.num_generated_frames) == (1800, 51, 1833)


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize("window", [1, 4, 9])
@pytest.mark.parametrize("fps", [1, 8, 24, 29.97, 30, 60])
@pytest.mark.parametrize("duration_s", [0.1, 1, 2.5, 7.77])
def test_the_duration_is_honoured_to_the_frame(
    duration_s: float, fps: float, window: int, variant: Variant
) -> None:
    plan = plan_for(
        PICTURE, duration_s=duration_s, fps=fps, latent_window_size=window, variant=variant
    )
    assert plan.num_frames == max(round(duration_s * fps), 1)
    assert plan.num_generated_frames >= plan.num_frames
    assert plan.num_generated_frames - 4 * window < plan.num_frames or plan.num_sections == 1
    assert plan.notes == ()


def test_a_duration_below_one_frame_gives_one_frame() -> None:
    assert plan_for(duration_s=0.001).num_frames == 1


def test_an_end_picture_keeps_whole_sections_and_says_the_true_length() -> None:
    plan = plan_for(PICTURE, PICTURE, duration_s=4)
    assert plan.num_frames == plan.num_generated_frames == 109
    assert plan.notes == (
        "True length: 109 frames (3.63 s) instead of 120 (4.00 s); "
        "an end picture fixes the last frame, so sections are kept whole.",
    )


def test_an_end_picture_alone_has_no_start_latent() -> None:
    plan = plan_for(None, PICTURE, duration_s=4)
    assert plan.num_frames == plan.num_generated_frames == 36 * 3 - 3


def test_an_end_picture_whose_sections_fit_needs_no_note() -> None:
    assert plan_for(PICTURE, PICTURE, duration_s=109 / 30).notes == ()


@pytest.mark.parametrize(
    ("seconds", "sections", "frames"), [(1, 1, 37), (3, 2, 73), (5, 4, 145), (60, 50, 1801)]
)
def test_official_length_rounds_as_the_original(seconds: float, sections: int, frames: int) -> None:
    plan = plan_for(PICTURE, duration_s=seconds, official_length=True)
    assert (plan.num_sections, plan.num_frames) == (sections, frames)
    assert plan.notes[0].startswith(f"True length: {frames} frames")


def test_duration_of_the_plan_is_the_true_one() -> None:
    assert plan_for(PICTURE, duration_s=3, official_length=True).duration_s == 73 / 30


# --- interpolation ------------------------------------------------------------------------


def test_three_frames_of_each_generate_a_third_and_one_past_the_end() -> None:
    plan = plan_for(PICTURE, duration_s=10, interpolate=3)
    assert (plan.num_frames, plan.num_kept_frames) == (300, 101)
    assert plan.duration_s == 10
    assert plan.generated_fps == 10
    assert plan.num_sections == 3


@pytest.mark.parametrize("factor", [0, 1])
def test_no_interpolation_keeps_what_is_generated(factor: int) -> None:
    plan = plan_for(PICTURE, duration_s=10, interpolate=factor)
    assert plan.num_frames == plan.num_kept_frames == 300
    assert plan.generated_fps == plan.fps


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize("duration_s", [0.01, 0.5, 1, 2.5, 4, 10])
@pytest.mark.parametrize("fps", [8, 16, 24, 30])
def test_what_is_kept_just_reaches_the_end(factor: int, duration_s: float, fps: float) -> None:
    plan = plan_for(PICTURE, duration_s=duration_s, fps=fps, interpolate=factor)
    reached = (plan.num_kept_frames - 1) * factor + 1
    assert reached - factor < plan.num_frames <= reached
    assert plan.num_kept_frames <= plan.num_generated_frames
    assert plan.num_frames == max(round(duration_s * fps), 1)


def test_an_end_picture_stays_last_between_interpolated_frames() -> None:
    plan = plan_for(PICTURE, PICTURE, duration_s=4, interpolate=2)
    assert plan.num_kept_frames == plan.num_generated_frames == 73
    assert plan.num_frames == 145
    assert "True length: 145 frames (4.83 s) instead of 120 (4.00 s)" in plan.notes[0]


def test_times_of_sections_are_those_of_the_video() -> None:
    texts = "[0s: one]\n[2.5s: two]"
    plan = plan_for(PICTURE, duration_s=10, interpolate=3, section_prompts=texts)
    prompts = [section.prompt for section in sorted(plan.sections, key=lambda one: one.index)]
    assert prompts == ["a cat one", "a cat two", "a cat two"]


@pytest.mark.parametrize(("factor", "kept"), [(1, 108), (2, 73), (3, 37)])
def test_a_loop_is_whole_sections_without_the_frame_that_begins_it_again(
    factor: int, kept: int
) -> None:
    frames = {1: 108, 2: 144, 3: 108}[factor]
    plan = plan_for(PICTURE, loop=True, duration_s=frames / 30, interpolate=factor)
    assert (plan.num_frames, plan.num_kept_frames) == (frames, kept)
    assert plan.num_generated_frames == frames // factor + 1
    assert (plan.mode, plan.variant, plan.notes) == ("flf2v", "bi-directional", ())
    assert plan.sections[0].end_frame == kept


@pytest.mark.parametrize(("official", "why"), [(False, "a loop is back"), (True, "the original")])
def test_a_loop_says_its_true_length(official: bool, why: str) -> None:
    plan = plan_for(PICTURE, loop=True, duration_s=4, official_length=official)
    assert plan.num_frames == 108
    assert f"True length: 108 frames (3.60 s) instead of 120 (4.00 s); {why}" in plan.notes[0]


@pytest.mark.parametrize(
    ("start", "end", "variant", "message"),
    [
        (None, None, None, "but there is none; give --image"),
        (PICTURE, PICTURE, None, "leave --loop or --end-image out"),
        (PICTURE, None, "forward-only", "leave --loop out, or use a bi-directional model"),
    ],
)
def test_what_cannot_loop_is_refused(
    start: tuple[int, int] | None,
    end: tuple[int, int] | None,
    variant: Variant | None,
    message: str,
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        plan_for(start, end, loop=True, variant=variant)
