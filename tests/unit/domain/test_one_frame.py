"""One picture instead of a video: what is planned, and what is refused."""

from typing import Any

import pytest
from tests.helpers.runs import plan_without_model

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import one_frame_indices
from framepack.domain.plan import Plan
from framepack.domain.request import GenerationRequest


def test_the_frame_stands_between_the_pictures_and_sees_no_history() -> None:
    indices = one_frame_indices(6, 10)
    assert (indices.start, indices.noisy, indices.clean) == ((0,), (6,), (0, 10))
    assert indices.history_2x == indices.history_4x == ()


def test_without_an_end_picture_the_start_is_the_only_context() -> None:
    assert one_frame_indices(6).clean == (0,)


def test_one_frame_is_one_section_of_one_latent_frame() -> None:
    plan = plan_without_model(picture=True, one_frame=True)
    assert (plan.num_sections, plan.latent_window_size, plan.num_frames) == (1, 1, 1)
    assert (plan.sections[0].start_frame, plan.sections[0].end_frame) == (0, 1)
    assert plan.duration_s == 0


def test_its_latent_is_decoded_alone() -> None:
    assert plan_without_model(picture=True).has_start
    assert not plan_without_model(picture=True, one_frame=True).has_start


@pytest.mark.parametrize("window", [3, 9])
def test_it_stands_where_the_first_section_of_a_video_ends(window: int) -> None:
    fields: dict[str, Any] = {"picture": True, "end": True, "latent_window_size": window}
    video = plan_without_model(duration_s=0.5, **fields)
    plan = plan_without_model(one_frame=True, **fields)
    first = video.sections[-1].indices
    assert plan.sections[0].indices.noisy == (first.noisy[-1],) == (window,)
    assert plan.sections[0].indices.clean_1x == first.clean_1x == (window + 1,)
    assert (plan.request.target_index, plan.request.control_index) == (window, window + 1)


def test_both_places_can_be_chosen() -> None:
    plan = plan_without_model(
        picture=True, end=True, one_frame=True, target_index=1, control_index=13
    )
    assert plan.sections[0].indices == one_frame_indices(1, 13)
    assert plan.target == "One picture, at index 1 of the time axis."


def test_the_plan_survives_json() -> None:
    plan = plan_without_model(picture=True, end=True, one_frame=True, target_index=4)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_video_has_no_places() -> None:
    request = plan_without_model(picture=True, end=True).request
    assert (request.target_index, request.control_index) == (None, None)


def test_the_resolved_request_gives_the_same_plan() -> None:
    plan = plan_without_model(picture=True, end=True, one_frame=True)
    again = GenerationRequest.parse(
        **{name: getattr(plan.request, name) for name in GenerationRequest.model_fields}
    )
    repeated = plan_without_model(picture=True, end=True, **dict(again))
    assert repeated.sections == plan.sections


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"duration_s": 2}, "--duration"),
        ({"fps": 24}, "--fps"),
        ({"interpolate": 2}, "--interpolate"),
        ({"official_length": True}, "--official-length"),
        ({"section_prompts": "left\nright"}, "--section-prompts"),
        ({"section_images": "0: a.png"}, "--section-images"),
        ({"section_seeds": "0: 4"}, "--section-seeds"),
        ({"blend_sections": 2}, "--blend-sections"),
        ({"camera_motion": 0.5}, "--camera-motion"),
        ({"reroll": 2}, "--reroll"),
        ({"codec": "libx265"}, "--codec"),
        ({"crf": 20}, "--crf"),
        ({"extend": "a.mp4"}, "--extend"),
        ({"video": "a.mp4"}, "--video"),
        ({"loop": True}, "--loop"),
    ],
)
def test_what_only_videos_have_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named) as caught:
        GenerationRequest.parse(prompt="x", one_frame=True, **fields)
    assert "--one-frame" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["target_index", "control_index"])
def test_places_without_one_frame_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="add --one-frame"):
        GenerationRequest.parse(prompt="x", end_image="end.png", **{name: 4})


@pytest.mark.parametrize("index", [0, 101, 1.5])
def test_places_off_the_time_axis_are_refused(index: float) -> None:
    with pytest.raises(InvalidRequest, match=r"--target-index.* from 1 to 100"):
        GenerationRequest.parse(prompt="x", one_frame=True, target_index=index)


def test_a_place_for_a_missing_end_picture_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="give --end-image"):
        GenerationRequest.parse(prompt="x", one_frame=True, control_index=4)


def test_two_pictures_in_one_place_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="both stand at index 10"):
        plan_without_model(picture=True, end=True, one_frame=True, target_index=10)


def test_the_forward_only_variant_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="--variant bi-directional"):
        plan_without_model(picture=True, one_frame=True, variant="forward-only")
