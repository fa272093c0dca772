"""Every valid request plans, and every plan keeps the promises that rendering rests on."""

import random
from typing import Any

import pytest

from framepack.domain.buckets import BUCKETS
from framepack.domain.choices import SOLVERS, VARIANTS
from framepack.domain.errors import InvalidRequest
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.models.spec import PRESETS, resolve_spec

CASES = 200


def drawn(case: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a request, and what ``make_plan`` is told besides."""
    rng = random.Random(case)
    model = rng.choice(["tiny", "i2v", "f1"])
    variants = PRESETS[model].variants
    variant = rng.choice([None, *variants])
    has_end = rng.random() < 0.3 and "bi-directional" in variants and variant != "forward-only"
    sizes = [(rng.randint(1, 4000), rng.randint(1, 4000)), (640, 640), *BUCKETS]
    fields: dict[str, Any] = {
        "prompt": rng.choice(["a cat", "{braces} é 猫", "x" * 3000]),
        "model": model,
        "duration_s": rng.choice([0.01, rng.uniform(0.1, 8), rng.uniform(0.1, 120)]),
        "fps": rng.choice([1, 8, 12.5, 16, 23.976, 24, 30, 60, 120]),
        "latent_window_size": rng.randint(1, 33),
        "interpolate": rng.randint(0, 8),
        "num_inference_steps": rng.randint(1, 60),
        "true_cfg_scale": rng.choice([1, 1.5, 6]),
        "shift": rng.choice([0, 3, 7.5]),
        "solver": rng.choice(SOLVERS),
        "official_length": rng.random() < 0.2,
        "blend_sections": rng.choice([0, 0, 1, 4]),
        "start_strength": rng.uniform(0, 2),
        "section_mode": rng.choice(["append", "replace"]),
        "seed": rng.randrange(2**53 - 1),
    }
    if variant is not None:
        fields["variant"] = variant
    if rng.random() < 0.3:
        fields["resolution"] = {"tiny": 96}.get(model, rng.randint(240, 1088))
    if fields["duration_s"] > 1 and rng.random() < 0.4:
        texts = ["[0s: one]\n[0.5s: two]", "0: one\n-1: two", "0:one;;;0-0:two", "one line"]
        fields["section_prompts"] = rng.choice(texts)
    pictures = {
        "image_size": rng.choice(sizes) if rng.random() < 0.7 else None,
        "end_image_size": rng.choice(sizes) if has_end else None,
    }
    return fields, pictures


def planned(case: int) -> Plan:
    fields, pictures = drawn(case)
    request = GenerationRequest.parse(**fields)
    spec = resolve_spec(request.model, request.variant)
    return make_plan(
        request,
        model=spec.key,
        geometry=spec.geometry,
        defaults=spec.defaults,
        variants=spec.variants,
        **pictures,
    )


@pytest.mark.parametrize("case", range(CASES))
def test_every_valid_request_plans(case: int) -> None:
    plan = planned(case)
    assert planned(case) == plan == Plan.from_json(plan.to_json())
    _check_size(plan)
    _check_frames(plan)
    _check_indices(plan)


def test_the_cases_are_of_every_kind() -> None:
    plans = [planned(case) for case in range(CASES)]
    assert {plan.variant for plan in plans} == set(VARIANTS)
    assert {plan.mode for plan in plans} == {"t2v", "i2v", "flf2v", "lf2v"}
    assert {plan.model for plan in plans} == {"tiny", "i2v", "f1"}
    assert max(plan.num_sections for plan in plans) > 50


def _check_size(plan: Plan) -> None:
    geometry = PRESETS[plan.model].geometry
    for side in (plan.width, plan.height):
        assert side % geometry.size_multiple == 0
        assert geometry.min_size <= side <= geometry.max_size


def _check_frames(plan: Plan) -> None:
    request = plan.request
    factor = max(request.interpolate, 1)
    reached = (plan.num_kept_frames - 1) * factor + 1
    assert plan.num_kept_frames <= plan.num_generated_frames
    assert reached - factor < plan.num_frames <= reached
    if plan.mode in ("t2v", "i2v") and not request.official_length:
        assert plan.num_frames == max(round(request.duration_s * request.fps), 1)
    else:
        assert plan.num_frames == reached
        assert plan.num_kept_frames == plan.num_generated_frames
    ordered = sorted(plan.sections, key=lambda section: section.index)
    assert [section.index for section in ordered] == list(range(plan.num_sections))
    position = 0
    for section in ordered:
        assert section.start_frame == position
        assert section.end_frame >= section.start_frame
        position = section.end_frame
    assert position == plan.num_kept_frames
    assert abs(sum(share for _, share in ordered[-1].texts) - 1) < 1e-9


def _check_indices(plan: Plan) -> None:
    geometry, window = PRESETS[plan.model].geometry, plan.latent_window_size
    tiers = {tier.name: tier.latent_frames for tier in geometry.layout.tiers}
    renders = [section.render_index for section in plan.sections]
    assert renders == list(range(plan.num_sections))
    for section in plan.sections:
        indices = section.indices
        assert indices.noisy == tuple(range(indices.noisy[0], indices.noisy[0] + window))
        assert (len(indices.history_2x), len(indices.history_4x)) == (tiers["2x"], tiers["4x"])
        used = (
            *indices.start,
            *indices.noisy,
            *indices.clean_1x,
            *indices.history_2x,
            *indices.history_4x,
        )
        assert len(set(used)) == len(used), "two latent frames in one place"
        assert min(used) == 0 == indices.start[0]
        if plan.is_inverted:
            assert indices.noisy[0] == 1 + section.padding * window
            assert max(used) == section.padding * window + window + sum(tiers.values())
            assert min(indices.clean_1x) > max(indices.noisy)
        else:
            assert section.padding == 0
            assert max(used) == max(indices.noisy) == len(used) - 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"duration_s": -1}, "duration"),
        ({"duration_s": 0}, "duration"),
        ({"duration_s": float("nan")}, "duration"),
        ({"fps": 0}, "fps"),
        ({"interpolate": 9}, "interpolate"),
        ({"latent_window_size": 0}, "latent_window_size"),
        ({"section_prompts": "\n".join("abcdefghijkl")}, "12 .* sections"),
    ],
)
def test_what_is_no_request_is_one_clear_line(fields: dict[str, Any], message: str) -> None:
    spec = PRESETS["i2v"]
    with pytest.raises(InvalidRequest, match=message) as raised:
        make_plan(
            GenerationRequest.parse(**{"prompt": "a cat", **fields}),
            model=spec.key,
            geometry=spec.geometry,
            defaults=spec.defaults,
            variants=spec.variants,
        )
    assert "\n" not in str(raised.value)
