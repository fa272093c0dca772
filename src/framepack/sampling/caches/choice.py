"""From a plan to the step caches of one section."""

from framepack.domain.geometry import ModelDefaults
from framepack.domain.plan import Plan
from framepack.sampling.caches.base import StepCache
from framepack.sampling.caches.easycache import EasyCache
from framepack.sampling.caches.first_block import FirstBlockCache
from framepack.sampling.caches.magcache import MagCache
from framepack.sampling.caches.taylorseer import TaylorSeer
from framepack.sampling.caches.teacache import TeaCache

__all__ = ["step_caches"]

PASSES = ("cond", "uncond")
"""Guidance passes; each has a cache of its own."""
WARM_UP = {"taylorseer": 0.1, "easycache": 0.1}
"""Share of the steps that a method computes first in any case; MagCache's is the model's."""


def step_caches(plan: Plan, defaults: ModelDefaults, *, num_left_out: int) -> dict[str, StepCache]:
    """A cache of each guidance pass, for one section; none where every step is computed.

    Args:
        plan: says which and how eager; its threshold is resolved.
        defaults: of the model, for what it was fitted with.
        num_left_out: steps at the start in which the network is not asked at all.

    Raises:
        InvalidRequest: MagCache, and the model has no ratios.
    """
    request = plan.request
    if request.step_cache == "off" or not request.step_cache_threshold:
        return {}
    if num_left_out >= request.num_inference_steps:  # a video's share and zeros leave no call
        return {}
    return {name: _cache(plan, defaults, num_left_out) for name in PASSES}


def _cache(plan: Plan, defaults: ModelDefaults, num_left_out: int) -> StepCache:
    method, num_steps = plan.request.step_cache, plan.request.num_inference_steps
    threshold = plan.request.step_cache_threshold or 0.0
    num_calls = num_steps - num_left_out

    def num_first(share: float) -> int:
        return round_half_up(share * num_steps) - num_left_out

    if method == "first_block":
        return FirstBlockCache(num_calls, threshold)
    if method == "magcache":
        return MagCache(
            num_calls,
            threshold,
            defaults.magnitude_ratios(num_steps)[num_left_out:],
            max_skips=defaults.magcache_max_skips,
            num_first=num_first(defaults.magcache_retention),
        )
    if method == "taylorseer":
        return TaylorSeer(
            num_calls,
            threshold,
            order=defaults.taylorseer_order,
            num_first=num_first(WARM_UP["taylorseer"]),
        )
    if method == "easycache":
        return EasyCache(num_calls, threshold, num_first=num_first(WARM_UP["easycache"]))
    return TeaCache(num_calls, threshold, defaults.teacache_coefficients)


def round_half_up(value: float) -> int:
    """The nearest whole number, of two the higher one."""
    return int(value + 0.5)
