"""What a speed stands for, and what a step cache needs of its model."""

from typing import Any

import pytest
from tests.helpers.plans import BOTH, LARGE, defaults

from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.domain.step_caches import interpolated
from framepack.models.spec import PRESETS

FITTED: dict[str, Any] = {
    "teacache_threshold": 0.15,
    "speed_balanced": ("easycache", 0.02),
    "speed_fast": ("teacache", 0.3),
}


def planned(model: dict[str, Any] = FITTED, **fields: Any) -> Plan:
    plan = make_plan(
        GenerationRequest.parse(prompt="a cat", **fields),
        model="i2v",
        geometry=LARGE,
        defaults=defaults(**model),
        variants=BOTH,
    )
    assert Plan.from_json(plan.to_json()) == plan
    return plan


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("off", None)),
        ({"speed": "exact", "step_cache_threshold": 0.3}, ("off", None)),
        ({"speed": "balanced"}, ("easycache", 0.02)),
        ({"speed": "fast"}, ("teacache", 0.3)),
        ({"speed": "fast", "step_cache_threshold": 0.5}, ("teacache", 0.5)),
        ({"speed": "fast", "step_cache": "off"}, ("off", None)),
        ({"speed": "balanced", "step_cache": "teacache"}, ("teacache", 0.15)),
        ({"speed": "exact", "step_cache": "teacache"}, ("teacache", 0.15)),
    ],
)
def test_what_is_asked_for_wins_over_the_speed(
    fields: dict[str, Any], expected: tuple[str, float | None]
) -> None:
    request = planned(**fields).request
    assert (request.step_cache, request.step_cache_threshold) == expected


def test_the_plan_says_what_a_speed_came_to() -> None:
    notes = planned(speed="balanced").notes
    assert "Speed balanced: --step-cache easycache --step-cache-threshold 0.02." in notes
    assert "Speed fast: --step-cache off." in planned(speed="fast", step_cache="off").notes
    assert not any("Speed" in note for note in planned().notes)


def test_only_the_fastest_speed_allows_attention_that_is_approximate() -> None:
    allowed = {
        speed: planned(speed=speed).request.allows_approximate_attention
        for speed in ("exact", "balanced", "fast")
    }
    assert allowed == {"exact": False, "balanced": False, "fast": True}


def test_a_plan_of_a_time_without_speeds_is_exact() -> None:
    document = planned().to_dict()
    del document["request"]["speed"]
    plan = Plan.model_validate(document)
    assert (plan.request.speed, plan.request.step_cache) == ("exact", "off")


def test_magcache_is_refused_where_nobody_measured_ratios() -> None:
    with pytest.raises(InvalidRequest, match=r"magnitude ratios.* `framepack models calibrate`"):
        planned(step_cache="magcache")
    assert planned(step_cache="magcache", step_cache_threshold=0).request.step_cache == "magcache"
    measured = {"magcache_ratios": ((1.0, 0.9),)}
    assert planned(measured, step_cache="magcache").request.step_cache_threshold == 0.06


def test_taylorseer_counts_whole_steps() -> None:
    assert planned(step_cache="taylorseer").request.step_cache_threshold == 1
    with pytest.raises(InvalidRequest, match=r"is 0\.5, but taylorseer .* a whole number"):
        planned(step_cache="taylorseer", step_cache_threshold=0.5)


def test_ratios_come_from_the_number_of_steps_that_is_nearest() -> None:
    few, many = (1.0, 2.0, 3.0), tuple(map(float, range(10)))
    model = defaults(magcache_ratios=(few, many))
    assert model.magnitude_ratios(3) == few
    assert model.magnitude_ratios(10) == many
    assert model.magnitude_ratios(4) == (1.0, 2.0, 2.0, 3.0)
    assert model.magnitude_ratios(9)[-2:] == (8.0, 9.0)


def test_a_single_step_takes_the_last_ratio() -> None:
    assert interpolated((1.0, 0.5), 1) == (0.5,)
    assert interpolated((0.5,), 3) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("model", PRESETS)
def test_every_preset_has_what_its_speeds_need(model: str) -> None:
    preset = PRESETS[model].defaults
    assert [preset.step_cache_at(speed)[0] != "off" for speed in ("balanced", "fast")] == [True] * 2
    steps = preset.num_inference_steps
    assert any(len(ratios) == steps for ratios in preset.magcache_ratios)
    for ratios in preset.magcache_ratios:
        assert ratios[0] == 1
        assert all(0.7 < ratio < 1.4 for ratio in ratios)
