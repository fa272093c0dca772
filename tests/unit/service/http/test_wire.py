"""Other servers' names, texts for numbers, and fields that nobody knows."""

from typing import Any

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.service.http.body import Body
from framepack.service.http.schemas import request_schemas
from framepack.service.http.wire import ALIASES, KNOWN, Asked, read_asked


def asked(*, is_form: bool = False, **values: Any) -> Asked:
    return read_asked(Body(values, is_form=is_form))


@pytest.mark.parametrize(
    ("sent", "ours"),
    [
        ({"seconds": "4"}, {"duration_s": "4"}),
        ({"size": "640x384"}, {"width": 640, "height": 384}),
        ({"num_frames": 60, "fps": 24}, {"duration_s": 2.5, "fps": 24}),
        ({"num_frames": 60}, {"duration_s": 2.0}),
        ({"flow_shift": 3}, {"shift": 3}),
        ({"lora": {"name": "felt", "scale": 0.5}}, {"loras": [{"path": "felt", "weight": 0.5}]}),
        ({"enable_frame_interpolation": True}, {"interpolate": 2}),
        (
            {"enable_frame_interpolation": True, "frame_interpolation_exp": 2},
            {"interpolate": 4},
        ),
        ({"enable_frame_interpolation": False, "frame_interpolation_exp": 2}, {}),
        ({"enable_teacache": True}, {"step_cache": "teacache"}),
        ({"enable_teacache": False}, {"step_cache": "off"}),
        ({"framepack": {"seed": 7}, "extra_params": {"loop": True}}, {"seed": 7, "loop": True}),
        ({"negative_prompt": None}, {}),
    ],
)
def test_other_servers_names_are_ours(sent: dict[str, Any], ours: dict[str, Any]) -> None:
    assert asked(**sent).fields == ours


@pytest.mark.parametrize("name", ["input_reference", "image_reference", "reference_url", "image"])
def test_the_start_picture_has_many_names(name: str) -> None:
    found = asked(**{name: "data:..."})
    assert found.fields == {"image": "image"}
    assert found.files == {"image": "data:..."}


def test_texts_of_a_form_become_what_they_stand_for() -> None:
    found = asked(
        is_form=True,
        seed="7",
        loop="true",
        guidance_scale="",
        prompt="",
        section_prompts='["a", "b"]',
        loras='[{"path": "felt"}]',
        priority="3",
        raw="true",
    )
    assert "guidance_scale" not in found.fields
    request = GenerationRequest.parse(**found.fields)
    assert (request.seed, request.loop, request.prompt) == (7, True, "")
    assert [cue.prompt for cue in request.section_prompts] == ["a", "b"]
    assert (found.priority, found.options.raw) == (3, True)


def test_timed_sections_in_a_form_are_no_json() -> None:
    found = asked(is_form=True, section_prompts="[0s: it sits] [2s: it jumps]")
    cues = GenerationRequest.parse(**found.fields).section_prompts
    assert [cue.time_s for cue in cues] == [0.0, 2.0]


def test_files_of_sections_are_set_apart() -> None:
    found = asked(
        section_images={"0": "upload_a", "2": {"file_id": "upload_b"}},
        section_prompts=[{"section": 1, "prompt": "x", "image": "data:c"}],
    )
    assert sorted(found.files.values(), key=str) == ["data:c", "upload_a", {"file_id": "upload_b"}]
    words = {*found.fields["section_images"].values(), found.fields["section_prompts"][0]["image"]}
    assert words == set(found.files)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"sede": 7}, "unknown field 'sede'; did you mean 'seed'?"),
        ({"a1": 1, "b2": 2}, "unknown field 'a1'.*unknown field 'b2'"),
        ({"framepack": {"sede": 7}}, "unknown field 'sede'"),
        ({"framepack": 7}, "it must be an object"),
        ({"seed": 7, "framepack": {"seed": 8}}, "seed is given twice"),
        ({"seconds": 4, "duration_s": 4}, "give one of them"),
        ({"seconds": 4, "num_frames": 4}, "give one of them"),
        ({"size": "640x384", "width": 640}, "size and width are both given"),
        ({"size": "huge"}, "WIDTHxHEIGHT"),
        ({"size": 7}, "WIDTHxHEIGHT"),
        ({"image": "a", "input_reference": "b"}, "the same picture"),
        ({"enable_teacache": True, "step_cache": "first_block"}, "are the same"),
        ({"priority": 10**6}, "priority is 1000000"),
        ({"priority": "high"}, "priority is 'high'"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"container": "avi"}, "container is 'avi'"),
        ({"lora": {"name": "felt", "size": 1}}, "unknown field 'size'"),
        ({"interpolate": 2, "enable_frame_interpolation": True}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_named(sent: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        asked(**sent)


def test_errors_are_about_the_field_that_was_sent() -> None:
    found = asked(seconds="soon")
    error = found.in_their_words(InvalidRequest("duration_s is 'soon'; it must be a number"))
    assert str(error) == "seconds is 'soon'; it must be a number"


def test_the_description_has_every_field() -> None:
    described = set(request_schemas()["VideoRequest"]["properties"])
    servers_own = {"vae_weights", "rife_weights"}
    assert described == set(KNOWN) - servers_own
    assert set(ALIASES) <= described
