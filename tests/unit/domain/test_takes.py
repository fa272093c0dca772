"""Requests for takes, without a model: what they say of sections, and what stays."""

from typing import Any

import pytest
from tests.helpers.runs import plan_without_model

from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan
from framepack.domain.request import GenerationRequest
from framepack.domain.takes import made_longer, steered_anew, with_section_again


def asked(**fields: Any) -> tuple[Plan, GenerationRequest]:
    """A video of four sections, and its request."""
    values: dict[str, Any] = {
        "duration_s": 4.5,
        "latent_window_size": 9,
        "variant": "forward-only",
        **fields,
    }
    plan = plan_without_model(**values)
    assert plan.num_sections == 4
    return plan, GenerationRequest.parse(prompt="x", **values)


@pytest.mark.parametrize(("variant", "num_kept"), [("forward-only", 1), ("bi-directional", 2)])
def test_what_was_rendered_before_the_section_stays(variant: str, num_kept: int) -> None:
    plan, request = asked(variant=variant)
    again, found = with_section_again(plan, request, section=1, seed=9)
    assert found == num_kept
    sections = plan_without_model(**dict(again.model_dump(exclude_unset=True))).sections
    assert {each.index: each.seed for each in sections} == {0: None, 1: 9, 2: None, 3: None}


def test_what_was_said_of_sections_holds_in_the_others() -> None:
    plan, request = asked(section_prompts="it stands\nit runs")
    again, _ = with_section_again(plan, request, section=-1, prompt="it jumps")
    sections = plan_without_model(**dict(again.model_dump(exclude_unset=True))).sections
    assert [each.prompt.split()[-1] for each in sections] == ["stands", "stands", "runs", "jumps"]


@pytest.mark.parametrize("section", [4, -5])
def test_a_section_that_is_not_there_is_refused(section: int) -> None:
    plan, request = asked()
    with pytest.raises(InvalidRequest, match=f"section {section} .* has sections 0 to 3"):
        with_section_again(plan, request, section=section, seed=1)


def test_a_longer_video_begins_as_it_was_and_is_steered_where_it_is_new() -> None:
    plan, request = asked(section_prompts="it stands\nit runs")
    longer = steered_anew(plan, made_longer(plan, request, by_s=2), prompt="it jumps", seed=5)
    found = plan_without_model(**dict(longer.model_dump(exclude_unset=True)))
    words = [each.prompt.split()[-1] for each in found.sections]
    assert words[:4] == ["stands", "stands", "runs", "runs"]
    assert set(words[4:]) == {"jumps"}
    assert [each.seed for each in found.sections[:5]] == [None] * 4 + [5]
    assert found.duration_s == pytest.approx(plan.duration_s + 2, abs=0.05)
