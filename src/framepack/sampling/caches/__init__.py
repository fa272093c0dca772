"""Step caches: skip a network in steps whose input has hardly changed.

From one denoising step to the next a network's blocks add nearly the same to their tokens. A step
cache tells where that holds, and has what was added last added again, or a prediction of it, which
costs almost nothing. What comes out is close to the exact video, but is not it.
"""

from framepack.sampling.caches.base import StepCache, relative_change
from framepack.sampling.caches.choice import step_caches
from framepack.sampling.caches.easycache import EasyCache
from framepack.sampling.caches.first_block import FirstBlockCache
from framepack.sampling.caches.magcache import MagCache, MagnitudeRatios
from framepack.sampling.caches.taylorseer import TaylorSeer
from framepack.sampling.caches.teacache import TeaCache

__all__ = [
    "EasyCache",
    "FirstBlockCache",
    "MagCache",
    "MagnitudeRatios",
    "StepCache",
    "TaylorSeer",
    "TeaCache",
    "relative_change",
    "step_caches",
]
