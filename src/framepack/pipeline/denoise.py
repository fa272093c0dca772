"""Denoise one section: the network with its packed context, driven by the solver.

Shape letters: docs/notation.md.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from framepack.domain.plan import Plan, Section
from framepack.models.encoders import PromptEmbeds
from framepack.models.reuse import Reuse, RunTables
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Conditions
from framepack.pipeline.history import HistoryWindow
from framepack.sampling.caches import StepCache, step_caches
from framepack.sampling.flow import apply_guidance, section_noise, sigmas
from framepack.sampling.solvers import Nudge, StepState, sample
from framepack.sampling.sway import sway, sway_step

__all__ = ["SectionDenoiser", "denoise_section", "section_noises"]

TIME_SCALE = 1000.0
"""The network counts noise levels and guidance in thousandths."""


@torch.inference_mode()
def denoise_section(
    plan: Plan,
    section: Section,
    window: HistoryWindow,
    conditions: Conditions,
    noise: Tensor,
    components: Components,
    *,
    source: Tensor | None = None,
    tables: RunTables | None = None,
    caches: Mapping[str, StepCache] | None = None,
) -> Iterator[StepState]:
    """Turn noise into the latents of one section, yielding after each step.

    Args:
        plan: gives steps, guidance, shift and solver.
        section: gives prompt and frame indices.
        window: packed history as this section sees it.
        conditions: what steers the video.
        noise: [1, C, T, h, w] fp32, from :func:`section_noises`.
        components: gives the network, its device and number format.
        source: [1, C, T, h, w] fp32, the section's part of a video to draw anew.
        tables: of the run, for what the network needs to work out in one section only.
        caches: step caches by guidance pass; None for those that the plan asks for.

    Yields:
        One state per step; the last one's ``x0`` holds the section's latents, fp32, on the
        network's device.
    """
    request = plan.request
    denoiser = SectionDenoiser(
        plan, section, window, conditions, components, tables=tables, caches=caches
    )
    levels = sigmas(
        request.num_inference_steps,
        latent_shape=(noise.shape[2], noise.shape[3], noise.shape[4]),
        shift=request.shift,
    )
    if source is not None:
        # What the spared steps would have led to: the video under as much noise as is left.
        levels = levels[plan.num_spared_steps :]
        noise = levels[0] * noise + (1 - levels[0]) * source
    nudge = None
    if request.camera_motion:
        after = sway_step(len(levels) - 1, request.camera_motion_step)
        nudge = Nudge(after, lambda latents: sway(latents, request.camera_motion))
    latents = noise.to(components.device)
    denoiser.prepare(levels[:-1])
    for made in sample(denoiser, latents, levels, request.solver, nudge=nudge):
        state = replace(made, skipped=denoiser.skipped)
        if components.device.type != "cpu":
            # Steps are queued; without waiting, a cancel would come several steps late.
            torch.accelerator.synchronize(components.device)
        yield state


class SectionDenoiser:
    """Predict a section's clean latents from noisy ones: the network with all else fixed.

    The context is moved to the device and embedded once, not at every step, and what the network
    makes of prompt and noise level is kept for later sections, if they share its tables. Both
    change speed alone.

    Rounding follows the released code: in bf16 the latents, the noise level and the guidance are
    rounded before the network sees them, and the clean latents are worked out from the rounded
    ones, in fp32.
    """

    def __init__(
        self,
        plan: Plan,
        section: Section,
        window: HistoryWindow,
        conditions: Conditions,
        components: Components,
        *,
        tables: RunTables | None = None,
        caches: Mapping[str, StepCache] | None = None,
    ) -> None:
        self._transformer = components.transformer
        self._dtype = components.dtype
        self._device = components.device
        self._true_cfg_scale = plan.request.true_cfg_scale
        self._guidance_rescale = plan.request.guidance_rescale
        self._optimised_scale = plan.request.cfg_zero_star
        self._zero_steps = plan.request.zero_init_steps if section.is_first_rendered else 0
        self._step = 0
        if caches is None:
            num_left_out = plan.num_spared_steps + self._zero_steps
            caches = step_caches(plan, components.spec.defaults, num_left_out=num_left_out)
        self._caches = caches
        self._context = self._pack(section, window, conditions)
        guidance = torch.tensor([plan.request.guidance_scale * TIME_SCALE])
        self._context["guidance"] = self._to_network(guidance)
        self._embedded: dict[Hashable, Any] = {}
        self._steps: dict[str, dict[float, dict[Hashable, Any]]] = {}
        given = plan.request.guidance_scale, self._dtype, self._device
        prompts = {"cond": conditions.prompt(section)}
        if self._true_cfg_scale != 1 and conditions.negative is not None:
            prompts["uncond"] = conditions.negative
        for name, embeds in prompts.items():
            inputs = embeds.prompt_embeds, embeds.prompt_mask, embeds.pooled
            self._steps[name] = (tables or RunTables()).of(name, inputs, given)
        self._texts = {name: self._text(embeds) for name, embeds in prompts.items()}
        if self._transformer.is_cache_enabled:
            self._transformer._reset_stateful_cache()  # a step cache never spans sections

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean latents predicted from ``x`` [1, C, T, h, w] at level ``sigma``."""
        rounded = self._to_network(x)
        if self._step < self._zero_steps:
            flow = torch.zeros_like(rounded, dtype=torch.float32)
        else:
            flow = self._guided(rounded, sigma)
        self._step += 1
        return (rounded.float() - float(sigma) * flow).to(x.dtype)

    def prepare(self, levels: Tensor) -> None:
        """Work out what depends on the noise level alone, where weights are streamed."""
        for name, texts in self._texts.items():
            stores = [self._steps[name].setdefault(float(sigma), {}) for sigma in levels]
            self._transformer.prepare_steps(
                [self._timestep(sigma) for sigma in levels],
                stores,
                **texts,
                guidance=self._context["guidance"],
            )

    @property
    def skipped(self) -> bool:
        """Whether step caches spared the network all of the last step."""
        asked = [self._caches[name] for name in self._texts if name in self._caches]
        return bool(asked) and all(cache.skipped for cache in asked)

    def _guided(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the flow for the prompt, led away from that for the negative prompt."""
        flow = self._predict("cond", x, sigma)
        if "uncond" not in self._texts:
            return flow
        return apply_guidance(
            flow,
            self._predict("uncond", x, sigma),
            self._true_cfg_scale,
            self._guidance_rescale,
            optimised_scale=self._optimised_scale,
        )

    def _predict(self, name: str, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the flow, noise minus clean latents, [1, C, T, h, w] fp32."""
        cache = self._caches.get(name)
        if cache is None or not cache.of_whole_network:
            return self._run_network(name, x, sigma, cache)
        latents = x.float()
        added = cache.reuse(latents)
        if added is not None:
            return latents + added
        flow = self._run_network(name, x, sigma, None)
        cache.keep(flow - latents)
        return flow

    def _run_network(self, name: str, x: Tensor, sigma: Tensor, cache: StepCache | None) -> Tensor:
        timestep = self._timestep(sigma)
        # The names let step caches of diffusers keep one state per pass.
        with self._transformer.cache_context(name, step_index=self._step, sigma=float(sigma)):
            output = self._transformer(
                hidden_states=x,
                timestep=timestep,
                return_dict=False,
                step_cache=cache,
                reuse=Reuse(self._embedded, self._steps[name].setdefault(float(sigma), {})),
                **self._texts[name],
                **self._context,
            )
        flow: Tensor = output[0]
        return flow.float()

    def _pack(
        self, section: Section, window: HistoryWindow, conditions: Conditions
    ) -> dict[str, Tensor]:
        """Return the context tensors and indices under the network's argument names."""
        indices = section.indices
        anchor = conditions.anchor(section).to(window.clean_1x)
        clean = torch.cat([anchor, window.clean_1x], dim=2)
        context = {
            "image_embeds": self._to_network(conditions.image_embeds),
            "indices_latents": torch.tensor(indices.noisy),
            "latents_clean": self._to_network(clean),
            "indices_latents_clean": torch.tensor(indices.clean),
        }
        if indices.history_2x:
            context["latents_history_2x"] = self._to_network(window.history_2x)
            context["indices_latents_history_2x"] = torch.tensor(indices.history_2x)
        if indices.history_4x:
            context["latents_history_4x"] = self._to_network(window.history_4x)
            context["indices_latents_history_4x"] = torch.tensor(indices.history_4x)
        return context

    def _text(self, embeds: PromptEmbeds) -> dict[str, Tensor]:
        return {
            "encoder_hidden_states": self._to_network(embeds.prompt_embeds),
            "encoder_attention_mask": embeds.prompt_mask,  # read on the CPU
            "pooled_projections": self._to_network(embeds.pooled),
        }

    def _timestep(self, sigma: Tensor) -> Tensor:
        return self._to_network((sigma.float() * TIME_SCALE).reshape(1))

    def _to_network(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self._device, dtype=self._dtype)


def section_noises(
    plan: Plan, shape: tuple[int, ...], *, first_render_index: int = 0
) -> Iterator[Tensor]:
    """Yield the starting noise of each section in render order.

    The same draws as ``sampling.flow.section_noise``, each made once: the draws of sections
    that are done already are repeated only when a run is resumed. A section with a seed of its
    own draws from that; the others are as they would be without.

    Args:
        plan: gives the seeds.
        shape: of a section's latents, [1, C, T, h, w].
        first_render_index: sections to skip.
    """
    generator = torch.Generator("cpu").manual_seed(plan.seed)
    for section in plan.sections:
        noise = torch.randn(shape, generator=generator, dtype=torch.float32)
        if section.render_index < first_render_index:
            continue
        if section.seed is not None:
            noise = section_noise(section.seed, 0, shape)
        yield noise
