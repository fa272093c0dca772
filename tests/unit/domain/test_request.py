"""The request: one line for every bad input, and help that cannot drift from the limits."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from framepack.domain.errors import FramePackError, InvalidRequest
from framepack.domain.request import GenerationRequest


def test_an_empty_request_is_valid_and_leaves_the_model_its_defaults() -> None:
    request = GenerationRequest.parse()
    assert (request.duration_s, request.fps, request.latent_window_size) == (4, 30, 9)
    assert request.num_inference_steps is request.seed is request.resolution is None


def test_strings_are_converted() -> None:
    request = GenerationRequest.parse(
        seed="7", duration_s="2.5", image="a.png", official_length="1"
    )
    assert (request.seed, request.duration_s) == (7, 2.5)
    assert request.image == Path("a.png")
    assert request.official_length is True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration_s", 0),
        ("duration_s", -1),
        ("duration_s", 3601),
        ("duration_s", float("nan")),
        ("duration_s", float("inf")),
        ("fps", 0.5),
        ("fps", 121),
        ("fps", float("nan")),
        ("num_inference_steps", 0),
        ("num_inference_steps", 201),
        ("num_inference_steps", 2.5),
        ("resolution", 15),
        ("resolution", 5000),
        ("width", 0),
        ("height", -16),
        ("seed", -1),
        ("seed", 2**53),
        ("guidance_scale", -0.1),
        ("guidance_scale", float("nan")),
        ("true_cfg_scale", 0.5),
        ("true_cfg_scale", 33),
        ("guidance_rescale", 1.1),
        ("shift", -1),
        ("shift", float("inf")),
        ("solver", "ddim"),
        ("variant", "backwards"),
        ("latent_window_size", 0),
        ("latent_window_size", 34),
        ("start_strength", 2.1),
        ("start_strength", float("nan")),
        ("end_strength", -0.1),
        ("vision_strength", "strong"),
        ("crf", 52),
        ("preset", "placebo"),
        ("image", ""),
        ("image", 3),
        ("end_image", " "),
        ("model", ""),
        ("prompt", None),
        ("prompt", "x" * 10_001),
        ("official_length", "perhaps"),
    ],
)
def test_a_bad_value_gives_one_line_with_field_option_and_limits(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.parse(**{field: value})
    line = str(caught.value)
    extra = _extra(field)
    assert "\n" not in line
    assert line.startswith(f"{field} ({extra['option']}) is ")
    assert line.endswith(f"it must be {extra['rule']}")
    assert len(line) < 250


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration_s", 3600),
        ("fps", 1),
        ("seed", 0),
        ("seed", 2**53 - 1),
        ("start_strength", 0),
        ("end_strength", 2),
        ("shift", 0),
        ("crf", 0),
        ("latent_window_size", 33),
    ],
)
def test_the_limits_themselves_are_allowed(field: str, value: float) -> None:
    assert getattr(GenerationRequest.parse(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("model", "Weights to use: tiny, i2v,"),
        ("enhance", ": off, template,"),
        ("interpolation", ": rife, a network"),
        ("vae", ": full, the model's own,"),
        ("system_prompt", ": official, as"),
        ("duration_s", "Length of the video. A number of seconds"),
        ("official_length", ". True or false;"),
    ],
)
def test_help_names_values_as_they_are_typed(field: str, values: str) -> None:
    assert values in str(GenerationRequest.model_fields[field].description)


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(
        InvalidRequest, match=r"unknown field 'duraton_s'; did you mean 'duration_s'"
    ):
        GenerationRequest.parse(duraton_s=4)


def test_all_faults_are_named_in_one_line() -> None:
    with pytest.raises(InvalidRequest, match=r"^fps .*; crf [^\n]*$"):
        GenerationRequest.parse(fps=0, crf=99)


@pytest.mark.parametrize(("given", "missing"), [("width", "height"), ("height", "width")])
def test_width_and_height_go_together(given: str, missing: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{given} is 640 px but no {missing} was given"):
        GenerationRequest.parse(**{given: 640})


def test_a_request_cannot_be_changed() -> None:
    request = GenerationRequest.parse(prompt="a cat")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(request, "prompt", "a dog")  # noqa: B010 - mypy sees a plain assignment


def test_json_round_trip() -> None:
    request = GenerationRequest.parse(
        prompt="ein Bär {}", image="a/b.png", seed=3, width=64, height=80
    )
    assert GenerationRequest.parse(**json.loads(request.model_dump_json())) == request


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_without_picture_says_nothing(prompt: str) -> None:
    request = GenerationRequest.parse(prompt=prompt)
    with pytest.raises(InvalidRequest, match="--prompt, --image"):
        request.require_subject()


@pytest.mark.parametrize("field", ["prompt", "image", "end_image"])
def test_a_prompt_or_any_picture_is_a_subject(field: str) -> None:
    assert GenerationRequest.parse(**{field: "x"}).has_subject


def test_bad_input_has_exit_code_2_and_other_failures_1() -> None:
    assert (InvalidRequest.exit_code, FramePackError.exit_code) == (2, 1)


@pytest.mark.parametrize("field", GenerationRequest.model_fields)
def test_every_field_has_title_option_and_description(field: str) -> None:
    info = GenerationRequest.model_fields[field]
    extra = _extra(field)
    assert info.title
    assert info.description is not None
    assert "default: " in info.description
    assert re.fullmatch(r"--[a-z][a-z-]*", extra["option"])


def test_no_option_is_used_twice() -> None:
    options = [_extra(name)["option"] for name in GenerationRequest.model_fields]
    assert len(options) == len(set(options))


@pytest.mark.parametrize("field", GenerationRequest.model_fields)
def test_help_names_exactly_the_limits_that_are_enforced(field: str) -> None:
    schema = GenerationRequest.model_json_schema()["properties"][field]
    schema = {**schema, **next((s for s in schema.get("anyOf", ()) if "type" in s), {})}
    keys = ("minimum", "exclusiveMinimum", "maximum", "maxLength")
    enforced = {float(schema[key]) for key in keys if key in schema}
    rule = _extra(field)["rule"].removesuffix(", a multiple of 16")
    rule = re.sub(r"`[^`]*`", "", rule)  # examples, which are no limits
    shown = {float(number) for number in re.findall(r"\b\d+\b", rule)}
    assert enforced == shown


def _extra(field: str) -> dict[str, Any]:
    extra = GenerationRequest.model_fields[field].json_schema_extra
    assert isinstance(extra, dict)
    return extra
