"""Where diffusers has the same method as a hook, ours decides and predicts as the hook does."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from diffusers.hooks import (
    FirstBlockCacheConfig,
    MagCacheConfig,
    TaylorSeerCacheConfig,
    apply_first_block_cache,
    apply_mag_cache,
    apply_taylorseer_cache,
)
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.cache_utils import CacheMixin
from torch import Tensor, nn

from framepack.domain.step_caches import interpolated
from framepack.sampling.caches import (
    FirstBlockCache,
    MagCache,
    MagnitudeRatios,
    StepCache,
    TaylorSeer,
)

NUM_CALLS = 24


class Block(nn.Module):
    """Adds what it is told to, and counts how often it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.adds = torch.zeros(1, 3, 4)
        self.num_runs = 0

    def forward(self, hidden_states: Tensor) -> Tensor:
        self.num_runs += 1
        return hidden_states + self.adds


class Network(nn.Module, CacheMixin):  # type: ignore[misc]
    """Two blocks in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([Block(), Block()])

    def forward(self, hidden_states: Tensor) -> Tensor:
        for block in self.transformer_blocks:
            hidden_states = block(hidden_states=hidden_states)
        return hidden_states


class Attention(nn.Module):
    """What TaylorSeer's hook is put on: gives what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gives = torch.zeros(1)
        self.num_runs = 0

    def forward(self, hidden_states: Tensor) -> Tensor:
        self.num_runs += 1
        return self.gives


class Layer(nn.Module, CacheMixin):  # type: ignore[misc]
    """Has nothing but that."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = Attention()


@pytest.fixture(autouse=True)
def _registered() -> None:
    TransformerBlockRegistry.register(Block, TransformerBlockMetadata(return_hidden_states_index=0))


def drifting(seed: int) -> list[Tensor]:
    """What a block adds in each call: a walk whose steps vary in size."""
    generator, sizes = torch.Generator().manual_seed(seed), random.Random(seed)
    found = [torch.randn(1, 3, 4, generator=generator)]
    while len(found) < NUM_CALLS:
        step = torch.randn(1, 3, 4, generator=generator) * sizes.choice([0.01, 0.05, 0.2])
        found.append(found[-1] + step)
    return found


def by_hook(network: Network, adds: Sequence[tuple[Tensor, Tensor]]) -> tuple[list[bool], Any]:
    """Which calls skip the last block, and what both together add."""
    found, added = [], []
    entered = torch.ones(1, 3, 4)
    for parts in adds:
        for block, part in zip(network.transformer_blocks, parts, strict=True):
            block.adds = part
        tail: Any = network.transformer_blocks[1]
        before = tail.num_runs
        with torch.inference_mode(), network.cache_context("cond"):
            added.append(network(entered) - entered)
        found.append(tail.num_runs == before)
    return found, added


def by_ours(cache: StepCache, adds: Sequence[tuple[Tensor, Tensor]]) -> tuple[list[bool], Any]:
    """The same of a cache of ours, as the transformer uses it."""
    found, added = [], []
    for first, second in adds:
        again = cache.reuse(first)
        rest = second if cache.after_first_block else first + second
        if again is None:
            cache.keep(rest)
        found.append(again is not None)
        taken = rest if again is None else again
        added.append(first + taken if cache.after_first_block else taken)
    return found, added


def assert_alike(ours: tuple[list[bool], Any], hook: tuple[list[bool], Any]) -> None:
    assert any(hook[0])
    assert ours[0] == hook[0]
    for a, b in zip(ours[1], hook[1], strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("threshold", "most", "kept"), [(0.06, 3, 0.2), (0.3, 5, 0.0)])
def test_magcache_decides_as_the_hook_does(
    seed: int, threshold: float, most: int, kept: float
) -> None:
    values = random.Random(seed)
    ratios = [1.0] + [round(values.uniform(0.95, 1.06), 4) for _ in range(NUM_CALLS - 1)]
    adds = list(zip(drifting(seed), drifting(seed + 100), strict=True))
    network = Network()
    apply_mag_cache(
        network,
        MagCacheConfig(
            threshold=threshold,
            max_skip_steps=most,
            retention_ratio=kept,
            num_inference_steps=NUM_CALLS,
            mag_ratios=ratios,
        ),
    )
    cache = MagCache(
        NUM_CALLS, threshold, ratios, max_skips=most, num_first=int(kept * NUM_CALLS + 0.5)
    )
    # The hook knows no last call: ours computes it in any case.
    hook, ours = by_hook(network, adds[:-1]), by_ours(cache, adds[:-1])
    assert_alike(ours, hook)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 10, 13, 25, 40, 50])
def test_ratios_are_interpolated_as_the_hook_does(num_steps: int) -> None:
    ratios = [1 + 0.01 * step for step in range(25)]
    hook = MagCacheConfig(num_inference_steps=num_steps, mag_ratios=ratios).mag_ratios
    assert interpolated(tuple(ratios), num_steps) == pytest.approx(hook.tolist())


def test_ratios_are_measured_as_the_hook_does(capsys: pytest.CaptureFixture[str]) -> None:
    adds = list(zip(drifting(1), drifting(2), strict=True))
    network, meter = Network(), MagnitudeRatios(NUM_CALLS)
    apply_mag_cache(network, MagCacheConfig(num_inference_steps=NUM_CALLS, calibrate=True))
    by_hook(network, adds)
    by_ours(meter, adds)
    printed = capsys.readouterr().out.split("[")[-1].split("]")[0]
    hook = [float(value) for value in printed.split(",")]
    assert meter.ratios == pytest.approx(hook, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.05, 0.15, 0.4])
def test_the_first_block_cache_decides_as_the_hook_does(seed: int, threshold: float) -> None:
    adds = list(zip(drifting(seed), drifting(seed + 100), strict=True))
    network = Network()
    apply_first_block_cache(network, FirstBlockCacheConfig(threshold=threshold))
    hook = by_hook(network, adds[:-1])
    ours = by_ours(FirstBlockCache(NUM_CALLS, threshold), adds[:-1])
    assert_alike(ours, hook)


@pytest.mark.parametrize(("order", "first"), [(0, 1), (1, 2), (1, 3), (2, 4)])
@pytest.mark.parametrize("interval", [2, 3, 5])
def test_taylorseer_decides_and_predicts_as_the_hook_does(
    order: int, first: int, interval: int
) -> None:
    results = drifting(order)[: NUM_CALLS - 1]
    layer = Layer()
    apply_taylorseer_cache(
        layer,
        TaylorSeerCacheConfig(
            cache_interval=interval,
            disable_cache_before_step=first,
            max_order=order,
            taylor_factors_dtype=torch.float32,
            cache_identifiers=["attn"],
        ),
    )
    cache = TaylorSeer(NUM_CALLS, interval - 1, order=order, num_first=first)
    nothing = torch.zeros(1, 3, 4)
    for result in results:
        layer.attn.gives, before = result, layer.attn.num_runs
        with layer.cache_context("cond"):
            hook = layer.attn(nothing)
        ours = cache.reuse(nothing)
        assert (ours is not None) == (layer.attn.num_runs == before)
        if ours is None:
            cache.keep(result)
        assert torch.allclose(result if ours is None else ours, hook, atol=1e-5)
