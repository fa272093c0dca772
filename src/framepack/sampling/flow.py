"""Flow matching: noise levels, guidance and the noise each section starts from.

The network predicts the flow ``noise - x0``; at noise level ``sigma`` the latents are
``x = (1 - sigma) * x0 + sigma * noise``.
"""

# Shape letters are those of docs/notation.md:
#   B batch  C channels  T latent frames  H W latent size

import math

import torch
from torch import Tensor

__all__ = [
    "MAX_SHIFT",
    "apply_guidance",
    "calculate_shift_mu",
    "section_noise",
    "shifted_sigmas",
    "sigmas",
]

MAX_SHIFT = 7.0
"""The official cap of the dynamic shift; every bucket of the 640 table reaches it."""

# The dynamic rule is the line through these two points of (image tokens, mu).
_FEWEST_TOKENS, _LEAST_MU = 256, 0.5
_MOST_TOKENS, _MOST_MU = 4096, 1.15


def calculate_shift_mu(tokens: float, *, max_mu: float = math.log(MAX_SHIFT)) -> float:
    """The logarithm of the shift for a section of that many tokens.

    Args:
        tokens: full-rate tokens being denoised, T * H * W / 4.
        max_mu: upper limit, ln 7 in the official code.

    Source: the official sampler's dynamic rule, which is FLUX.1's with a cap.
    """
    slope = (_MOST_MU - _LEAST_MU) / (_MOST_TOKENS - _FEWEST_TOKENS)
    return min(_LEAST_MU + slope * (tokens - _FEWEST_TOKENS), max_mu)


def shifted_sigmas(times: Tensor, mu: float) -> Tensor:
    """Bend uniform times toward noise: ``e^mu / (e^mu + 1/t - 1)``, which keeps 0 and 1.

    Args:
        times: any shape, 0 (clean) to 1 (noise).
        mu: logarithm of the shift; 0 changes nothing.

    Source: Stable Diffusion 3, arXiv 2403.03206, resolution-dependent shift.
    """
    return math.exp(mu) / (math.exp(mu) + (1.0 / times - 1.0))


def sigmas(
    num_inference_steps: int,
    *,
    latent_shape: tuple[int, int, int] | None = None,
    shift: float | None = None,
) -> Tensor:
    """Noise levels of one section, from pure noise to none.

    Args:
        num_inference_steps: network evaluations, at least 1.
        latent_shape: latent frames, rows and columns being denoised; for the dynamic rule.
        shift: fixed shift; None or 0 follows the dynamic rule.

    Returns:
        [num_inference_steps + 1] fp32 on the CPU, 1 down to 0.

    Raises:
        ValueError: no step, a negative shift, or the dynamic rule without a latent shape.

    Source: the official sampler; compared with its numbers in tests/parity.
    """
    if num_inference_steps < 1:
        raise ValueError(f"num_inference_steps is {num_inference_steps}, needed is at least 1")
    if shift is not None and shift < 0:
        raise ValueError(f"shift is {shift}, needed is a positive number, or 0 for dynamic")
    if shift:
        mu = math.log(shift)
    elif latent_shape is not None:
        mu = calculate_shift_mu(math.prod(latent_shape) / 4)
    else:
        raise ValueError("the dynamic shift depends on the size; pass latent_shape or shift")
    return shifted_sigmas(torch.linspace(1, 0, num_inference_steps + 1), mu)


def apply_guidance(
    positive: Tensor,
    negative: Tensor,
    true_cfg_scale: float,
    guidance_rescale: float = 0.0,
    *,
    optimised_scale: bool = False,
) -> Tensor:
    """Classifier-free guidance, optionally pulled back to the positive prediction's contrast.

    Args:
        positive: [B, ...] prediction for the prompt.
        negative: [B, ...] prediction for the negative prompt.
        true_cfg_scale: 1 gives the positive prediction, more moves away from the negative.
        guidance_rescale: 0 to 1, share of the result whose standard deviation per sample is
            set to the positive's.
        optimised_scale: scale the negative prediction, per sample, to where it is nearest to
            the positive one (CFG-Zero*).

    Returns:
        [B, ...] guided prediction.

    Source: arXiv 2207.12598 (guidance); arXiv 2305.08891, section 3.4 (rescale); arXiv
    2503.18886 (optimised scale).
    """
    if optimised_scale:
        negative = negative * _nearest_scale(positive, negative)
    guided = negative + true_cfg_scale * (positive - negative)
    if guidance_rescale == 0:
        return guided
    dims = tuple(range(1, positive.ndim))
    ratio = positive.std(dims, keepdim=True) / guided.std(dims, keepdim=True)
    return guidance_rescale * (guided * ratio) + (1.0 - guidance_rescale) * guided


def _nearest_scale(positive: Tensor, negative: Tensor) -> Tensor:
    """The factor s per sample, [B, 1, ...], with the least ``|positive - s * negative|``."""
    dims = tuple(range(1, positive.ndim))
    product = (positive * negative).sum(dims, keepdim=True)
    square = negative.square().sum(dims, keepdim=True)
    return product / square.clamp(min=torch.finfo(square.dtype).tiny)


def section_noise(seed: int, render_index: int, shape: tuple[int, ...]) -> Tensor:
    """The noise one section starts from, the same whether or not others were made before it.

    The official program draws one tensor per section from a single CPU generator. The draws
    before this one are repeated and dropped: a fraction of a millisecond each.

    Args:
        seed: of the request.
        render_index: position of the section in render order, 0 first.
        shape: of the latents, equal for all sections of a video.

    Returns:
        ``shape`` fp32 on the CPU.

    Raises:
        ValueError: ``render_index`` is negative.
    """
    if render_index < 0:
        raise ValueError(f"render_index is {render_index}, needed is 0 or more")
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.empty(shape, dtype=torch.float32)
    for _ in range(render_index + 1):
        torch.randn(shape, generator=generator, out=noise)
    return noise
