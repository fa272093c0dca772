"""The FramePack transformer: noisy latents and their packed history in, a flow prediction out.

One network for the bi-directional and the forward-only weights: they differ in the indices and
the order of the history they are given, and in nothing else.
"""

# Shape letters are those of docs/notation.md:
#   B batch  C channels  T latent frames  H W latent size  N tokens  M text tokens  D token width

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.loaders.single_file_model import FromOriginalModelMixin
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention import AttentionMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.peft_utils import apply_lora_scale
from einops import rearrange
from torch import Tensor, nn

from framepack.models.blocks import (
    FramePackSingleTransformerBlock,
    FramePackTransformerBlock,
    Modulation,
    OutputHead,
    TextRefiner,
    modulate,
    register_blocks,
)
from framepack.models.embeddings import (
    FULL_RATE_KERNEL,
    ConditionEmbedding,
    HistoryPatchEmbed,
    LatentPatchEmbed,
    PackedRotaryEmbedding,
    TokenGrid,
    VisionProjection,
)
from framepack.models.fused import (
    TokenBuffer,
    complex_phases,
    fused_blocks,
    modulation_tables,
    modulation_vectors,
    pack_projections,
    run_fused,
)
from framepack.models.inputs import check_geometry, checked_grid, token_grid, trim_text
from framepack.models.reuse import Reuse, StepCaching, Store
from framepack.models.streamed import is_streamed

__all__ = ["FramePackTransformer3DModel", "StepCaching", "trim_text"]


Streams = tuple[list[Tensor], list[Tensor]]
"""Parts of the latent and of the text stream, [B, n, D] each, in order."""

Conditioning = tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]
"""Conditioning vector, mask of the text stream, phases of latents and text."""


class FramePackTransformer3DModel(  # type: ignore[misc]  # the mixins disagree on config_name
    ModelMixin,
    AttentionMixin,
    ConfigMixin,
    PeftAdapterMixin,
    FromOriginalModelMixin,
    CacheMixin,
):
    """Next-section predictor of FramePack, at any size from the embedded model to the 13B.

    State-dict keys, config fields and forward arguments are those of diffusers'
    ``HunyuanVideoFramepackTransformer3DModel``, so its checkpoints, adapters, quantisers,
    offloading and caches apply.

    Args:
        in_channels: latent channels.
        out_channels: channels predicted; 0 means ``in_channels``.
        num_attention_heads: heads per attention; with ``attention_head_dim`` it fixes the token
            width.
        attention_head_dim: width of one head.
        num_layers: double-stream blocks.
        num_single_layers: single-stream blocks.
        num_refiner_layers: blocks of the text refiner.
        mlp_ratio: inner width of the feed-forwards, in token widths.
        patch_size: latent rows and columns per token; 2.
        patch_size_t: latent frames per token; 1.
        qk_norm: norm of queries and keys; "rms_norm".
        guidance_embeds: the model takes a distilled guidance scale.
        text_embed_dim: width of the text encoder's embeddings.
        pooled_projection_dim: width of the pooled text.
        rope_theta: base of the rotary frequencies.
        rope_axes_dim: channels of a head given to time, rows and columns.
        image_condition_type: kept for the published config; changes nothing here.
        has_image_proj: the model takes vision features of the start picture.
        image_proj_dim: width of those features.
        has_clean_x_embedder: the model takes a packed history.

    Raises:
        ValueError: a patch size or a norm that no FramePack checkpoint has, or axes that do not
            add up to the head width.

    Source: FramePack, arXiv 2504.12626; HunyuanVideo, arXiv 2412.03603.
    """

    _supports_gradient_checkpointing = True
    # `Any`, because diffusers declares these as None.
    _skip_layerwise_casting_patterns: Any = ["x_embedder", "context_embedder", "norm"]  # noqa: RUF012
    _no_split_modules: Any = [  # noqa: RUF012
        "FramePackTransformerBlock",
        "FramePackSingleTransformerBlock",
        "HistoryPatchEmbed",
        "TextRefiner",
    ]
    _repeated_blocks: Any = [  # noqa: RUF012
        "FramePackTransformerBlock",
        "FramePackSingleTransformerBlock",
    ]
    # Tokens are split once all tiers are packed, and joined before the noisy ones are cut out.
    # Both streams are split; a token's place does not matter to attention. Their lengths are
    # rarely multiples of the world size: use `ulysses_anything`.
    _cp_plan: Any = {  # noqa: RUF012
        "rope": {
            0: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True),
            1: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True),
        },
        "transformer_blocks.0": {
            "hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
            "encoder_hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
        },
        "join_shards": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 16,
        out_channels: int = 16,
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        num_layers: int = 20,
        num_single_layers: int = 40,
        num_refiner_layers: int = 2,
        mlp_ratio: float = 4.0,
        patch_size: int = 2,
        patch_size_t: int = 1,
        qk_norm: str = "rms_norm",
        guidance_embeds: bool = True,
        text_embed_dim: int = 4096,
        pooled_projection_dim: int = 768,
        rope_theta: float = 256.0,
        rope_axes_dim: tuple[int, ...] = (16, 56, 56),
        image_condition_type: str | None = None,
        has_image_proj: bool = False,
        image_proj_dim: int = 1152,
        has_clean_x_embedder: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        check_geometry((patch_size_t, patch_size, patch_size), attention_head_dim, rope_axes_dim)
        if qk_norm != "rms_norm":
            raise ValueError(f"qk_norm is {qk_norm!r}, FramePack models use 'rms_norm'")
        dim = num_attention_heads * attention_head_dim
        out_channels = out_channels or in_channels

        self.x_embedder = LatentPatchEmbed(in_channels, dim)
        self.clean_x_embedder = (
            HistoryPatchEmbed(in_channels, dim) if has_clean_x_embedder else None
        )
        self.context_embedder = TextRefiner(
            text_embed_dim, num_attention_heads, attention_head_dim, num_refiner_layers
        )
        self.image_projection = VisionProjection(image_proj_dim, dim) if has_image_proj else None
        self.time_text_embed = ConditionEmbedding(
            dim, pooled_projection_dim, guidance=guidance_embeds
        )
        self.rope = PackedRotaryEmbedding(rope_axes_dim, rope_theta)

        size = (num_attention_heads, attention_head_dim, mlp_ratio)
        self.transformer_blocks = nn.ModuleList(
            [FramePackTransformerBlock(*size) for _ in range(num_layers)]
        )
        self.single_transformer_blocks = nn.ModuleList(
            [FramePackSingleTransformerBlock(*size) for _ in range(num_single_layers)]
        )
        self.join_shards = nn.Identity()  # where context parallelism gathers, see _cp_plan
        self.norm_out = Modulation(dim, 2)
        self.proj_out = OutputHead(dim, patch_size_t * patch_size**2 * out_channels)

        self.gradient_checkpointing = False
        register_blocks()

    @apply_lora_scale("attention_kwargs")  # type: ignore[untyped-decorator]
    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None,
        pooled_projections: Tensor,
        image_embeds: Tensor | None = None,
        indices_latents: Tensor | None = None,
        guidance: Tensor | None = None,
        latents_clean: Tensor | None = None,
        indices_latents_clean: Tensor | None = None,
        latents_history_2x: Tensor | None = None,
        indices_latents_history_2x: Tensor | None = None,
        latents_history_4x: Tensor | None = None,
        indices_latents_history_4x: Tensor | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
        *,
        step_cache: StepCaching | None = None,
        reuse: Reuse | None = None,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predict the flow (noise minus clean latents) of one section.

        Args:
            hidden_states: [B, C, T, H, W] noisy latents.
            timestep: [B] or scalar, sigma times 1000.
            encoder_hidden_states: [B, M, E] prompt embeddings.
            encoder_attention_mask: [B, M], nonzero for real tokens; None when all are. Keep it
                on the CPU: its lengths are read there, and a mask on a device is copied back.
            pooled_projections: [B, P] pooled prompt.
            image_embeds: [B, K, V] vision features; None leaves the picture out.
            indices_latents: [T] or [B, T] positions of the noisy frames; None counts from 0.
                All indices are best on the CPU, where their phases are computed once.
            guidance: [B] or scalar, distilled guidance scale times 1000.
            latents_clean: [B, C, t, H, W] start picture and nearest history, at full rate.
            indices_latents_clean: [t] or [B, t] positions.
            latents_history_2x: [B, C, t, H, W] history to be packed 2x coarser.
            indices_latents_history_2x: [t] or [B, t] positions.
            latents_history_4x: [B, C, t, H, W] history to be packed 4x coarser.
            indices_latents_history_4x: [t] or [B, t] positions.
            attention_kwargs: ``{"scale": float}`` sets the LoRA scale.
            return_dict: return a ``Transformer2DModelOutput``, else a tuple of one.
            step_cache: may spare the blocks of this pass; None runs them, which is exact.
            reuse: what earlier passes worked out that holds for this one too; None works out
                everything, with the same result.

        Returns:
            ``sample`` [B, C, T, H, W] fp32.

        Raises:
            ValueError: a tier without indices or with another number of them, vision features
                or history that the model has no weights for, or missing guidance.
        """
        reuse = reuse or Reuse()
        noisy_grid = token_grid(
            hidden_states,
            torch.arange(hidden_states.shape[2]) if indices_latents is None else indices_latents,
        )
        tiers = reuse.in_section(
            "history",
            lambda: self._embed_history(
                (latents_history_4x, indices_latents_history_4x),
                (latents_history_2x, indices_latents_history_2x),
                (latents_clean, indices_latents_clean),
            ),
        )
        tiers = [*tiers, (self.x_embedder(hidden_states), noisy_grid)]
        picture = reuse.in_section("picture", lambda: self._embed_picture(image_embeds))
        prompt, mask = reuse.in_step(
            "prompt",
            lambda: self._embed_prompt(encoder_hidden_states, encoder_attention_mask, timestep),
        )
        temb = reuse.in_step(
            "temb", lambda: self.time_text_embed(timestep, pooled_projections, guidance)
        )
        if picture is not None and mask is not None:
            mask = torch.cat([mask.new_ones(picture.shape[:2]), mask], dim=1)
        streams = [part for part, _ in tiers], [prompt] if picture is None else [picture, prompt]
        num_text = sum(part.shape[1] for part in streams[1])
        phases = reuse.in_section(
            ("phases", num_text),
            lambda: self.rope([grid for _, grid in tiers], num_text, hidden_states.device),
        )
        rest = temb, mask, phases
        noisy = self._run_fused(streams, rest, noisy_grid.num_tokens, step_cache, reuse)
        if noisy is None:
            noisy = self._run(streams, rest, noisy_grid.num_tokens, step_cache)
        scale, shift = reuse.in_step("norm_out", lambda: self.norm_out(temb))
        patches = self.proj_out(modulate(noisy, shift, scale))
        _, kh, kw = FULL_RATE_KERNEL
        sample = rearrange(
            patches,
            "b (t h w) (c kh kw) -> b c t (h kh) (w kw)",
            h=noisy_grid.height,
            w=noisy_grid.width,
            kh=kh,
            kw=kw,
        )
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _embed_history(
        self, *tiers: tuple[Tensor | None, Tensor | None]
    ) -> list[tuple[Tensor, TokenGrid]]:
        """Tokens and grids of the tiers that are present, in the order 4x, 2x, clean."""
        history_4x, history_2x, clean = (latents for latents, _ in tiers)
        if history_4x is None and history_2x is None and clean is None:
            return []
        if self.clean_x_embedder is None:
            raise ValueError(
                "history latents were given, but this model has no history embedder; "
                "use weights with has_clean_x_embedder"
            )
        near_to_far = self.clean_x_embedder(clean, history_2x, history_4x)
        return [
            (tokens, checked_grid(token_grid(latents, indices, pool), tokens))
            for (latents, indices), tokens, pool in zip(
                tiers, near_to_far[::-1], (4, 2, 1), strict=True
            )
            if latents is not None
        ]

    def _embed_picture(self, image_embeds: Tensor | None) -> Tensor | None:
        """The picture's tokens [B, K, D], which stand before the prompt's."""
        if image_embeds is None:
            return None
        if self.image_projection is None:
            raise ValueError(
                "image_embeds were given, but this model has no vision projection; "
                "use weights with has_image_proj or leave image_embeds out"
            )
        picture: Tensor = self.image_projection(image_embeds)
        return picture

    def _embed_prompt(
        self, prompt: Tensor, prompt_mask: Tensor | None, timestep: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The prompt's tokens [B, M, D] and their mask, None when all are real."""
        prompt, mask = trim_text(prompt, prompt_mask)
        return self.context_embedder(prompt, timestep, mask), mask

    def pack_projections(self) -> None:
        """Lay weights that share an input side by side, for faster passes without gradients.

        Call it when the weights are where they stay. Keys, shapes and values do not change, and
        results only as rounding does. See :mod:`framepack.models.fused`.
        """
        pack_projections(self)

    def prepare_steps(
        self,
        timesteps: Sequence[Tensor],
        stores: Sequence[Store],
        *,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None,
        pooled_projections: Tensor,
        guidance: Tensor | None,
    ) -> None:
        """Work out ahead what passes take from :attr:`Reuse.step`, where weights are streamed.

        Each layer that makes it is then brought once, not once for every step. The passes give
        the same bits without this.

        Args:
            timesteps: of the passes to come, [B] each.
            stores: :attr:`Reuse.step` of each.
            encoder_hidden_states, encoder_attention_mask, pooled_projections, guidance: as in
                :meth:`forward`.
        """
        blocks = (*self.transformer_blocks, *self.single_transformer_blocks)
        if not any(map(is_streamed, blocks)) or encoder_hidden_states.shape[0] != 1:
            return
        tembs = []
        for timestep, store in zip(timesteps, stores, strict=True):
            step = Reuse(step=store)
            prompt = encoder_hidden_states, encoder_attention_mask, timestep
            step.in_step("prompt", partial(self._embed_prompt, *prompt))
            given = timestep, pooled_projections, guidance
            tembs.append(step.in_step("temb", partial(self.time_text_embed, *given)))
        missing = [index for index, store in enumerate(stores) if "modulation" not in store]
        tables = modulation_tables(blocks, [tembs[index] for index in missing])
        for index, table in zip(missing, tables, strict=True):
            stores[index]["modulation"] = table

    def _run_fused(
        self,
        streams: Streams,
        rest: Conditioning,
        num_noisy: int,
        cache: StepCaching | None,
        reuse: Reuse,
    ) -> Tensor | None:
        """What :meth:`_run` gives, where nothing hinders fusing; None where something does."""
        temb, mask, (phases, _) = rest
        blocks = (*self.transformer_blocks, *self.single_transformer_blocks)
        fused = fused_blocks(blocks, streams[0][-1]) if mask is None else None
        if fused is None or phases.shape[0] != 1:
            return None
        tokens, text = streams
        num_latent = sum(part.shape[1] for part in tokens)
        buffer = TokenBuffer(
            torch.cat([*tokens, *text], dim=1)[0], num_latent, num_latent - num_noisy
        )
        turns = reuse.in_section("turns", lambda: complex_phases(phases))
        vectors = reuse.in_step("modulation", lambda: modulation_vectors(blocks, temb))
        return run_fused(fused, buffer, vectors, turns, cache)

    def _run(
        self,
        streams: Streams,
        rest: Conditioning,
        num_noisy: int,
        cache: StepCaching | None,
    ) -> Tensor:
        """The noisy tokens [B, n, D] after all blocks, or as a cache takes them to be."""
        tokens, text = (torch.cat(parts, dim=1) for parts in streams)
        temb, mask, (phases, text_phases) = rest
        if mask is not None:
            mask = torch.cat([mask.new_ones(1).expand(mask.shape[0], tokens.shape[1]), mask], 1)
            mask = mask[:, None, None, :]
        inputs = temb, mask, torch.cat([phases, text_phases], dim=1)
        entered, first = tokens, 0
        if cache is not None:
            if cache.after_first_block:
                tokens, text = self._run_blocks(slice(0, 1), tokens, text, inputs)
                signal = tokens - entered
                entered, first = tokens, 1
            else:
                first_block: Any = self.transformer_blocks[0]
                shift, scale, *_ = first_block.norm1(temb)
                signal = modulate(tokens, shift, scale)
            added = cache.reuse(signal)
            if added is not None:
                return entered[:, -num_noisy:] + added
        tokens, _ = self._run_blocks(slice(first, None), tokens, text, inputs)
        noisy: Tensor = self.join_shards(tokens)[:, -num_noisy:]
        if cache is not None:
            cache.keep(noisy - entered[:, -num_noisy:])
        return noisy

    def _run_blocks(
        self,
        which: slice,
        tokens: Tensor,
        text: Tensor,
        rest: tuple[Tensor, Tensor | None, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Both streams after some of the blocks, in order."""
        temb, mask, phases = rest
        recompute: Any = None
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            recompute = self._gradient_checkpointing_func
        for block in (*self.transformer_blocks, *self.single_transformer_blocks)[which]:
            if recompute is not None:
                tokens, text = recompute(block, tokens, text, temb, mask, phases)
            else:
                tokens, text = block(
                    hidden_states=tokens,
                    encoder_hidden_states=text,
                    temb=temb,
                    attention_mask=mask,
                    image_rotary_emb=phases,
                )
        return tokens, text
