"""The Triton kernel of :mod:`framepack.models.norm_rope`; import it only where Triton is."""

import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]
from torch import Tensor

__all__ = ["norm_and_turn_by_triton"]


def norm_and_turn_by_triton(
    heads: Tensor, weight: Tensor, eps: float, phases: Tensor | None
) -> None:
    """See :func:`framepack.models.norm_rope.norm_and_turn`.

    Raises:
        RuntimeError: Triton cannot compile the kernel here.
    """
    num_tokens, num_parts, num_heads, width = heads.shape
    if heads.stride(3) != 1:
        raise RuntimeError("the channels of a head do not lie side by side")
    turned = heads if phases is None else torch.view_as_real(phases)
    try:
        _norm_and_turn[(num_tokens, num_parts)](
            heads,
            weight,
            turned,
            *heads.stride()[:3],
            *weight.stride()[:1],
            turned.stride(0),
            eps,
            0 if phases is None else phases.shape[0],
            num_heads,
            width // 2,
            block_heads=triton.next_power_of_2(num_heads),
            block_pairs=triton.next_power_of_2(width // 2),
        )
    except triton.TritonError as error:
        raise RuntimeError(str(error)) from error


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _norm_and_turn(  # type: ignore[no-untyped-def]
    heads,
    weight,
    phases,
    token_stride,
    part_stride,
    head_stride,
    weight_stride,
    phase_stride,
    eps,
    num_turned,
    num_heads,
    num_pairs,
    block_heads: tl.constexpr,
    block_pairs: tl.constexpr,
):
    """All heads of one token and part, as even and odd channels [heads, pairs] in fp32."""
    token, part = tl.program_id(0), tl.program_id(1)
    head = tl.arange(0, block_heads)[:, None]
    pair = tl.arange(0, block_pairs)[None, :]
    is_there = (head < num_heads) & (pair < num_pairs)
    start = heads + token.to(tl.int64) * token_stride + part * part_stride
    even_at = start + head * head_stride + 2 * pair
    even = tl.load(even_at, mask=is_there, other=0.0).to(tl.float32)
    odd = tl.load(even_at + 1, mask=is_there, other=0.0).to(tl.float32)

    mean = tl.sum(even * even + odd * odd, axis=1) / (2 * num_pairs)
    scale = (1.0 / tl.sqrt(mean + eps))[:, None]
    weight_at = weight + part * weight_stride + 2 * pair
    in_width = pair < num_pairs
    even = even * scale * tl.load(weight_at, mask=in_width, other=0.0).to(tl.float32)
    odd = odd * scale * tl.load(weight_at + 1, mask=in_width, other=0.0).to(tl.float32)

    if token < num_turned:
        phase_at = phases + token.to(tl.int64) * phase_stride + 2 * pair
        cos = tl.load(phase_at, mask=in_width, other=0.0).to(tl.float32)
        sin = tl.load(phase_at + 1, mask=in_width, other=0.0).to(tl.float32)
        even, odd = even * cos - odd * sin, even * sin + odd * cos
    tl.store(even_at, even.to(heads.dtype.element_ty), mask=is_there)
    tl.store(even_at + 1, odd.to(heads.dtype.element_ty), mask=is_there)
