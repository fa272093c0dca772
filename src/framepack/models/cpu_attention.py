"""Exact attention on the CPU by oneDNN's matrix products, where those are the faster ones.

torch's own kernel multiplies with the library that :mod:`framepack.models.linear` avoids on some
processors. Here the same sums are taken with the other one, a head and a few hundred queries at a
time, so that what is between the two products stays in the cache. bfloat16 is computed in float32,
which is nearer to the exact result than torch's kernel and still the quicker one there.
"""

# Shape letters are those of docs/notation.md:
#   S tokens  n queries  H heads  D head width

import torch
from torch import Tensor

from framepack.models import linear

__all__ = ["DTYPES", "LEAST_TOKENS", "attend_with_onednn", "suits_onednn"]

DTYPES = (torch.float32, torch.bfloat16)
"""Number formats that it is for."""

LEAST_TOKENS = 400
"""Below this, calls cost more than products save."""
_CHUNK = 256  # queries; their scores against 1500 tokens are 1.5 MB


def suits_onednn(query: Tensor, key: Tensor, *, by_name: bool = False) -> bool:
    """Whether oneDNN is to compute this attention, which has no mask.

    Args:
        query, key: [B, n, H, D] and [B, S, H, D].
        by_name: it was asked for, also where this processor is not known to be faster with it.
    """
    return (
        query.device.type == "cpu"
        and query.dtype in DTYPES
        and key.shape[1] >= LEAST_TOKENS
        and (by_name or linear.prefers_onednn_attention())
    )


def attend_with_onednn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot product attention, without a mask and without gradients.

    Args:
        query: [B, n, H, D].
        key, value: [B, S, H, D].

    Returns:
        [B, n, H, D] in the dtype of ``query``, computed in fp32.
    """
    scaled = (query.float() * query.shape[-1] ** -0.5).transpose(1, 2).contiguous()
    keys = key.transpose(1, 2).float().contiguous()
    values = value.transpose(1, 2).float().contiguous().transpose(2, 3)
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for sample in range(query.shape[0]):
        for head in range(query.shape[2]):
            _attend_head(
                scaled[sample, head],
                keys[sample, head],
                values[sample, head],
                attended[sample, :, head],
            )
    return attended


def _attend_head(query: Tensor, key: Tensor, value: Tensor, attended: Tensor) -> None:
    """One head: [n, D] queries, [S, D] keys and [D, S] values into [n, D]."""
    for rows, out in zip(query.split(_CHUNK), attended.split(_CHUNK), strict=True):
        scores = linear.onednn_product(rows, key)
        torch.softmax(scores, dim=-1, out=scores)
        out.copy_(linear.onednn_product(scores, value))
