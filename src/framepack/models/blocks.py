"""The transformer's layers: modulation, feed-forward, double- and single-stream blocks, refiner.

Attribute names are the published checkpoints' keys. A block takes and returns the latent and
the text stream, which is the form diffusers' caches and offloading expect (see
:func:`register_blocks`).
"""

# Shape letters are those of docs/notation.md:
#   B batch  N image tokens  M text tokens  D token width

from collections.abc import Callable, Iterable
from functools import cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framepack.models.attention import FramePackAttention, SelfAttnProcessor
from framepack.models.embeddings import ConditionEmbedding

__all__ = [
    "EPS",
    "ActivatedLinear",
    "FeedForward",
    "FramePackSingleTransformerBlock",
    "FramePackTransformerBlock",
    "Modulation",
    "OutputHead",
    "TextRefiner",
    "modulate",
    "register_blocks",
]

Activation = Callable[[Tensor], Tensor]

EPS = 1e-6
"""What layer norms add to the variance."""


def gelu(x: Tensor) -> Tensor:
    """The tanh approximation of GELU, the one the weights were trained with."""
    return F.gelu(x, approximate="tanh")


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm, then ``x * (1 + scale) + shift``.

    Args:
        tokens: [B, N, D].
        shift, scale: [B, 1, D], or [1, 1, D] when all samples share them.

    Returns:
        [B, N, D].
    """
    width = tokens.shape[-1:]
    if scale.shape[0] == 1:
        # One set of factors for every token is what layer norm's own weight and bias are.
        return F.layer_norm(tokens, width, (1 + scale).view(-1), shift.reshape(-1), EPS)
    return torch.addcmul(shift, F.layer_norm(tokens, width, eps=EPS), 1 + scale)


class Modulation(nn.Module):
    """Shifts, scales and gates of one layer, from the conditioning vector (adaLN).

    Args:
        dim: token width D.
        parts: how many vectors the layer needs.
    """

    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, temb: Tensor) -> tuple[Tensor, ...]:
        """[B, D] to ``parts`` tensors of [B, 1, D]."""
        vectors: Tensor = self.linear(F.silu(temb))
        return vectors.unsqueeze(1).chunk(self.parts, dim=-1)


class ActivatedLinear(nn.Module):
    """Linear, then a function: the first half of a feed-forward."""

    def __init__(self, dim: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, hidden)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, hidden]."""
        return self.activation(self.proj(x))


class FeedForward(nn.Module):
    """Linear, activation, linear.

    Args:
        dim: token width D.
        hidden: inner width.
        activation: elementwise function between the two.
    """

    def __init__(self, dim: int, hidden: int, activation: Activation = gelu) -> None:
        super().__init__()
        # Entry 1 keeps the published numbering, where training had a dropout.
        self.net = nn.ModuleList(
            [ActivatedLinear(dim, hidden, activation), nn.Identity(), nn.Linear(hidden, dim)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        expand, _, contract = self.net
        projected: Tensor = contract(expand(x))
        return projected


class FramePackTransformerBlock(nn.Module):
    """Double-stream block: latents and text have their own weights and attend jointly.

    Args:
        num_attention_heads: heads of the joint attention.
        attention_head_dim: width of one head.
        mlp_ratio: inner width of the feed-forward, in token widths.

    Attributes:
        layers: names of the parts whose weights are used at the same time, in order.
        tabled: those that read the conditioning vector alone.
    """

    layers: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("norm1",),
        ("norm1_context",),
        ("attn",),
        ("ff",),
        ("ff_context",),
    )
    tabled: ClassVar[tuple[str, ...]] = ("norm1", "norm1_context")

    def __init__(self, num_attention_heads: int, attention_head_dim: int, mlp_ratio: float) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        hidden = int(dim * mlp_ratio)
        self.norm1 = Modulation(dim, 6)
        self.norm1_context = Modulation(dim, 6)
        self.attn = FramePackAttention(dim, num_attention_heads, attention_head_dim, added=True)
        self.ff = FeedForward(dim, hidden)
        self.ff_context = FeedForward(dim, hidden)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One layer on both streams.

        Args:
            hidden_states: [B, N, D] latent tokens.
            encoder_hidden_states: [B, M, D] text tokens.
            temb: [B, D] conditioning vector.
            attention_mask: [B, 1, 1, N + M] bool, True where a key may be seen; None for all.
            image_rotary_emb: [R, N + M, D/2, 2] phases of latents, then text.

        Returns:
            Both streams, shaped as given.
        """
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.norm1(temb)
        t_shift, t_scale, t_gate, t_shift_ff, t_scale_ff, t_gate_ff = self.norm1_context(temb)

        attended, t_attended = self.attn(
            hidden_states=modulate(hidden_states, shift, scale),
            encoder_hidden_states=modulate(encoder_hidden_states, t_shift, t_scale),
            attention_mask=attention_mask,
            image_rotary_emb=image_rotary_emb,
        )
        hidden_states = torch.addcmul(hidden_states, gate, attended)
        encoder_hidden_states = torch.addcmul(encoder_hidden_states, t_gate, t_attended)

        fed = self.ff(modulate(hidden_states, shift_ff, scale_ff))
        t_fed = self.ff_context(modulate(encoder_hidden_states, t_shift_ff, t_scale_ff))
        return (
            torch.addcmul(hidden_states, gate_ff, fed),
            torch.addcmul(encoder_hidden_states, t_gate_ff, t_fed),
        )


class FramePackSingleTransformerBlock(nn.Module):
    """Single-stream block: one set of weights, attention and feed-forward side by side.

    Args:
        num_attention_heads: heads of the attention.
        attention_head_dim: width of one head.
        mlp_ratio: inner width of the feed-forward, in token widths.

    Attributes:
        layers, tabled: as in :class:`FramePackTransformerBlock`.
    """

    layers: ClassVar[tuple[tuple[str, ...], ...]] = (("norm",), ("attn", "proj_mlp"), ("proj_out",))
    tabled: ClassVar[tuple[str, ...]] = ("norm",)

    def __init__(self, num_attention_heads: int, attention_head_dim: int, mlp_ratio: float) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        hidden = int(dim * mlp_ratio)
        self.norm = Modulation(dim, 3)
        self.attn = FramePackAttention(dim, num_attention_heads, attention_head_dim, out=False)
        self.proj_mlp = nn.Linear(dim, hidden)
        self.proj_out = nn.Linear(dim + hidden, dim)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One layer on both streams joined; arguments as in :class:`FramePackTransformerBlock`."""
        image_length = hidden_states.shape[1]
        tokens = torch.cat([hidden_states, encoder_hidden_states], dim=1)

        shift, scale, gate = self.norm(temb)
        normed = modulate(tokens, shift, scale)
        attended = self.attn(
            hidden_states=normed,
            attention_mask=attention_mask,
            image_rotary_emb=image_rotary_emb,
        )
        fed = gelu(self.proj_mlp(normed))
        tokens = torch.addcmul(tokens, gate, self.proj_out(torch.cat([attended, fed], dim=-1)))
        return tokens[:, :image_length], tokens[:, image_length:]


class _RefinerBlock(nn.Module):
    """Self-attention over the prompt; the conditioning vector gates it but does not shift it."""

    def __init__(self, num_attention_heads: int, attention_head_dim: int) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = FramePackAttention(
            dim,
            num_attention_heads,
            attention_head_dim,
            qk_norm=False,
            processor=SelfAttnProcessor(),
        )
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.ff = FeedForward(dim, 4 * dim, activation=F.silu)
        self.norm_out = Modulation(dim, 2)

    def forward(self, hidden_states: Tensor, temb: Tensor, attention_mask: Tensor | None) -> Tensor:
        gate, gate_ff = self.norm_out(temb)
        attended = self.attn(hidden_states=self.norm1(hidden_states), attention_mask=attention_mask)
        hidden_states = torch.addcmul(hidden_states, gate, attended)
        return torch.addcmul(hidden_states, gate_ff, self.ff(self.norm2(hidden_states)))


class _RefinerStack(nn.Module):
    def __init__(self, blocks: Iterable[_RefinerBlock]) -> None:
        super().__init__()
        self.refiner_blocks = nn.ModuleList(blocks)

    def forward(self, tokens: Tensor, temb: Tensor, attention_mask: Tensor | None) -> Tensor:
        for block in self.refiner_blocks:
            tokens = block(tokens, temb, attention_mask)
        return tokens


class TextRefiner(nn.Module):
    """The prompt's embeddings as text-stream tokens, refined for the timestep at hand.

    Args:
        in_dim: width of the text encoder's embeddings.
        num_attention_heads: heads of its self-attention.
        attention_head_dim: width of one head.
        num_layers: refiner blocks.
    """

    def __init__(
        self, in_dim: int, num_attention_heads: int, attention_head_dim: int, num_layers: int
    ) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        self.time_text_embed = ConditionEmbedding(dim, in_dim)
        self.proj_in = nn.Linear(in_dim, dim)
        self.token_refiner = _RefinerStack(
            [_RefinerBlock(num_attention_heads, attention_head_dim) for _ in range(num_layers)]
        )

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Refine a batch of prompts.

        Args:
            hidden_states: [B, M, E] embeddings.
            timestep: [B] or scalar, sigma times 1000.
            attention_mask: [B, M] bool, True for real tokens; None when all are.

        Returns:
            [B, M, D]; what stands at masked positions means nothing.
        """
        pooled = _masked_mean(hidden_states, attention_mask)
        temb = self.time_text_embed(timestep, pooled)
        tokens: Tensor = self.proj_in(hidden_states)
        keys = None
        if attention_mask is not None:
            # A prompt without tokens would leave softmax nothing: it sees its first padding.
            first = torch.arange(attention_mask.shape[1], device=attention_mask.device) == 0
            keys = (attention_mask | first)[:, None, None, :]
        refined: Tensor = self.token_refiner(tokens, temb, keys)
        return refined


def _masked_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over real tokens, [B, M, E] to [B, E], summed in fp32; zeros where there are none."""
    if mask is None:
        return (tokens.float().sum(dim=1) / max(tokens.shape[1], 1)).to(tokens.dtype)
    weights = mask.unsqueeze(-1).float()
    mean = (tokens.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    return mean.to(tokens.dtype)


class OutputHead(nn.Linear):
    """The last projection, always computed and returned in fp32 whatever the weights' dtype.

    The official implementation converts this layer for good. Converting at use gives the same
    numbers and survives ``.to(dtype)``, loading and autocast.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, out] fp32."""
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return F.linear(x.float(), self.weight.float(), bias)


@cache
def register_blocks() -> None:
    """Tell diffusers' hooks (caches, layer skipping) what our blocks take and return.

    Called when a model is built, not at import: it makes diffusers load every model it knows.
    """
    from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry

    for block in (FramePackTransformerBlock, FramePackSingleTransformerBlock):
        TransformerBlockRegistry.register(
            block,
            TransformerBlockMetadata(
                return_hidden_states_index=0, return_encoder_hidden_states_index=1
            ),
        )
