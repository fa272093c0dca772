"""Requests with styles, wildcards and tags, read from files as people keep them."""

from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.media.worded import worded

STYLES = """
[noir]
prompt = "film noir, {prompt}"
negative_prompt = "colour"
steps = 12
duration = 2.5

[long]
fps = 12

[odd]
stepz = 3

[wrong]
steps = "many"
"""


@pytest.fixture
def settings(folder: Path) -> Settings:
    (folder / "styles.toml").write_text(STYLES, encoding="utf-8")
    (folder / "animal.txt").write_text("# choices\ncat\n\ndog\nfox\n", encoding="utf-8")
    (folder / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    return Settings(styles_file=folder / "styles.toml", wildcards_dir=folder)


def test_a_plain_request_comes_back_as_it_is(settings: Settings) -> None:
    request = GenerationRequest.parse(prompt="a cat")
    assert worded(request, settings) == (request, None)


def test_a_style_gives_words_and_values_by_the_names_of_options(settings: Settings) -> None:
    request = GenerationRequest.parse(prompt="a cat", styles="noir", num_inference_steps=20)
    said, line = worded(request, settings)
    assert (said.prompt, said.negative_prompt) == ("film noir, a cat", "colour")
    assert (said.num_inference_steps, said.duration_s) == (20, 2.5)
    assert said.styles == ()
    assert line == "Prompt: film noir, a cat"


def test_wildcards_follow_the_seed_which_is_then_set(settings: Settings) -> None:
    def said(**fields: object) -> GenerationRequest:
        asked = GenerationRequest.parse(
            prompt="a __animal__", section_prompts="1: the __animal__ runs", **fields
        )
        return worded(asked, settings)[0]

    assert said(seed=4) == said(seed=4)
    assert len({said(seed=seed).prompt for seed in range(20)}) == 3
    free = said()
    assert free.seed is not None
    assert said(seed=free.seed) == free
    assert "__" not in (free.section_prompts[0].prompt or "__")


def test_tags_join_the_loras_of_the_request(settings: Settings) -> None:
    request = GenerationRequest.parse(prompt="a cat <lora:felt:0.5>", loras="grain:0.3")
    said, _ = worded(request, settings)
    assert said.prompt == "a cat"
    assert [(lora.path.name, lora.weight) for lora in said.loras] == [("grain", 0.3), ("felt", 0.5)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"styles": "nior"}, "no style 'nior' .* did you mean 'noir'"),
        ({"styles": "odd"}, "sets 'stepz', which no request has"),
        ({"styles": "wrong"}, "num_inference_steps .* is 'many'"),
        ({"prompt": "a __plant__"}, "needs a text file .*plant.txt"),
        ({"prompt": "a __empty__"}, "has no line to choose from"),
        ({"section_prompts": "a <lora:x:1>"}, "a LoRA acts in the whole video"),
    ],
)
def test_what_cannot_be_settled_is_one_clear_error(
    settings: Settings, fields: dict[str, object], message: str
) -> None:
    request = GenerationRequest.parse(**{"prompt": "a cat", **fields})
    with pytest.raises(InvalidRequest, match=message) as raised:
        worded(request, settings)
    assert "\n" not in str(raised.value)


def test_without_files_the_error_says_what_to_set(folder: Path) -> None:
    settings = Settings(styles_file=folder / "none.toml", wildcards_dir=None)
    for fields, message in (
        ({"styles": "noir"}, "there is no style file .*none.toml; write one, or set styles_file"),
        ({"prompt": "a __animal__"}, "set wildcards_dir"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            worded(GenerationRequest.parse(**fields), settings)
