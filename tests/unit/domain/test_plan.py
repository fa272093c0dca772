"""The plan: everything that is decided before a weight is loaded."""

import json
from itertools import pairwise
from typing import Any

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelDefaults, ModelGeometry
from framepack.domain.packing import PackingLayout, forward_indices, inverted_indices
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest, Variant

LARGE = ModelGeometry(min_size=128, max_size=2160)
SMALL = ModelGeometry(min_size=64, max_size=192)
BOTH: tuple[Variant, ...] = ("bi-directional", "forward-only")
PICTURE = (832, 480)


def defaults(**changes: Any) -> ModelDefaults:
    values: dict[str, Any] = {
        "resolution": 640,
        "num_inference_steps": 25,
        "guidance_scale": 10.0,
        "true_cfg_scale": 1.0,
        "solver": "unipc",
        "variant": "bi-directional",
    }
    return ModelDefaults(**(values | changes))


def plan_for(
    image_size: tuple[int, int] | None = None,
    end_image_size: tuple[int, int] | None = None,
    geometry: ModelGeometry = LARGE,
    **request: Any,
) -> Plan:
    return make_plan(
        GenerationRequest.parse(**({"prompt": "a cat", "seed": 1} | request)),
        model="i2v",
        geometry=geometry,
        defaults=defaults(),
        variants=BOTH,
        image_size=image_size,
        end_image_size=end_image_size,
    )


# --- length -------------------------------------------------------------------------------


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


# --- sections -----------------------------------------------------------------------------


def test_bi_directional_renders_the_end_first_with_the_official_gaps() -> None:
    plan = plan_for(PICTURE, duration_s=6)
    assert [section.index for section in plan.sections] == [4, 3, 2, 1, 0]
    assert [section.padding for section in plan.sections] == [3, 2, 2, 1, 0]
    assert [section.render_index for section in plan.sections] == [0, 1, 2, 3, 4]


def test_forward_only_renders_in_order_with_one_index_layout() -> None:
    plan = plan_for(PICTURE, duration_s=6, variant="forward-only")
    assert [section.index for section in plan.sections] == [0, 1, 2, 3, 4]
    assert {section.padding for section in plan.sections} == {0}
    assert all(section.indices == forward_indices(9) for section in plan.sections)


def test_inverted_sections_stand_at_their_gap() -> None:
    for section in plan_for(PICTURE, duration_s=6).sections:
        assert section.indices == inverted_indices(section.padding, 9)


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize("picture", [PICTURE, None])
def test_sections_share_out_the_frames_from_the_start(
    picture: tuple[int, int] | None, variant: Variant
) -> None:
    plan = plan_for(picture, duration_s=5, variant=variant)
    ordered = sorted(plan.sections, key=lambda section: section.index)
    assert ordered[0].start_frame == 0
    assert ordered[0].end_frame == (37 if picture else 33)
    assert ordered[-1].end_frame == plan.num_frames == 150
    assert all(left.end_frame == right.start_frame for left, right in pairwise(ordered))


def test_only_the_ends_of_the_rendering_order_are_marked() -> None:
    sections = plan_for(PICTURE, duration_s=4).sections
    assert [section.is_first_rendered for section in sections] == [True, False, False, False]
    assert [section.is_last_rendered for section in sections] == [False, False, False, True]


def test_every_section_but_the_first_rendered_overlaps_its_neighbour() -> None:
    assert [s.overlap_frames for s in plan_for(PICTURE, duration_s=4).sections] == [0, 33, 33, 33]


def test_the_layout_of_the_model_reaches_the_sections() -> None:
    layout = PackingLayout.parse("f4k4f1k1")
    plan = plan_for(PICTURE, geometry=ModelGeometry(128, 2160, layout=layout))
    assert list(plan.sections[0].indices.history) == ["1x", "4x"]


# --- pictures and size --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "mode", "has_start"),
    [
        (None, None, "t2v", False),
        (PICTURE, None, "i2v", True),
        (PICTURE, PICTURE, "flf2v", True),
        (None, PICTURE, "lf2v", False),
    ],
)
def test_the_pictures_make_the_mode(
    start: tuple[int, int] | None, end: tuple[int, int] | None, mode: str, has_start: bool
) -> None:
    plan = plan_for(start, end)
    assert (plan.mode, plan.has_start) == (mode, has_start)


def test_the_start_picture_decides_the_shape() -> None:
    plan = plan_for((1920, 1080), (100, 1000))
    assert (plan.width, plan.height) == (832, 480)


def test_an_end_picture_alone_decides_the_shape() -> None:
    plan = plan_for(None, (1080, 1920))
    assert (plan.width, plan.height) == (480, 832)


def test_text_alone_takes_the_bucket_of_a_square() -> None:
    plan = plan_for()
    assert (plan.width, plan.height) == (608, 640)


def test_text_alone_at_128_is_a_square() -> None:
    plan = plan_for(geometry=SMALL, resolution=128)
    assert (plan.width, plan.height) == (128, 128)


def test_explicit_sizes_win_over_picture_and_resolution() -> None:
    plan = plan_for((1920, 1080), width=320, height=256, resolution=640)
    assert (plan.width, plan.height) == (320, 256)


@pytest.mark.parametrize(
    ("width", "height", "offer"),
    [
        (100, 128, "--width 96 --height 128"),
        (128, 16, "--width 128 --height 64"),
        (320, 64, "--width 192 --height 64"),
    ],
)
def test_an_explicit_size_that_does_not_fit_is_refused_with_the_nearest(
    width: int, height: int, offer: str
) -> None:
    with pytest.raises(InvalidRequest, match=rf"{width}x{height} px .* 64 to 192 px; .*{offer}$"):
        plan_for(geometry=SMALL, width=width, height=height)


@pytest.mark.parametrize(
    ("picture", "resolution", "size", "offer"),
    [((960, 416), 640, "960x416", 128), ((1, 1), 640, "608x640", 192), ((1, 1), 48, "48x48", 64)],
)
def test_a_resolution_out_of_range_is_refused_with_the_nearest(
    picture: tuple[int, int], resolution: int, size: str, offer: int
) -> None:
    with pytest.raises(InvalidRequest, match=rf"gives {size} px.*--resolution {offer}$"):
        plan_for(picture, geometry=SMALL, resolution=resolution)
    plan_for(picture, geometry=SMALL, resolution=offer)


def test_a_range_that_no_bucket_fits_asks_for_an_explicit_size() -> None:
    with pytest.raises(InvalidRequest, match=r"give --width and --height$"):
        plan_for((960, 416), geometry=ModelGeometry(64, 80))


def test_a_picture_without_area_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="0x10 px"):
        plan_for((0, 10))


def test_a_picture_of_unknown_size_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="picture's size"):
        plan_for(image="a.png")


# --- request, variant, notes --------------------------------------------------------------


def test_every_default_is_filled_in_from_the_model() -> None:
    request = plan_for(PICTURE).request
    given = {name: value for name, value in dict(request).items() if value is None}
    files = {"image", "end_image", "extend", "video", "vae_weights", "rife_weights"}
    places = {"target_index", "control_index"}
    assert given.keys() == files | places | {"codec", "pixel_format", "step_cache_threshold"}
    assert (request.model, request.variant, request.solver) == ("i2v", "bi-directional", "unipc")
    assert (request.num_inference_steps, request.guidance_scale, request.shift) == (25, 10, 0)
    assert (request.resolution, request.width, request.height) == (640, 832, 480)


def test_what_was_asked_wins_over_the_defaults() -> None:
    request = plan_for(solver="euler", num_inference_steps=3, shift=3, guidance_scale=0).request
    assert (request.solver, request.num_inference_steps) == ("euler", 3)
    assert (request.shift, request.guidance_scale) == (3, 0)


def test_a_seed_is_chosen_when_none_is_given() -> None:
    seeds = {plan_for(seed=None).seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_chosen_seed_is_stored_in_the_request() -> None:
    plan = plan_for(seed=None)
    assert plan.request.seed == plan.seed


def test_planning_the_stored_request_again_gives_the_same_plan() -> None:
    plan = plan_for((1920, 1080), seed=None, duration_s=3)
    again = make_plan(
        plan.request,
        model=plan.model,
        geometry=LARGE,
        defaults=defaults(resolution=320, num_inference_steps=1, solver="euler"),
        variants=BOTH,
        image_size=(1920, 1080),
    )
    assert again == plan


@pytest.mark.parametrize(("start", "end"), [(PICTURE, PICTURE), (None, PICTURE)])
def test_an_end_picture_is_refused_by_forward_only(
    start: tuple[int, int] | None, end: tuple[int, int]
) -> None:
    with pytest.raises(InvalidRequest, match=r"--end-image out, or .*--variant bi-directional"):
        plan_for(start, end, variant="forward-only")


def test_an_end_picture_picks_the_variant_that_can_aim_at_it() -> None:
    def variant(variants: tuple[Variant, ...], end: tuple[int, int] | None) -> str:
        return make_plan(
            GenerationRequest.parse(prompt="x"),
            model="m",
            geometry=LARGE,
            defaults=defaults(variant="forward-only"),
            variants=variants,
            end_image_size=end,
        ).variant

    assert variant(BOTH, None) == "forward-only"
    assert variant(BOTH, PICTURE) == "bi-directional"
    with pytest.raises(InvalidRequest, match="cannot aim at an end"):
        variant(("forward-only",), PICTURE)


def test_a_variant_that_the_model_does_not_serve_is_refused_naming_both() -> None:
    with pytest.raises(InvalidRequest, match=r"i2v is bi-directional only.*forward-only"):
        make_plan(
            GenerationRequest.parse(prompt="x", variant="forward-only"),
            model="i2v",
            geometry=LARGE,
            defaults=defaults(),
            variants=("bi-directional",),
        )


@pytest.mark.parametrize("allow_empty", [True, False])
def test_an_empty_request_may_be_looked_at_but_not_made(allow_empty: bool) -> None:
    def plan() -> Plan:
        return make_plan(
            GenerationRequest.parse(duration_s=60),
            model="i2v",
            geometry=LARGE,
            defaults=defaults(),
            variants=BOTH,
            allow_empty=allow_empty,
        )

    if allow_empty:
        assert plan().num_frames == 1800
    else:
        with pytest.raises(InvalidRequest, match="prompt is empty"):
            plan()


def test_a_negative_prompt_without_true_guidance_is_noted() -> None:
    assert "no effect" in plan_for(negative_prompt="blur").notes[0]
    assert plan_for(negative_prompt="blur", true_cfg_scale=2).notes == ()


# --- JSON ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", BOTH)
def test_a_plan_survives_json_unchanged(variant: Variant) -> None:
    plan = plan_for(PICTURE, prompt='käse "{}"\n', image="a/b.png", duration_s=7, variant=variant)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_plan_read_back_keeps_its_types() -> None:
    plan = Plan.from_json(plan_for(PICTURE, image="a.png").to_json())
    assert isinstance(plan.sections[0].indices.clean, tuple)
    assert plan.request.image is not None
    assert plan.request.image.name == "a.png"


@pytest.mark.parametrize(
    "change", [{"fps": "x"}, {"unknown": 1}, {"plan_version": 99}, {"fps": None}], ids=str
)
def test_a_damaged_plan_is_refused_in_one_line(change: dict[str, object]) -> None:
    text = json.dumps(plan_for().to_dict() | change)
    with pytest.raises(InvalidRequest, match="not a plan that can be read") as caught:
        Plan.from_json(text)
    assert "\n" not in str(caught.value)


def test_a_stored_request_out_of_range_is_refused() -> None:
    text = plan_for().to_json().replace('"num_inference_steps":25', '"num_inference_steps":0')
    with pytest.raises(InvalidRequest, match="not a plan"):
        Plan.from_json(text)


def test_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not a plan"):
        Plan.from_json("")


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


def test_a_swaying_camera_needs_two_steps() -> None:
    assert plan_for(PICTURE, camera_motion=1, num_inference_steps=2).request.camera_motion == 1
    assert plan_for(PICTURE, camera_motion=0, num_inference_steps=1).request.camera_motion == 0
    with pytest.raises(InvalidRequest, match=r"there is 1; raise --steps"):
        plan_for(PICTURE, camera_motion=0.1, num_inference_steps=1)


def test_a_sway_of_less_than_half_a_latent_place_is_noted() -> None:
    wide, small = (plan_for(PICTURE, camera_motion=scale) for scale in (0.5, 0.001))
    assert not any("camera motion" in note for note in wide.notes)
    assert any("moves nothing; raise --camera-motion" in note for note in small.notes)


@pytest.mark.parametrize(
    ("fields", "threshold"),
    [
        ({}, None),
        ({"step_cache_threshold": 0.3}, None),  # as a file may say of a cache that is turned off
        ({"step_cache": "teacache"}, 0.15),
        ({"step_cache": "first_block"}, 0.06),
        ({"step_cache": "teacache", "step_cache_threshold": 0.3}, 0.3),
        ({"step_cache": "teacache", "step_cache_threshold": 0}, 0.0),
    ],
)
def test_a_step_cache_has_the_threshold_of_the_model_for_its_method(
    fields: dict[str, Any], threshold: float | None
) -> None:
    plan = make_plan(
        GenerationRequest.parse(prompt="a cat", **fields),
        model="i2v",
        geometry=LARGE,
        defaults=defaults(teacache_threshold=0.15, first_block_threshold=0.06),
        variants=BOTH,
    )
    assert plan.request.step_cache_threshold == threshold
    assert Plan.from_json(plan.to_json()) == plan
