"""The transformer does without its blocks when a step cache says so, and only then."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from tests.helpers.networks import build, relative_error, section_inputs
from torch import Tensor

from framepack.domain.packing import inverted_indices
from framepack.models.blocks import modulate
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.sampling.caches import FirstBlockCache, MagCache, StepCache, TaylorSeer, TeaCache

SECTION = inverted_indices(1, 3)
NUM_NOISY = 3 * 4 * 6  # latent frames of 8 x 12 in patches of 2


@dataclass
class Recording:
    """A cache that does as it is told, and remembers what it was shown."""

    after_first_block: bool
    answer: Tensor | None = None
    signals: list[Tensor] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)

    def reuse(self, signal: Tensor) -> Tensor | None:
        self.signals.append(signal)
        return self.answer

    def keep(self, added: Tensor) -> None:
        self.kept.append(added)


@pytest.fixture(scope="module")
def model() -> FramePackTransformer3DModel:
    return build()


@torch.inference_mode()
def predict(
    model: FramePackTransformer3DModel,
    cache: Recording | StepCache | None,
    timestep: float = 500.0,
    seed: int = 1,
) -> Tensor:
    inputs = {**section_inputs(SECTION, seed=seed), "timestep": torch.tensor([timestep])}
    sample: Tensor = model(**inputs, step_cache=cache, return_dict=False)[0]
    return sample


@pytest.mark.parametrize("after_first_block", [False, True])
def test_a_pass_that_runs_its_blocks_is_exact(
    model: FramePackTransformer3DModel, after_first_block: bool
) -> None:
    cache = Recording(after_first_block)
    assert torch.equal(predict(model, cache), predict(model, None))
    assert [added.shape for added in cache.kept] == [(1, NUM_NOISY, 64)]


@pytest.mark.parametrize("after_first_block", [False, True])
def test_adding_again_what_was_added_gives_the_same_pass(
    model: FramePackTransformer3DModel, after_first_block: bool
) -> None:
    cache = Recording(after_first_block)
    exact = predict(model, cache)
    cache.answer = cache.kept[0]
    assert relative_error(predict(model, cache), exact) < 1e-5
    assert len(cache.kept) == 1


@pytest.mark.parametrize(("after_first_block", "num_run"), [(False, 0), (True, 1)])
def test_a_skipped_pass_runs_no_block_but_the_one_it_goes_by(
    after_first_block: bool, num_run: int
) -> None:
    model = build()
    ran: list[int] = []
    for block in (*model.transformer_blocks, *model.single_transformer_blocks):
        block.register_forward_hook(lambda *_: ran.append(1))
    predict(model, Recording(after_first_block, torch.zeros(1, NUM_NOISY, 64)))
    assert len(ran) == num_run


def test_teacache_is_shown_the_modulated_tokens_of_noise_and_history() -> None:
    model = build()
    entered: dict[str, Tensor] = {}

    def remember(_: object, __: object, inputs: dict[str, Tensor]) -> None:
        entered.update(inputs)

    model.transformer_blocks[0].register_forward_pre_hook(remember, with_kwargs=True)
    cache = Recording(after_first_block=False)
    predict(model, cache)
    with torch.inference_mode():
        shift, scale, *_ = model.transformer_blocks[0].norm1(entered["temb"])
        expected = modulate(entered["hidden_states"], shift, scale)
    assert torch.equal(cache.signals[0], expected)
    assert cache.signals[0].shape[1] > NUM_NOISY


def test_the_first_block_cache_is_shown_what_the_first_block_adds() -> None:
    model = build()
    seen: list[Tensor] = []

    def remember(
        _: object, __: object, inputs: dict[str, Tensor], output: tuple[Tensor, Tensor]
    ) -> None:
        seen.append(output[0] - inputs["hidden_states"])

    model.transformer_blocks[0].register_forward_hook(remember, with_kwargs=True)
    cache = Recording(after_first_block=True)
    predict(model, cache)
    assert torch.equal(cache.signals[0], seen[0])


NEW: dict[str, Callable[[int, float], StepCache]] = {
    "teacache": TeaCache,
    "first_block": FirstBlockCache,
    "magcache": lambda calls, threshold: MagCache(calls, threshold, [1.0] * calls),
    "taylorseer": TaylorSeer,
}
"""Of the blocks; EasyCache stands in front of the network."""


@pytest.mark.parametrize("method", NEW)
def test_threshold_zero_is_the_network_without_a_cache(
    model: FramePackTransformer3DModel, method: str
) -> None:
    cache = NEW[method](6, 0.0)
    for step in range(6):
        timestep = 900.0 - 100 * step
        assert torch.equal(predict(model, cache, timestep), predict(model, None, timestep))


@pytest.mark.parametrize("kind", [TeaCache, FirstBlockCache])
def test_neighbouring_steps_are_skipped_and_stay_near_the_exact_ones(
    model: FramePackTransformer3DModel, kind: type[StepCache]
) -> None:
    cache = kind(4, 0.2)
    predict(model, cache, 900.0)
    near = predict(model, cache, 899.0)
    assert cache.skipped
    assert 0 < relative_error(near, predict(model, None, 899.0)) < 0.1
    predict(model, cache, 899.0, seed=2)
    assert not cache.skipped, "other latents are no neighbouring step"


@pytest.mark.parametrize("is_fused", [False, True])
def test_a_prediction_comes_nearer_than_what_was_added_last(is_fused: bool) -> None:
    model = build()
    if is_fused:
        model.pack_projections()
    errors = []
    for cache in (TaylorSeer(9, 9, order=0, num_first=2), TaylorSeer(9, 9, order=1)):
        for timestep in (900.0, 899.95):
            predict(model, cache, timestep)
        third = predict(model, cache, 899.9)
        assert cache.skipped
        errors.append(relative_error(third, predict(model, None, 899.9)))
    again, series = errors
    assert 0 < series < again / 2
