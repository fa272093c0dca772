from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
import torch
from tests.helpers.runs import DEFAULTS, plan_without_model
from torch import Tensor

from framepack.domain.choices import StepCacheMethod
from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelDefaults
from framepack.domain.plan import Plan
from framepack.models.encoders import PromptEmbeds
from framepack.models.reuse import RunTables
from framepack.pipeline.conditions import Conditions
from framepack.pipeline.denoise import SectionDenoiser, denoise_section, section_noises
from framepack.pipeline.history import LatentHistory
from framepack.sampling.flow import apply_guidance, section_noise

SHAPE = (1, 4, 9, 2, 2)
METHODS = [method for method in get_args(StepCacheMethod) if method != "off"]


@dataclass
class RecordingNetwork:
    """Returns a fixed flow and remembers what it was asked."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    passes: list[str] = field(default_factory=list)
    prepared: list[tuple[list[Tensor], list[Any], dict[str, Any]]] = field(default_factory=list)
    resets: int = 0
    is_cache_enabled: bool = False

    @contextmanager
    def cache_context(self, name: str, **_: object) -> Any:
        self.passes.append(name)
        yield

    def _reset_stateful_cache(self) -> None:
        self.resets += 1

    def prepare_steps(self, timesteps: list[Tensor], stores: list[Any], **given: Any) -> None:
        self.prepared.append((timesteps, stores, given))

    def __call__(self, **inputs: Any) -> tuple[Tensor]:
        self.calls.append(inputs)
        # Depends on the prompt, so that the two passes differ.
        return (inputs["hidden_states"].float() * 0.5 + inputs["pooled_projections"].float().sum(),)


@dataclass
class FakeSpec:
    defaults: ModelDefaults = DEFAULTS


@dataclass
class FakeComponents:
    transformer: RecordingNetwork
    spec: FakeSpec = field(default_factory=FakeSpec)
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def _plan(variant: str = "bi-directional", **fields: Any) -> Plan:
    return plan_without_model(variant=variant, duration_s=3.0, **fields)


def _conditions(negative: bool = False) -> Conditions:
    def embeds(value: float) -> PromptEmbeds:
        return PromptEmbeds(
            prompt_embeds=torch.full((1, 3, 2), value),
            prompt_mask=torch.ones(1, 3, dtype=torch.bool),
            pooled=torch.full((1, 2), value),
        )

    start = torch.full((1, 4, 1, 2, 2), 5.0)
    return Conditions(
        prompts={"x": embeds(0.25)},
        negative=embeds(-0.5) if negative else None,
        start_latent=start,
        start_anchor=start,
        end_anchor=None,
        image_embeds=torch.ones(1, 2, 3),
    )


def _denoiser(
    plan: Plan,
    components: FakeComponents,
    conditions: Conditions | None = None,
    render_index: int = 0,
    tables: RunTables | None = None,
) -> SectionDenoiser:
    section = plan.sections[render_index]
    history = LatentHistory.empty(
        torch.zeros(1, 4, 1, 2, 2), num_frames=19, grows_backward=plan.is_inverted
    )
    history = history.add(torch.arange(9.0).view(1, 1, 9, 1, 1).expand(SHAPE))
    return SectionDenoiser(
        plan,
        section,
        history.window(section.indices),
        conditions or _conditions(),
        components,  # type: ignore[arg-type]
        tables=tables,
    )


def test_the_network_sees_the_packed_context_of_the_inverted_layout() -> None:
    network = RecordingNetwork()
    _denoiser(_plan(), FakeComponents(network))(torch.zeros(SHAPE), torch.tensor(1.0))
    call = network.calls[0]
    assert call["latents_clean"][0, 0, :, 0, 0].tolist() == [5, 0]
    assert call["latents_history_2x"][0, 0, :, 0, 0].tolist() == [1, 2]
    assert call["latents_history_4x"][0, 0, :, 0, 0].tolist() == [*range(3, 9), *[0] * 10]
    padding = 2 * 9
    assert call["indices_latents_clean"].tolist() == [0, 1 + padding + 9]
    assert call["indices_latents"].tolist() == list(range(1 + padding, 1 + padding + 9))


def test_the_network_sees_the_packed_context_of_the_forward_layout() -> None:
    network = RecordingNetwork()
    _denoiser(_plan("forward-only"), FakeComponents(network))(torch.zeros(SHAPE), torch.tensor(1.0))
    call = network.calls[0]
    assert call["latents_clean"][0, 0, :, 0, 0].tolist() == [5, 8]
    assert call["latents_history_2x"][0, 0, :, 0, 0].tolist() == [6, 7]
    assert call["latents_history_4x"][0, 0, :, 0, 0].tolist() == [*[0] * 10, *range(6)]
    assert call["indices_latents_clean"].tolist() == [0, 19]
    assert call["indices_latents"].tolist() == list(range(20, 29))


def test_clean_latents_are_the_noisy_ones_minus_the_scaled_flow() -> None:
    network = RecordingNetwork()
    x = torch.randn(SHAPE)
    x0 = _denoiser(_plan(), FakeComponents(network))(x, torch.tensor(0.8))
    torch.testing.assert_close(x0, x - 0.8 * (0.5 * x + 0.5))


def test_bf16_rounds_latents_level_and_guidance_but_not_the_result() -> None:
    network = RecordingNetwork()
    x = torch.randn(SHAPE)
    sigma = torch.tensor(0.97351)
    denoiser = _denoiser(_plan(), FakeComponents(network, dtype=torch.bfloat16))
    x0 = denoiser(x, sigma)
    call = network.calls[0]
    assert call["guidance"].item() == 9984
    assert call["timestep"].item() == (sigma * 1000).bfloat16().item() != 973.51
    assert torch.equal(call["hidden_states"], x.bfloat16())
    assert x0.dtype == torch.float32
    rounded = x.bfloat16().float()
    torch.testing.assert_close(x0, rounded - sigma * (0.5 * rounded + 0.5))


@pytest.mark.parametrize("scale", [1.0, 6.0, 32.0])
def test_the_network_gets_the_guidance_that_was_asked(scale: float) -> None:
    network = RecordingNetwork()
    denoiser = _denoiser(_plan(guidance_scale=scale), FakeComponents(network))
    denoiser(torch.zeros(SHAPE), torch.tensor(1.0))
    assert network.calls[0]["guidance"].item() == 1000 * scale


def test_fp32_rounds_nothing() -> None:
    network = RecordingNetwork()
    _denoiser(_plan(), FakeComponents(network))(torch.zeros(SHAPE), torch.tensor(0.97351))
    assert network.calls[0]["guidance"].item() == 10000
    assert network.calls[0]["timestep"].item() == pytest.approx(973.51)


def test_without_true_guidance_there_is_one_pass() -> None:
    network = RecordingNetwork()
    _denoiser(_plan(), FakeComponents(network))(torch.zeros(SHAPE), torch.tensor(1.0))
    assert network.passes == ["cond"]


def test_true_guidance_runs_both_passes_and_combines_them() -> None:
    network = RecordingNetwork()
    plan = _plan(true_cfg_scale=3.0, guidance_rescale=0.3)
    x, sigma = torch.randn(SHAPE), torch.tensor(0.5)
    x0 = _denoiser(plan, FakeComponents(network), _conditions(negative=True))(x, sigma)
    assert network.passes == ["cond", "uncond"]
    flow = apply_guidance(0.5 * x + 0.5, 0.5 * x - 1.0, 3.0, 0.3)
    torch.testing.assert_close(x0, x - 0.5 * flow)


@pytest.mark.parametrize("cached", [True, False])
def test_step_caches_are_reset_for_each_section(cached: bool) -> None:
    network = RecordingNetwork(is_cache_enabled=cached)
    _denoiser(_plan(), FakeComponents(network))
    assert network.resets == cached


def test_a_section_yields_once_per_step() -> None:
    network = RecordingNetwork()
    plan = _plan()
    section = plan.sections[0]
    history = LatentHistory.empty(torch.zeros(1, 4, 1, 2, 2), num_frames=19, grows_backward=True)
    steps = denoise_section(
        plan,
        section,
        history.window(section.indices),
        _conditions(),
        torch.randn(SHAPE),
        FakeComponents(network),  # type: ignore[arg-type]
    )
    assert not network.calls, "nothing runs before the first pull"
    next(steps)
    assert len(network.calls) == 1
    assert [state.step for state in steps] == [2, 3, 4]
    assert torch.is_inference_mode_enabled() is False
    ((timesteps, stores, _),) = network.prepared
    assert [call["reuse"].step for call in network.calls] == stores
    assert all(
        call["reuse"].step is store for call, store in zip(network.calls, stores, strict=True)
    )
    assert [call["timestep"] for call in network.calls] == timesteps


def test_noises_are_those_of_each_section_made_alone() -> None:
    noises = list(section_noises(_plan(seed=11), SHAPE))
    assert len(noises) == _plan().num_sections >= 3
    for render_index, noise in enumerate(noises):
        assert torch.equal(noise, section_noise(11, render_index, SHAPE))


def test_noises_of_a_resumed_run_go_on_where_they_were() -> None:
    noises = section_noises(_plan(seed=11), SHAPE, first_render_index=1)
    assert torch.equal(next(noises), section_noise(11, 1, SHAPE))
    assert torch.equal(next(noises), section_noise(11, 2, SHAPE))


def test_a_seed_of_its_own_changes_one_section_alone() -> None:
    plain = list(section_noises(_plan(seed=11), SHAPE))
    plan = _plan(seed=11, section_seeds="1: 77")
    noises = list(section_noises(plan, SHAPE))
    changed = [not torch.equal(*pair) for pair in zip(plain, noises, strict=True)]
    assert changed == [section.index == 1 for section in plan.sections]
    assert torch.equal(noises[changed.index(True)], section_noise(77, 0, SHAPE))


def test_a_section_with_a_picture_of_its_own_starts_from_that() -> None:
    plan = _plan(section_images="1: a.png")
    other = torch.full((1, 4, 1, 2, 2), 9.0)
    conditions = replace(_conditions(), section_anchors={"a.png": other})
    for section in plan.sections:
        components = FakeComponents(RecordingNetwork())
        _denoiser(plan, components, conditions, section.render_index)(
            torch.zeros(SHAPE), torch.tensor(1.0)
        )
        clean = components.transformer.calls[0]["latents_clean"]
        assert float(clean[:, :, :1].mean()) == (5.0 if section.index == 0 else 9.0)


def test_blending_prompts_reach_the_network_by_their_shares() -> None:
    plan = _plan(prompt="", section_prompts="0: x\n1: y", blend_sections=1)
    conditions = _conditions()
    short = PromptEmbeds(
        prompt_embeds=torch.tensor([[[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]),
        prompt_mask=torch.tensor([[True, False, False]]),
        pooled=torch.ones(1, 2),
    )
    conditions = replace(conditions, prompts={**conditions.prompts, "y": short})
    section = next(section for section in plan.sections if section.index == 1)
    components = FakeComponents(RecordingNetwork())
    _denoiser(plan, components, conditions, section.render_index)(
        torch.zeros(SHAPE), torch.tensor(1.0)
    )
    call = components.transformer.calls[0]
    assert call["encoder_hidden_states"][0, :, 0].tolist() == [0.625, 0.125, 0.125]
    assert call["encoder_attention_mask"].tolist() == [[True, True, True]]
    assert call["pooled_projections"].tolist() == [[0.625, 0.625]]


def test_zero_init_steps_run_no_network_and_change_nothing() -> None:
    plan = _plan(zero_init_steps=2)
    network = RecordingNetwork()
    denoiser = _denoiser(plan, FakeComponents(network))
    x = torch.randn(SHAPE)
    assert torch.equal(denoiser(x, torch.tensor(1.0)), x)
    assert torch.equal(denoiser(x, torch.tensor(0.9)), x)
    assert not network.calls
    assert not torch.equal(denoiser(x, torch.tensor(0.8)), x)
    assert len(network.calls) == 1


def test_zero_init_is_for_the_section_rendered_first() -> None:
    network = RecordingNetwork()
    denoiser = _denoiser(_plan(zero_init_steps=2), FakeComponents(network), render_index=1)
    denoiser(torch.zeros(SHAPE), torch.tensor(1.0))
    assert len(network.calls) == 1


def test_cfg_zero_star_scales_the_negative_prediction() -> None:
    def predicted(**fields: Any) -> Tensor:
        plan = _plan(true_cfg_scale=3.0, **fields)
        denoiser = _denoiser(plan, FakeComponents(RecordingNetwork()), _conditions(negative=True))
        return denoiser(torch.ones(SHAPE), torch.tensor(0.5))

    plain, scaled = predicted(), predicted(cfg_zero_star=True)
    assert not torch.allclose(plain, scaled)
    # Both predictions point the same way here, so nothing is left to lead away from.
    assert torch.allclose(scaled, 1 - 0.5 * torch.ones(SHAPE) * (0.5 + 0.5), atol=1e-6)


OF_EQUAL_STEPS = [False, True, True, False]
"""Which of four equal steps are skipped."""


@dataclass
class StillNetwork(RecordingNetwork):
    """Shows its step cache the same tokens in every pass, as if nothing changed."""

    skipped: list[tuple[str, bool]] = field(default_factory=list)

    def __call__(self, **inputs: Any) -> tuple[Tensor]:
        cache = inputs["step_cache"]
        if cache is not None:
            added = cache.reuse(torch.ones(1, 2, 3))
            if added is None:
                cache.keep(torch.ones(1, 2, 3))
            self.skipped.append((self.passes[-1], added is not None))
        return super().__call__(**inputs)


def _run(denoiser: SectionDenoiser, steps: int) -> list[bool]:
    """Whether each step is skipped."""
    found = []
    for step in range(steps):
        denoiser(torch.zeros(SHAPE), torch.tensor(1.0 - step / steps))
        found.append(denoiser.skipped)
    return found


@pytest.mark.parametrize("method", ["teacache", "first_block", "magcache"])
def test_a_step_cache_skips_all_but_the_first_and_the_last_of_equal_steps(method: str) -> None:
    network = StillNetwork()
    denoiser = _denoiser(_plan(step_cache=method), FakeComponents(network))
    assert _run(denoiser, 4) == OF_EQUAL_STEPS


@pytest.mark.parametrize("method", ["taylorseer", "easycache"])
def test_a_step_cache_that_needs_two_steps_to_go_by_computes_them(method: str) -> None:
    network = StillNetwork()
    denoiser = _denoiser(_plan(step_cache=method), FakeComponents(network))
    assert _run(denoiser, 4) == [False, False, True, False]


def test_a_cache_of_the_whole_network_calls_it_in_no_skipped_step() -> None:
    network = StillNetwork()
    plan = _plan(step_cache="easycache", true_cfg_scale=3.0)
    denoiser = _denoiser(plan, FakeComponents(network), _conditions(negative=True))
    first, second, again = (
        denoiser(torch.ones(SHAPE), torch.tensor(level)) for level in (1.0, 0.7, 0.7)
    )
    assert denoiser.skipped
    assert network.passes == ["cond", "uncond"] * 2
    assert all(call["step_cache"] is None for call in network.calls)
    assert torch.equal(again, second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "fields", [{}, *({"step_cache": each, "step_cache_threshold": 0} for each in METHODS)]
)
def test_without_a_step_cache_or_at_threshold_zero_the_network_gets_none(
    fields: dict[str, Any],
) -> None:
    network = StillNetwork()
    denoiser = _denoiser(_plan(**fields), FakeComponents(network))
    assert _run(denoiser, 4) == [False] * 4
    assert all(call["step_cache"] is None for call in network.calls)


def test_each_guidance_pass_has_a_step_cache_of_its_own() -> None:
    network = StillNetwork()
    plan = _plan(step_cache="teacache", true_cfg_scale=3.0)
    denoiser = _denoiser(plan, FakeComponents(network), _conditions(negative=True))
    assert _run(denoiser, 4) == OF_EQUAL_STEPS
    for name in ("cond", "uncond"):
        assert [was for which, was in network.skipped if which == name] == OF_EQUAL_STEPS
    assert len({id(call["step_cache"]) for call in network.calls}) == 2


def test_a_section_begins_with_empty_step_caches() -> None:
    network = StillNetwork()
    components = FakeComponents(network)
    for render_index in (0, 1):
        denoiser = _denoiser(_plan(step_cache="first_block"), components, render_index=render_index)
        assert _run(denoiser, 4) == OF_EQUAL_STEPS


def test_ratios_are_those_of_the_steps_in_which_the_network_is_asked() -> None:
    """With the first step left out, the second one's ratio is the first that counts."""
    ratios = (9.0, 9.0, 1.0, 9.0, 9.0)
    spec = FakeSpec(replace(DEFAULTS, magcache_ratios=(ratios,), magcache_retention=0.0))
    plan = _plan(step_cache="magcache", num_inference_steps=5, zero_init_steps=1)
    denoiser = _denoiser(plan, FakeComponents(StillNetwork(), spec))
    assert _run(denoiser, 5) == [False, False, True, False, False]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("zero_init_steps", [1, 2])
def test_a_section_whose_steps_are_all_left_out_has_no_step_cache(
    method: StepCacheMethod, zero_init_steps: int
) -> None:
    spec = FakeSpec(replace(DEFAULTS, magcache_ratios=((1.0,) * 5,)))
    plan = _plan(step_cache=method, num_inference_steps=5, zero_init_steps=zero_init_steps)
    redrawn = plan.request.model_copy(update={"video": "clip.mp4", "video_strength": 0.8})
    plan = plan.model_copy(update={"request": redrawn})
    assert plan.num_spared_steps == 4
    network = StillNetwork()
    assert _run(_denoiser(plan, FakeComponents(network, spec)), 1) == [False]
    assert not network.calls


def test_a_recipe_that_lost_its_ratios_is_refused() -> None:
    spec = FakeSpec(replace(DEFAULTS, magcache_ratios=()))
    with pytest.raises(InvalidRequest, match="framepack models calibrate"):
        _denoiser(_plan(step_cache="magcache"), FakeComponents(StillNetwork(), spec))


def test_zero_init_steps_do_not_count_for_the_step_cache() -> None:
    network = StillNetwork()
    plan = _plan(step_cache="teacache", zero_init_steps=1)
    assert _run(_denoiser(plan, FakeComponents(network)), 4) == [False, False, True, False]


def test_steps_say_whether_they_were_skipped() -> None:
    plan = _plan(step_cache="teacache")
    section = plan.sections[0]
    history = LatentHistory.empty(torch.zeros(1, 4, 1, 2, 2), num_frames=19, grows_backward=True)
    steps = denoise_section(
        plan,
        section,
        history.window(section.indices),
        _conditions(),
        torch.randn(SHAPE),
        FakeComponents(StillNetwork()),  # type: ignore[arg-type]
    )
    assert [step.skipped for step in steps] == OF_EQUAL_STEPS


def test_sections_share_what_depends_on_prompt_and_noise_level_only() -> None:
    network, tables = RecordingNetwork(), RunTables()
    for render_index in (0, 1):
        denoiser = _denoiser(
            _plan(true_cfg_scale=2.0),
            FakeComponents(network),
            _conditions(negative=True),
            render_index=render_index,
            tables=tables,
        )
        for sigma in (1.0, 0.5):
            denoiser(torch.zeros(SHAPE), torch.tensor(sigma))
    first, second = network.calls[:4], network.calls[4:]
    kept = [call["reuse"].step for call in first]
    assert len({id(each) for each in kept}) == 4, "two levels in two passes"
    assert all(a is b["reuse"].step for a, b in zip(kept, second, strict=True))
    sections = {id(call["reuse"].section) for call in network.calls}
    assert len(sections) == 2
    assert all(call["reuse"].section is first[0]["reuse"].section for call in first)


def test_another_guidance_scale_shares_nothing() -> None:
    network, tables = RecordingNetwork(), RunTables()
    for scale in (10.0, 6.0):
        denoiser = _denoiser(_plan(guidance_scale=scale), FakeComponents(network), tables=tables)
        denoiser(torch.zeros(SHAPE), torch.tensor(1.0))
    assert network.calls[0]["reuse"].step is not network.calls[1]["reuse"].step
