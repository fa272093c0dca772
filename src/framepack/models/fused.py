"""The blocks without hooks, autograd or batch: one token buffer and few, large matrix products.

The modules of ``framepack.models.blocks`` define the network; this is a second way through the
same weights for the case that sampling always meets. It is taken only where nothing could tell
the difference but a clock: see :func:`fused_blocks`.
"""

# Shape letters are those of docs/notation.md:
#   N latent tokens  M text tokens  S = N + M  H heads  D token width  I = H * head width

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framepack.models.attention import FramePackAttention, HeadNorm, JointAttnProcessor
from framepack.models.blocks import (
    EPS,
    ActivatedLinear,
    FeedForward,
    FramePackSingleTransformerBlock,
    FramePackTransformerBlock,
    Modulation,
)
from framepack.models.linear import linear
from framepack.models.norm_rope import norm_and_turn
from framepack.models.reuse import StepCaching
from framepack.models.streamed import here, is_streamed, only_brings, shown

__all__ = [
    "FusedBlock",
    "TokenBuffer",
    "complex_phases",
    "fused_blocks",
    "modulation_tables",
    "modulation_vectors",
    "pack_projections",
    "projections",
    "run_fused",
]

Vectors = tuple[Tensor, ...]
"""Shifts, scales with 1 added, and gates of one layer, each [D]."""

_DEVICES = ("cpu", "cuda")  # rotation is a complex product, which not every device has
# A feed-forward's hidden values are four token widths. In three parts, as a section of 480 x 832 is
# cut, a single-stream block's peak is 10.7 widths in place of 14.7, and its time within 5 %.
_MOST_ROWS = 6400
_KINDS = frozenset(
    {
        ActivatedLinear,
        FeedForward,
        FramePackAttention,
        FramePackSingleTransformerBlock,
        FramePackTransformerBlock,
        HeadNorm,
        Modulation,
        nn.Identity,
        nn.Linear,
        nn.ModuleList,
    }
)


# --- packing ---------------------------------------------------------------------------------


def pack_projections(model: nn.Module) -> None:
    """Lay the weights of linear layers that share an input side by side in memory.

    Their parameters become slices of one buffer and keep names, shapes and values. Whatever
    replaces a parameter's memory (``.to(device)``, loading with ``assign``) undoes it; pack again
    then. Layers that are not plain, quantised ones for example, are left alone.

    Args:
        model: the transformer, with its weights loaded.
    """
    for module in model.modules():
        if isinstance(module, FramePackTransformerBlock | FramePackSingleTransformerBlock):
            for group in projections(module):
                if all(map(_is_plain, group)) and _packed(group) is None:
                    _pack(group)


def projections(block: nn.Module) -> list[tuple[nn.Linear, ...]]:
    """Layers of a block with one input; values, keys, queries, so that the last two touch."""
    attn: Any = block.attn
    own = attn.to_v, attn.to_k, attn.to_q
    if isinstance(block, FramePackTransformerBlock):
        return [own, (attn.add_v_proj, attn.add_k_proj, attn.add_q_proj)]
    return [(*own, block.proj_mlp)]  # type: ignore[list-item]


def _pack(layers: Sequence[nn.Linear]) -> None:
    sizes = [layer.out_features for layer in layers]
    for name in ("weight", "bias"):
        parameters = [getattr(layer, name) for layer in layers]
        # Weights that can be trained must stay so, also when they are packed during inference.
        with torch.inference_mode(parameters[0].is_inference()), torch.no_grad():
            buffer = torch.cat([parameter.detach() for parameter in parameters])
            for parameter, part in zip(parameters, buffer.split(sizes), strict=True):
                parameter.data = part


def _packed(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor] | None:
    """Weight [sum of outputs, in] and bias of the layers as one; None if they lie apart."""
    weight = _joined([layer._parameters["weight"] for layer in layers])
    bias = _joined([layer._parameters["bias"] for layer in layers])
    return None if weight is None or bias is None else (weight, bias)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """One view of tensors that lie in one buffer without gaps, joined along the first axis."""
    first = parts[0]
    if first is None or not first.is_contiguous():
        return None
    storage, end, rows = first.untyped_storage().data_ptr(), first.data_ptr(), 0
    for part in parts:
        if (
            part is None
            or part.dtype != first.dtype
            or part.shape[1:] != first.shape[1:]
            or not part.is_contiguous()
            or part.data_ptr() != end
            or part.untyped_storage().data_ptr() != storage
        ):
            return None
        end += part.nbytes
        rows += part.shape[0]
    return first.detach().as_strided((rows, *first.shape[1:]), first.stride())


# --- when ------------------------------------------------------------------------------------


def _is_plain(module: nn.Module) -> bool:
    """Whether calling a module does what its class says, and nothing besides."""
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    if "forward" in module.__dict__ and not only_brings(module.__dict__["forward"]):
        return False
    if module._compiled_call_impl is not None:
        return False
    if type(module) is nn.Linear:
        weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
        # Quantised weights are subclasses.
        return type(weight) is nn.Parameter and type(bias) is nn.Parameter
    if type(module) is FramePackAttention:
        processor = module.processor
        return type(processor) is JointAttnProcessor and processor._parallel_config is None
    return True


def _all_plain(module: nn.Module, dtype: torch.dtype) -> bool:
    """Whether a block and all in it are plain, unhooked and of one number format."""
    if type(module) not in _KINDS or not _is_plain(module):
        return False
    for parameter in module._parameters.values():
        if parameter is not None and parameter.dtype != dtype:
            return False
    return all(_all_plain(child, dtype) for child in module._modules.values() if child is not None)


def fused_blocks(blocks: Iterable[nn.Module], tokens: Tensor) -> "list[FusedBlock] | None":
    """The blocks as functions on one token buffer, if that makes no difference to anyone.

    Args:
        blocks: double-stream, then single-stream blocks.
        tokens: [B, N, D] what is to enter them.

    Returns:
        One for each block. None where autograd, autocast, a compiler or a hook is at work, where
        projections are not packed or not plain (adapters, quantisation, layerwise casting,
        offloading of layers), with context parallelism or with more than one sample.
    """
    if (
        tokens.shape[0] != 1
        or tokens.device.type not in _DEVICES
        or torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled(tokens.device.type)
        or nn.modules.module._has_any_global_hook()
    ):
        return None
    fused: list[FusedBlock] = []
    for block in blocks:
        with shown(block):
            if not _all_plain(block, tokens.dtype):
                return None
            weights = [_packed(group) for group in projections(block)]
        if any(each is None for each in weights):
            return None
        kind: Any = _Double if isinstance(block, FramePackTransformerBlock) else _Single
        # Where streamed weights will be is known when they are used.
        fused.append(kind(block, () if is_streamed(block) else weights))
    return fused


# --- how -------------------------------------------------------------------------------------


def modulation_vectors(blocks: Iterable[nn.Module], temb: Tensor) -> list[tuple[Vectors, ...]]:
    """What :meth:`FusedBlock.run` takes, for each block.

    Args:
        blocks: as for :func:`fused_blocks`.
        temb: [1, D] conditioning vector.
    """

    (vectors,) = modulation_tables(blocks, [temb])
    return vectors


def modulation_tables(
    blocks: Iterable[nn.Module], tembs: Sequence[Tensor]
) -> list[list[tuple[Vectors, ...]]]:
    """:func:`modulation_vectors` for many vectors, to the same bits, each layer used once."""

    def of(norm: Any, temb: Tensor) -> Vectors:
        vectors = [vector.reshape(-1) for vector in norm(temb)]
        for scale in range(1, len(vectors), 3):
            vectors[scale] = 1 + vectors[scale]
        return tuple(vectors)

    tables: list[list[tuple[Vectors, ...]]] = [[] for _ in tembs]
    for block in blocks:
        names: Any = block.tabled
        layers = [[of(getattr(block, name), temb) for temb in tembs] for name in names]
        for table, vectors in zip(tables, zip(*layers, strict=True), strict=True):
            table.append(vectors)
    return tables


def complex_phases(phases: Tensor) -> Tensor:
    """[1, N, D/2, 2] phases as [N, 1, 1, D/2] complex numbers, which a rotation multiplies by."""
    return torch.view_as_complex(phases[0].contiguous())[:, None, None]


class TokenBuffer(NamedTuple):
    """All tokens of one sample, one after the other; blocks change them in place.

    Attributes:
        tokens: [S, D] history, then noisy tokens, then text.
        num_latent: tokens before the text.
        first_noisy: tokens before the noisy ones.
    """

    tokens: Tensor
    num_latent: int
    first_noisy: int

    @property
    def latent(self) -> Tensor:
        """[1, N, D] view of history and noisy tokens."""
        return self.tokens[: self.num_latent].unsqueeze(0)

    @property
    def noisy(self) -> Tensor:
        """[1, n, D] view of the noisy tokens."""
        return self.latent[:, self.first_noisy :]


def run_fused(
    blocks: Sequence["FusedBlock"],
    buffer: TokenBuffer,
    vectors: Sequence[tuple[Vectors, ...]],
    phases: Tensor,
    cache: StepCaching | None,
) -> Tensor:
    """Run the blocks on a buffer, or have a cache spare them.

    Args:
        blocks: from :func:`fused_blocks`, at least one.
        buffer: what enters them; holds anything after it.
        vectors: from :func:`modulation_vectors`.
        phases: [N, 1, 1, head width / 2] complex.
        cache: see the transformer.

    Returns:
        [1, n, D] noisy tokens after all blocks.
    """
    steps = list(zip(blocks, vectors, strict=True))
    entered: Tensor | None = None
    if cache is not None:
        if cache.after_first_block:
            before = buffer.latent.clone()
            block, modulation = steps.pop(0)
            block.run(buffer, modulation, phases)
            signal = buffer.latent - before
        else:
            shift, scale, *_ = vectors[0][0]
            signal = _modulated(buffer.latent, shift, scale)
        entered = buffer.noisy.clone()
        added = cache.reuse(signal)
        if added is not None:
            return entered + added
    for block, modulation in steps[:-1]:
        block.run(buffer, modulation, phases)
    for block, modulation in steps[-1:]:
        block.run_last(buffer, modulation, phases)
    if cache is not None and entered is not None:
        cache.keep(buffer.noisy - entered)
    return buffer.noisy


@dataclass(frozen=True)
class FusedBlock(ABC):
    """A block as a function on one token buffer.

    Attributes:
        block: it.
        packed: see :meth:`weights`; empty where they are streamed.
    """

    block: Any
    packed: Sequence[tuple[Tensor, Tensor]]

    def weights(self, number: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of some :func:`projections` as one; streamed ones must be here."""
        if self.packed:
            return self.packed[number]
        joined = _packed(projections(self.block)[number])
        assert joined is not None, "streamed weights do not lie as they were shown"
        return joined

    @abstractmethod
    def run(self, buffer: TokenBuffer, modulation: tuple[Vectors, ...], phases: Tensor) -> None:
        """Apply the block to the buffer, in place.

        Args:
            buffer: all tokens.
            modulation: one entry of :func:`modulation_vectors`.
            phases: [N, 1, 1, head width / 2] complex; text is not rotated.
        """

    def run_last(
        self, buffer: TokenBuffer, modulation: tuple[Vectors, ...], phases: Tensor
    ) -> None:
        """:meth:`run` where only the noisy tokens of the result count; others may be anything."""
        self.run(buffer, modulation, phases)


class _Double(FusedBlock):
    def run(self, buffer: TokenBuffer, modulation: tuple[Vectors, ...], phases: Tensor) -> None:
        x, num_latent, _ = buffer
        streams = x[:num_latent], x[num_latent:]
        with here(self.block):
            with here(self.block.attn):
                self._attend(streams, modulation, phases)
            feeds: tuple[FeedForward, ...] = self.block.ff, self.block.ff_context
            for stream, vectors, feed in zip(streams, modulation, feeds, strict=True):
                _, _, _, shift, scale, gate = vectors
                with here(feed):
                    for part in _parts(stream):
                        part.addcmul_(gate, _feed(feed, _modulated(part, shift, scale)))

    def _attend(
        self, streams: tuple[Tensor, Tensor], modulation: tuple[Vectors, ...], phases: Tensor
    ) -> None:
        """Add to both streams what they see of each other."""
        attn, num_latent = self.block.attn, streams[0].shape[0]
        weights = self.weights(0), self.weights(1)
        norms = (attn.norm_k, attn.norm_q), (attn.norm_added_k, attn.norm_added_q)
        wide = [
            linear(_modulated(stream, *vectors[:2]), *weight)
            for stream, vectors, weight in zip(streams, modulation, weights, strict=True)
        ]
        for part, pair, turns in zip(wide, norms, (phases, None), strict=True):
            _norm_and_turn(_heads(part, attn.heads, 3)[:, 1:], pair, turns)
        joined = torch.cat(wide)
        del wide, part  # three token widths each that attention can have
        heads = _heads(joined, attn.heads, 3)
        attended = _attend(attn, heads[:, 2], heads[:, 1], heads[:, 0])
        outs = attn.to_out[0], attn.to_add_out
        parts = attended[:num_latent], attended[num_latent:]
        for stream, part, vectors, out in zip(streams, parts, modulation, outs, strict=True):
            stream.addcmul_(vectors[2], linear(part, out.weight, out.bias))


class _Single(FusedBlock):
    def run(self, buffer: TokenBuffer, modulation: tuple[Vectors, ...], phases: Tensor) -> None:
        self._run(buffer.tokens, slice(None), modulation[0], phases)

    def run_last(
        self, buffer: TokenBuffer, modulation: tuple[Vectors, ...], phases: Tensor
    ) -> None:
        noisy = slice(buffer.first_noisy, buffer.num_latent)
        self._run(buffer.tokens, noisy, modulation[0], phases)

    def _run(self, x: Tensor, rows: slice, vectors: Vectors, phases: Tensor) -> None:
        """Change some rows; values and keys come from all of them."""
        if x[rows].shape[0] > _MOST_ROWS:
            self._run_by_parts(x, rows, vectors, phases)
            return
        with here(self.block):
            with here(self.block.attn):
                wide = self._wide(x, rows, vectors, phases)
            out = self.block.proj_out
            with here(out):
                x[rows].addcmul_(vectors[2], linear(wide, out.weight, out.bias))

    def _run_by_parts(self, x: Tensor, rows: slice, vectors: Vectors, phases: Tensor) -> None:
        """The same with the feed-forward's hidden values of some rows at a time in memory."""
        shift, scale, gate = vectors
        attn, out = self.block.attn, self.block.proj_out
        with here(self.block), here(attn), here(out):
            weight, bias = self.weights(0)
            inner = attn.to_q.out_features
            normed = _modulated(x, shift, scale)
            wide = linear(normed, weight[: 2 * inner], bias[: 2 * inner])
            seen = _heads(wide, attn.heads, 2)
            _norm_and_turn(seen[:, 1:], (attn.norm_k,), phases)
            asked = slice(2 * inner, 3 * inner)
            query = _heads(linear(normed[rows], weight[asked], bias[asked]), attn.heads, 1)
            _norm_and_turn(query, (attn.norm_q,), phases[rows])
            attended = _attend(attn, query[:, 0], seen[:, 1], seen[:, 0])
            del wide, seen, query
            weight, bias = weight[3 * inner :], bias[3 * inner :]
            streams = x[rows], normed[rows], attended
            for part, tokens, saw in zip(*map(_parts, streams), strict=True):
                hidden = linear(tokens, weight, bias)
                torch.ops.aten.gelu_(hidden, approximate="tanh")
                both = torch.cat([saw, hidden], dim=-1)
                part.addcmul_(gate, linear(both, out.weight, out.bias))

    def _wide(self, x: Tensor, rows: slice, vectors: Vectors, phases: Tensor) -> Tensor:
        """What was attended and the feed-forward's hidden values, [n, I + hidden]."""
        shift, scale, _ = vectors
        attn = self.block.attn
        weight, bias = self.weights(0)
        inner = attn.to_q.out_features
        normed = _modulated(x, shift, scale)
        seen = _heads(linear(normed, weight[: 2 * inner], bias[: 2 * inner]), attn.heads, 2)
        _norm_and_turn(seen[:, 1:], (attn.norm_k,), phases)
        wide = linear(normed[rows], weight[2 * inner :], bias[2 * inner :])
        query = _heads(wide[:, :inner], attn.heads, 1)
        _norm_and_turn(query, (attn.norm_q,), phases[rows])
        # What was attended takes the queries' place, next to the feed-forward's hidden values.
        wide[:, :inner].copy_(_attend(attn, query[:, 0], seen[:, 1], seen[:, 0]))
        torch.ops.aten.gelu_(wide[:, inner:], approximate="tanh")
        return wide


def _parts(tokens: Tensor) -> Sequence[Tensor]:
    """Views of rows, as many at a time as a feed-forward takes, and about equally many."""
    return tokens.tensor_split(max(1, -(-len(tokens) // _MOST_ROWS)))


def _modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], scale, shift, EPS)


def _heads(wide: Tensor, heads: int, parts: int) -> Tensor:
    """[S, parts * I] as [S, parts, H, head width], a view."""
    split: Tensor = wide.unflatten(-1, (parts, heads, -1))
    return split


def _norm_and_turn(heads: Tensor, norms: Sequence[Any], phases: Tensor | None) -> None:
    """RMS norm each part with its weight, then rotate the first tokens, in place, in fp32.

    Args:
        heads: [S, parts, H, head width].
        norms: one for each part.
        phases: [n, 1, 1, head width / 2] complex, of the first n tokens; None turns none.
    """
    weight = torch.stack([norm.weight for norm in norms])
    norm_and_turn(heads, weight, norms[0].eps, phases)


def _attend(attn: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[n, H, head width] each to [n, I], through the back end that was chosen."""
    attended = attn.processor.attend(
        query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), attention_mask=None
    )
    flat: Tensor = attended.flatten(2)[0].to(query.dtype)
    return flat


def _feed(feed: FeedForward, tokens: Tensor) -> Tensor:
    expand: Any = feed.net[0]
    contract: Any = feed.net[2]
    hidden = linear(tokens, expand.proj.weight, expand.proj.bias)
    torch.ops.aten.gelu_(hidden, approximate="tanh")
    return linear(hidden, contract.weight, contract.bias)
