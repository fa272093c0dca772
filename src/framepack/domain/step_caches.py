"""What a model's step caches were fitted with, and what the speed dial stands for. Numbers only."""

from dataclasses import dataclass

from framepack.domain.choices import Speed, StepCacheMethod
from framepack.domain.errors import InvalidRequest

__all__ = ["StepCacheDefaults", "interpolated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCacheDefaults:
    """The part of a model's defaults that says how its steps may be skipped.

    Attributes:
        teacache_threshold: change up to which TeaCache skips steps.
        teacache_coefficients: polynomial, highest power first, that turns the change of what
            enters the blocks into that of the output; (1, 0) takes it as it is.
        first_block_threshold: change up to which the first-block cache skips steps.
        magcache_threshold: error up to which MagCache skips steps.
        magcache_ratios: magnitude ratios of a run, one per step, for one or more numbers of
            steps; () where nobody measured them.
        magcache_max_skips: steps that MagCache skips one after the other.
        magcache_retention: share of the steps that MagCache computes first in any case.
        taylorseer_threshold: steps that TaylorSeer predicts between two that are computed.
        taylorseer_order: of its series.
        easycache_threshold: expected change up to which EasyCache skips steps.
        speed_balanced: step cache and threshold of speed ``balanced``.
        speed_fast: step cache and threshold of speed ``fast``.
    """

    teacache_threshold: float = 0.1
    teacache_coefficients: tuple[float, ...] = (1.0, 0.0)
    first_block_threshold: float = 0.1
    magcache_threshold: float = 0.06
    magcache_ratios: tuple[tuple[float, ...], ...] = ()
    magcache_max_skips: int = 3
    magcache_retention: float = 0.2
    taylorseer_threshold: float = 1.0
    taylorseer_order: int = 1
    easycache_threshold: float = 0.05
    speed_balanced: tuple[StepCacheMethod, float] = ("teacache", 0.1)
    speed_fast: tuple[StepCacheMethod, float] = ("teacache", 0.15)

    def step_cache_threshold(self, method: StepCacheMethod) -> float | None:
        """The threshold of a step cache; None without one."""
        known = {
            "teacache": self.teacache_threshold,
            "first_block": self.first_block_threshold,
            "magcache": self.magcache_threshold,
            "taylorseer": self.taylorseer_threshold,
            "easycache": self.easycache_threshold,
        }
        return known.get(method)

    def step_cache_at(self, speed: Speed) -> tuple[StepCacheMethod, float | None]:
        """Step cache and threshold that a speed stands for."""
        if speed == "exact":
            return "off", None
        return self.speed_balanced if speed == "balanced" else self.speed_fast

    def magnitude_ratios(self, num_steps: int) -> tuple[float, ...]:
        """Ratios for so many steps, from the measured ones that are nearest in number.

        Raises:
            InvalidRequest: none were measured.
        """
        if not self.magcache_ratios:
            raise InvalidRequest(
                "step cache magcache (--step-cache) goes by magnitude ratios, which this model "
                "has none of; measure them with `framepack models calibrate`, or choose teacache"
            )
        nearest = min(self.magcache_ratios, key=lambda ratios: abs(len(ratios) - num_steps))
        return interpolated(nearest, num_steps)


def interpolated(ratios: tuple[float, ...], num_steps: int) -> tuple[float, ...]:
    """Magnitude ratios for another number of steps: at each place the nearest one.

    Ends meet ends; a single step takes the last.

    Source: the program of MagCache, arXiv 2506.09045.
    """
    if num_steps == 1:
        return ratios[-1:]
    scale = (len(ratios) - 1) / (num_steps - 1)
    return tuple(ratios[round(step * scale)] for step in range(num_steps))
