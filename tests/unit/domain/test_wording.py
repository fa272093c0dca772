"""Styles, wildcards and LoRA tags become plain text, the same for the same seed."""

import random
from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.wording import (
    Style,
    apply_styles,
    fill_wildcards,
    has_wildcards,
    take_lora_tags,
)

LINES = {"animal": ("cat", "dog"), "deep/one": ("a __animal__",), "self": ("__self__",)}


def filled(text: str, seed: int = 0) -> str:
    return fill_wildcards(text, LINES.__getitem__, random.Random(seed))


def test_a_style_stands_around_the_prompt_or_after_it() -> None:
    around = Style("noir", prompt="film noir, {prompt}, rain")
    after = Style("soft", prompt="soft light", negative_prompt="text")
    said = apply_styles({"prompt": "a cat"}, [around, after])
    assert said == {"prompt": "film noir, a cat, rain, soft light", "negative_prompt": "text"}
    assert apply_styles({}, [around])["prompt"] == "film noir, , rain"
    assert apply_styles({}, [after])["prompt"] == "soft light"


def test_what_was_given_wins_over_styles_and_the_first_over_the_next() -> None:
    styles = [
        Style("one", values={"fps": 24, "num_inference_steps": 8}),
        Style("two", values={"fps": 12, "crf": 20}),
    ]
    said = apply_styles({"num_inference_steps": 30}, styles)
    assert said == {"num_inference_steps": 30, "fps": 24, "crf": 20}


def test_every_wildcard_is_filled_those_in_lines_too() -> None:
    found = {filled("a __animal__ and __deep/one__", seed) for seed in range(40)}
    assert found == {f"a {one} and a {two}" for one in ("cat", "dog") for two in ("cat", "dog")}
    assert filled("a __animal__", 3) == filled("a __animal__", 3)


@pytest.mark.parametrize("text", ["a {b|c} d", "snake_case", "__ x __", "a__b", "___"])
def test_other_text_is_left_alone(text: str) -> None:
    assert not has_wildcards(text)
    assert filled(text) == text
    assert take_lora_tags(text) == (text, ())


def test_a_wildcard_of_itself_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="__self__ leads to others"):
        filled("__self__")


def test_lora_tags_leave_the_text() -> None:
    text, loras = take_lora_tags("a cat <lora:felt:0.8>, slow  <LORA:C:\\x\\grain.safetensors:1>")
    assert text == "a cat , slow"
    assert [(lora.path, lora.weight) for lora in loras] == [
        (Path("felt"), 0.8),
        (Path("C:\\x\\grain.safetensors"), 1.0),
    ]
    assert take_lora_tags("<lora:felt> a cat")[1][0].weight == 1


@pytest.mark.parametrize("tag", ["<lora:>", "<lora:felt:99>", "<lora::0.5>"])
def test_a_bad_tag_is_one_clear_error(tag: str) -> None:
    with pytest.raises(InvalidRequest, match="write <lora:NAME:WEIGHT>"):
        take_lora_tags(f"a cat {tag}")
