"""Joint attention over packed latents and text, behind diffusers' attention dispatcher.

A module holds the weights, its processor holds the algorithm: back ends (`set_attention_backend`)
and context parallelism are set on the processor, so nothing here depends on which kernel runs.
"""

# Shape letters are those of docs/notation.md:
#   B batch  N image tokens  M text tokens  S = N + M  H heads  D head width  R 1 or B

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    dispatch_attention_fn,
)
from torch import Tensor, nn

from framepack.domain.choices import AttentionName
from framepack.models.attention_backends import BACKENDS
from framepack.models.cpu_attention import attend_with_onednn, suits_onednn

__all__ = [
    "FramePackAttention",
    "HeadNorm",
    "JointAttnProcessor",
    "SelfAttnProcessor",
    "dispatch_name",
    "rotate",
    "use_backend",
]

QKV = tuple[Tensor, Tensor, Tensor]

_COMPLEX_DEVICES = ("cpu", "cuda")


def rotate(tokens: Tensor, phases: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels by its phase, in fp32.

    Args:
        tokens: [B, S, H, D] queries or keys.
        phases: [R, S, D/2, 2] fp32, the cosine and sine of each pair.

    Returns:
        [B, S, H, D] in the dtype of ``tokens``.

    Source: RoFormer, arXiv 2104.09864; interleaved pairs as in HunyuanVideo.
    """
    pairs = tokens.float().reshape(*tokens.shape[:-1], -1, 2)
    if tokens.device.type in _COMPLEX_DEVICES and not torch.compiler.is_compiling():
        # One complex product is a single kernel; compilers and some devices have none.
        turned = torch.view_as_real(
            torch.view_as_complex(pairs) * torch.view_as_complex(phases).unsqueeze(2)
        )
    else:
        cos, sin = phases.unsqueeze(2).unbind(-1)
        even, odd = pairs.unbind(-1)
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).to(tokens.dtype)


class HeadNorm(nn.RMSNorm):
    """RMS norm over the head width whose weight follows the input's dtype, as under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., head_dim] to the same."""
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, tuple(self.normalized_shape), weight, self.eps)


class SelfAttnProcessor:
    """Attention of one token stream over itself; not split by context parallelism.

    Attributes:
        uses_onednn: compute what is long enough with oneDNN on any CPU, not only on those that
            are known to be faster with it.
    """

    _attention_backend: AttentionBackendName | None = None
    uses_onednn: bool = False

    def __call__(
        self,
        attn: "FramePackAttention",
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Any:
        """See :meth:`FramePackAttention.forward`."""
        parallel_config = getattr(self, "_parallel_config", None)
        if parallel_config is not None and attention_mask is not None:
            # Gathered tokens come as [latents, text] of each rank in turn; the mask does not.
            raise ValueError(
                "context parallelism cannot mask text; give all prompts of a batch one length, "
                "or run them one at a time"
            )
        query, key, value = attn.project(hidden_states)
        if encoder_hidden_states is not None:
            added = attn.project_added(encoder_hidden_states)
            query, key, value = (
                torch.cat(streams, dim=1)
                for streams in zip((query, key, value), added, strict=True)
            )
        if image_rotary_emb is not None:
            query = rotate(query, image_rotary_emb)
            key = rotate(key, image_rotary_emb)
        attended = self.attend(query, key, value, attention_mask)
        attended = attended.flatten(2).to(query.dtype)
        if encoder_hidden_states is None:
            return attn.project_out(attended)
        return attn.project_joint_out(attended, encoder_hidden_states.shape[1])

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None
    ) -> Tensor:
        """Attention proper, through the chosen back end: all [B, S, H, D]."""
        if attention_mask is None and self._takes_onednn(query, key):
            return attend_with_onednn(query, key, value)
        attended: Tensor = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=getattr(self, "_parallel_config", None),
        )
        return attended

    def _takes_onednn(self, query: Tensor, key: Tensor) -> bool:
        """Whether nothing else was chosen, and nothing at work that only torch's kernels know."""
        if self._attention_backend is not None or getattr(self, "_parallel_config", None):
            return False
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        if query.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        if self.uses_onednn:
            return suits_onednn(query, key, by_name=True)
        chosen, _ = _AttentionBackendRegistry.get_active_backend()
        return chosen == AttentionBackendName.NATIVE and suits_onednn(query, key)


class JointAttnProcessor(SelfAttnProcessor):
    """Attention of latents and text together; context parallelism splits its tokens.

    diffusers hands its parallel configuration to every processor that has the attribute.
    """

    _parallel_config: Any = None


def dispatch_name(name: AttentionName) -> AttentionBackendName | None:
    """diffusers' name of a back end; None for those that are ours."""
    name_there = BACKENDS[name].dispatch
    return AttentionBackendName(name_there) if name_there else None


def use_backend(network: nn.Module, name: AttentionName) -> None:
    """Have the joint attentions of a network computed by one back end.

    The text refiner's few tokens stay with torch's own choice, and so does all else in this
    process: diffusers' ``set_attention_backend`` changes that as well.

    Args:
        network: the transformer.
        name: a back end that can run here.
    """
    for module in network.modules():
        if isinstance(module, FramePackAttention):
            processor = module.processor
            if isinstance(processor, JointAttnProcessor):
                processor._attention_backend = dispatch_name(name)
                processor.uses_onednn = name == "onednn"


class FramePackAttention(nn.Module, AttentionModuleMixin):
    """Multi-head attention with optional query and key norms and a second (text) stream.

    Args:
        dim: token width, also ``heads * head_dim``.
        heads: number of heads.
        head_dim: width of one head.
        qk_norm: RMS norm of queries and keys.
        added: own projections for a text stream (``add_*_proj``, ``to_add_out``).
        out: an output projection; blocks that project later go without.
        processor: the algorithm; :class:`JointAttnProcessor` if not given.
    """

    _default_processor_cls: Any = JointAttnProcessor
    _available_processors: Any = [JointAttnProcessor, SelfAttnProcessor]  # noqa: RUF012
    _supports_qkv_fusion = False  # would add keys to the state dict and double the weights

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        *,
        qk_norm: bool = True,
        added: bool = False,
        out: bool = True,
        processor: SelfAttnProcessor | None = None,
    ) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.to_q = nn.Linear(dim, inner)
        self.to_k = nn.Linear(dim, inner)
        self.to_v = nn.Linear(dim, inner)
        self.norm_q = HeadNorm(head_dim, eps=1e-6) if qk_norm else None
        self.norm_k = HeadNorm(head_dim, eps=1e-6) if qk_norm else None
        if added:
            self.add_q_proj = nn.Linear(dim, inner)
            self.add_k_proj = nn.Linear(dim, inner)
            self.add_v_proj = nn.Linear(dim, inner)
            self.norm_added_q = HeadNorm(head_dim, eps=1e-6) if qk_norm else None
            self.norm_added_k = HeadNorm(head_dim, eps=1e-6) if qk_norm else None
            self.to_add_out = nn.Linear(inner, dim)
        # A list of one, because the published keys say `to_out.0`.
        self.to_out = nn.ModuleList([nn.Linear(inner, dim)]) if out else None
        self.processor: Any  # diffusers types it as a union of every processor it has
        self.set_processor(processor or self._default_processor_cls())  # type: ignore[arg-type]

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Any:
        """Attend within one stream, or within two streams joined as [latents, text].

        Args:
            hidden_states: [B, N, dim].
            encoder_hidden_states: [B, M, dim]; only for a module built with ``added``.
            attention_mask: [B, 1, 1, S] bool, True where a key may be seen; None for all.
            image_rotary_emb: phases of all S tokens, see :func:`rotate`; None for no rotation.

        Returns:
            [B, N, dim], or with a text stream the pair [B, N, dim], [B, M, dim].
        """
        return self.processor(
            self, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb
        )

    def project(self, tokens: Tensor) -> QKV:
        """Queries, keys and values [B, N, H, D] of the latents."""
        query, key, value = (self._heads(to(tokens)) for to in (self.to_q, self.to_k, self.to_v))
        return _normed(self.norm_q, query), _normed(self.norm_k, key), value

    def project_added(self, tokens: Tensor) -> QKV:
        """Queries, keys and values [B, M, H, D] of the text."""
        projections = (self.add_q_proj, self.add_k_proj, self.add_v_proj)
        query, key, value = (self._heads(to(tokens)) for to in projections)
        return _normed(self.norm_added_q, query), _normed(self.norm_added_k, key), value

    def project_out(self, attended: Tensor) -> Tensor:
        """Output projection of one stream, [B, N, H * D] to [B, N, dim]."""
        if self.to_out is None:
            return attended
        projected: Tensor = self.to_out[0](attended)
        return projected

    def project_joint_out(self, attended: Tensor, text_length: int) -> tuple[Tensor, Tensor]:
        """Output projections of both streams, [B, S, H * D] to [B, N, dim] and [B, M, dim]."""
        image_length = attended.shape[1] - text_length
        image, text = attended[:, :image_length], attended[:, image_length:]
        return self.project_out(image), self.to_add_out(text)

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:-1], self.heads, -1)


def _normed(norm: nn.Module | None, heads: Tensor) -> Tensor:
    normed: Tensor = heads if norm is None else norm(heads)
    return normed
