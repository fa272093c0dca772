"""The plan: everything that is decided before a weight is loaded."""

import json
from itertools import pairwise
from typing import Any

import pytest
from tests.helpers.plans import BOTH, LARGE, PICTURE, defaults, plan_for

from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelGeometry
from framepack.domain.packing import PackingLayout, forward_indices, inverted_indices
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest, Variant

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
