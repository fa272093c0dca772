"""Claims about what changes along a video: how it is written and where it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from framepack.domain.errors import InvalidRequest
from framepack.domain.loras import LoraRef
from framepack.domain.section_settings import SectionSettings, settle_sections
from framepack.domain.timeline import CueKind, SectionCue, SectionMode, read_cues

SECTION_S = 1.2


def settled(
    written: object,
    num_sections: int,
    *,
    kind: CueKind = "prompt",
    prompt: str = "",
    mode: SectionMode = "append",
    blend: int = 0,
    loras: Sequence[LoraRef] = (),
) -> tuple[SectionSettings, ...]:
    return settle_sections(
        read_cues(written, kind),
        prompt=prompt,
        mode=mode,
        blend_sections=blend,
        starts_s=[SECTION_S * index for index in range(num_sections)],
        duration_s=SECTION_S * num_sections,
        loras=loras,
    )


def prompts(written: object, num_sections: int, **options: Any) -> list[str]:
    return [each.prompt for each in settled(written, num_sections, **options)]


def test_lines_share_the_sections() -> None:
    assert prompts("a\nb", 4) == ["a", "a", "b", "b"]
    assert prompts("a\nb\nc", 3) == ["a", "b", "c"]
    # Line i * L // S: of 5 sections the first line of 3 has two, as has the second.
    assert prompts("a\nb\nc", 5) == ["a", "a", "b", "b", "c"]
    assert prompts("a", 3) == ["a", "a", "a"]


@pytest.mark.parametrize("lines", range(1, 8))
@pytest.mark.parametrize("count", range(7, 12))
def test_every_section_has_the_line_of_the_rule(lines: int, count: int) -> None:
    names = [str(chr(97 + index)) for index in range(lines)]
    assert prompts("\n".join(names), count) == [names[i * lines // count] for i in range(count)]


def test_commas_and_empty_lines_do_not_split() -> None:
    assert prompts("\na cat, a dog\n\n  a bird  \n", 2) == ["a cat, a dog", "a bird"]


def test_more_lines_than_sections_name_both_counts() -> None:
    with pytest.raises(InvalidRequest, match=r"3 section lines but only 2 sections in 2\.4 s"):
        settled("a\nb\nc", 2)


def test_keys_hold_until_the_next_one() -> None:
    assert prompts("1: a\n3: b", 5) == ["", "a", "a", "b", "b"]
    assert prompts("3: b\n1: a", 5) == ["", "a", "a", "b", "b"]
    assert prompts("-1: end", 3) == ["", "", "end"]
    assert prompts("0-1: a\n3: b", 5) == ["a", "a", "", "b", "b"]
    assert prompts("1-2: a", 5) == ["", "a", "a", "", ""]
    assert prompts("-3--2: a", 4) == ["", "a", "a", ""]


def test_a_key_among_lines_without_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' names no section while other lines do"):
        read_cues("1: a\nb", "prompt")


def test_words_before_a_colon_are_no_key() -> None:
    assert prompts("A cat: it runs", 1) == ["A cat: it runs"]


@pytest.mark.parametrize("key", ["5: x", "-6: x", "1-5: x", "3-2: x"])
def test_sections_that_are_not_there_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="0 to 4"):
        settled(key, 5)


def test_times_begin_at_the_nearest_section() -> None:
    # Sections start at 0, 1.2, 2.4, 3.6 s.
    assert prompts("[2s: jumps]", 4) == ["", "", "jumps", "jumps"]
    assert prompts("[4s: jumps]", 4) == ["", "", "", "jumps"]
    assert prompts("[0.5s: a] [1.1s: b]", 4) == ["a", "b", "b", "b"]


def test_a_stretch_of_time_ends_and_is_never_empty() -> None:
    assert prompts("[0s-2.2s: sleeps]", 4) == ["sleeps", "sleeps", "", ""]
    assert prompts("[1.2s-1.3s: blinks]", 4) == ["", "blinks", "", ""]


def test_text_outside_of_times_holds_from_the_start() -> None:
    assert prompts("A cat [2.4s: jumps] sleeps", 3) == ["A cat sleeps", "A cat sleeps", "jumps"]


@pytest.mark.parametrize("text", ["[2s jumps]", "a [2s: b", "[3s-2s: a]"])
def test_nearly_right_times_are_refused(text: str) -> None:
    with pytest.raises((ValueError, ValidationError)):
        read_cues(text, "prompt")


def test_a_time_past_the_end_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"9 s is not in the video, which ends at 4\.8 s"):
        settled("[9s: a]", 4)


def test_separated_entries_hold_in_their_sections_only() -> None:
    assert prompts("0:a;;;2:b", 4) == ["a", "a", "b", "a"]
    assert prompts("0:a;;;1-2:b;;;-1:c", 4) == ["a", "b", "b", "c"]
    # Where both name a section, the one counted from the end wins.
    assert prompts("0:a;;;-1:end;;;2:b", 3) == ["a", "a", "end"]
    assert prompts("0:a;;;-2:b", 4) == ["a", "a", "b", "a"]


def test_separated_text_without_a_number_stands_for_all() -> None:
    assert prompts("A cat: it runs;;;1:it sits", 3) == [
        "A cat: it runs",
        "it sits",
        "A cat: it runs",
    ]


def test_section_text_follows_the_prompt_or_replaces_it() -> None:
    written = "1: it jumps"
    assert prompts(written, 2, prompt="A cat") == ["A cat", "A cat it jumps"]
    assert prompts(written, 2, prompt="A cat", mode="replace") == ["A cat", "it jumps"]
    assert prompts("1: a\n2:", 3, prompt="A cat", mode="replace") == ["A cat", "a", "A cat"]


def test_pictures_and_seeds_do_not_end_prompts() -> None:
    cues = [
        *read_cues("0: a\n3: b", "prompt"),
        *read_cues("1: one.png", "image"),
        *read_cues("2: 7", "seed"),
    ]
    found = settled(cues, 4)
    assert [each.prompt for each in found] == ["a", "a", "a", "b"]
    assert [each.image for each in found] == [None, *[Path("one.png")] * 3]
    assert [each.seed for each in found] == [None, None, 7, None]


def test_a_seed_is_for_one_section_and_counts_up_over_several() -> None:
    found = settled("0: 9\n2-3: 4", 5, kind="seed")
    assert [each.seed for each in found] == [9, None, 4, 5, None]


def test_one_cue_may_say_everything() -> None:
    cue = {"section": 1, "prompt": "a", "image": "b.png", "seed": 3}
    assert settled([cue], 2)[1] == SectionSettings("a", (), Path("b.png"), 3)


def test_mappings_and_lists_read_as_text_does() -> None:
    assert prompts({0: "a", "2s": "b", "-1": {"prompt": "c"}}, 4) == ["a", "a", "b", "c"]
    assert prompts(["a", "b"], 4) == ["a", "a", "b", "b"]
    assert prompts({1: None}, 2, prompt="A cat") == ["A cat", "A cat"]


@pytest.mark.parametrize(
    "written", ["x", {"x": "a"}, [{"section": 1}], [{"foo": 1}], 3, [{"section": 1, "time_s": 2}]]
)
def test_nonsense_is_refused(written: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_cues(written, "seed")


def test_prompts_blend_over_sections() -> None:
    found = settled("0: a\n2: b", 5, blend=1)
    assert [each.mixture for each in found] == [(), (), (("a", 0.5), ("b", 0.5)), (), ()]
    thirds = settled("0: a\n1: b\n2: c", 4, blend=2)
    assert thirds[1].mixture == (("a", 2 / 3), ("b", 1 / 3))
    assert thirds[2].mixture == (("a", 1 / 3), ("b", 1 / 3), ("c", 1 / 3))
    assert thirds[3].mixture == (("b", 1 / 3), ("c", 2 / 3))
    assert [each.prompt for each in thirds] == ["a", "b", "c", "c"]


def test_the_same_prompt_does_not_blend_with_itself() -> None:
    assert all(each.mixture == () for each in settled("0: a\n1: a", 3, blend=4))


def test_cues_survive_json() -> None:
    for cue in read_cues("0:a;;;-2--1:b", "prompt"):
        assert SectionCue.model_validate_json(cue.model_dump_json()) == cue


def test_even_and_odd_hold_in_every_second_section_only() -> None:
    assert prompts("even: a\nodd: b", 5) == ["a", "b", "a", "b", "a"]
    assert prompts("odd: b", 4, prompt="A cat") == ["A cat", "A cat b", "A cat", "A cat b"]
    assert prompts({"0": "a", "odd": "b"}, 3) == prompts("0:a;;;odd:b", 3) == ["a", "b", "a"]
    assert prompts([{"every": "odd", "prompt": "b"}], 2) == ["", "b"]
    pictures = settled("even: a.png\nodd: b.png", 3, kind="image")
    assert [str(each.image) for each in pictures] == ["a.png", "b.png", "a.png"]


def test_a_section_named_by_number_counts_before_every_second_one() -> None:
    assert prompts("even: a\n2: c", 5) == ["a", "", "c", "c", "a"]
    assert prompts("2-2: c\neven: a", 5) == ["a", "", "c", "", "a"]


def test_seeds_of_every_second_section_count_up() -> None:
    assert [each.seed for each in settled("odd: 5", 6, kind="seed")] == [None, 5, None, 6, None, 7]


def test_odd_sections_of_a_single_one_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no odd section in the video, which has only sec"):
        settled("odd: a", 1)
    with pytest.raises(ValidationError, match="even sections have no end"):
        SectionCue(every="even", until_section=3, prompt="a")


LORAS = [LoraRef(path=Path("/l/style.safetensors"), weight=0.8), LoraRef(path=Path("/l/grain.x"))]


def weights(written: object, num_sections: int) -> list[tuple[float, ...]]:
    return [each.loras for each in settled(written, num_sections, kind="loras", loras=LORAS)]


def test_weights_of_loras_are_a_factor_or_by_name() -> None:
    assert weights("0: 0\n1: 0.5\n2: style:0.3, grain.x:-1\n3: grain: 2", 5) == [
        (0, 0),
        (0.4, 0.5),
        (0.3, -1),
        (0.8, 2),
        (0.8, 2),
    ]
    assert weights({"1": {"/l/style.safetensors": 0}}, 2) == [(0.8, 1), (0, 1)]
    assert weights([0, {"grain": 3}], 2) == [(0, 0), (0.8, 3)]
    assert weights([{"section": 1, "loras": {"grain": 3}}], 2) == [(0.8, 1), (0.8, 3)]
    assert weights("even: 0", 3) == [(0, 0), (0.8, 1), (0, 0)]


def test_weights_that_change_nothing_are_none() -> None:
    assert weights("0: 1\n1: style:0.8", 3) == [(), (), ()]
    assert weights("0.5", 2) == [(0.4, 0.5), (0.4, 0.5)]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("1: felt:1", "names LoRA felt, but the video has style, grain"),
        ("0: 10\n1: 1\n2: 3", "section 2 is not in the video"),
        ("1\n2\n3", "3 section lines but only 2 sections"),
    ],
)
def test_weights_that_do_not_fit_the_video_are_refused(written: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        weights(written, 2)


def test_weights_out_of_range_and_twofold_names_are_refused() -> None:
    strong = [LoraRef(path=Path("a/style.safetensors"), weight=3)]
    with pytest.raises(InvalidRequest, match=r"style\.safetensors gets the weight 15 in a section"):
        settled("5", 1, kind="loras", loras=strong)
    twins = [*strong, LoraRef(path=Path("b/style.safetensors"))]
    with pytest.raises(InvalidRequest, match="style, which fits 2 files"):
        settled("style:1", 1, kind="loras", loras=twins)
    with pytest.raises(InvalidRequest, match="the video has no LoRA; add --lora"):
        settled("1", 1, kind="loras")


@pytest.mark.parametrize("text", ["x", "a:1, a:2", "20", "nan", "a:nan", ":1", "a:1, b"])
def test_what_is_no_weight_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LoRA"):
        read_cues(text, "loras")
