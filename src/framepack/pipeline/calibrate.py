"""Measure the magnitude ratios of a model, which the step cache MagCache goes by."""

import torch

from framepack.domain.plan import Plan
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Pictures, encode_conditions
from framepack.pipeline.denoise import denoise_section, section_noises
from framepack.pipeline.takes import empty_history
from framepack.sampling.caches import MagnitudeRatios

__all__ = ["measure_magnitude_ratios"]

_DECIMALS = 5


@torch.inference_mode()
def measure_magnitude_ratios(
    plan: Plan, components: Components, pictures: Pictures
) -> tuple[float, ...]:
    """Compute every step of a plan's sections and compare what the blocks add in each.

    Nothing is decoded or written. With true guidance the pass of the prompt is measured.

    Args:
        plan: without a video to extend or to redraw.
        components: networks and encoders.
        pictures: fitted to the plan's size.

    Returns:
        One ratio per step, the mean over sections; the first is 1.

    Source: MagCache, arXiv 2506.09045.
    """
    conditions = encode_conditions(plan, components, pictures)
    history = empty_history(plan, conditions)
    batch, channels, _, height, width = conditions.start_latent.shape
    noises = section_noises(plan, (batch, channels, plan.latent_window_size, height, width))
    found: list[list[float]] = []
    for section, noise in zip(plan.sections, noises, strict=True):
        end = conditions.end_anchor if section.is_first_rendered else None
        window = history.window(section.indices, end_latent=end)
        meter = MagnitudeRatios(plan.request.num_inference_steps)
        caches = {"cond": meter}
        for state in denoise_section(
            plan, section, window, conditions, noise, components, caches=caches
        ):
            latents = state.x0
        history = history.add(latents)
        found.append(meter.ratios)
    steps = zip(*found, strict=True)
    return tuple(round(sum(ratios) / len(ratios), _DECIMALS) for ratios in steps)
