"""The embedded model's networks: the classes of the published model with small configs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKLHunyuanVideo
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from framepack.models.transformer import FramePackTransformer3DModel

LATENT_CHANNELS = 32
TEXT_WIDTH = 64
VISION_SIZE_PX = 64
VOCABULARY = 1024
MAX_TEXT_TOKENS = 96
CLIP_TOKENS = 77

VAE_CONFIG: dict[str, Any] = {
    "latent_channels": LATENT_CHANNELS,
    "block_out_channels": (16, 32, 64, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
    "scaling_factor": 1.0,
}

TRANSFORMER_CONFIG: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "num_attention_heads": 8,
    "attention_head_dim": 32,
    "num_layers": 1,
    "num_single_layers": 4,
    "num_refiner_layers": 1,
    "mlp_ratio": 2.0,
    "patch_size": 2,
    "patch_size_t": 1,
    "qk_norm": "rms_norm",
    "guidance_embeds": True,
    "text_embed_dim": TEXT_WIDTH,
    "pooled_projection_dim": TEXT_WIDTH,
    "rope_theta": 256.0,
    "rope_axes_dim": (8, 12, 12),
    "has_image_proj": True,
    "image_proj_dim": TEXT_WIDTH,
    "has_clean_x_embedder": True,
}


@dataclass(frozen=True)
class TextTokenizers:
    """The Llama-style and the CLIP-style tokenizer, sharing one vocabulary."""

    llama: PreTrainedTokenizerFast
    clip: PreTrainedTokenizerFast


def _byte_pair_encoding(corpus: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - 4,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def _wrap(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    copy = Tokenizer.from_str(tokenizer.to_str())
    specials = [options[key] for key in ("bos_token", "eos_token") if key in options]
    copy.add_special_tokens(list(dict.fromkeys([options["pad_token"], *specials])))
    start = options["bos_token"]
    end = f" {options['eos_token']}" if options.pop("append_eos") else ""
    copy.post_processor = processors.TemplateProcessing(
        single=f"{start} $A{end}",
        special_tokens=[(token, copy.token_to_id(token)) for token in specials],
    )
    return PreTrainedTokenizerFast(tokenizer_object=copy, **options)


def build_tokenizers(corpus: list[str]) -> TextTokenizers:
    """Learn one byte-pair vocabulary from captions and wrap it for both text encoders.

    CLIP pools at its end token, which must therefore be the largest id and must not be 2
    (transformers treats 2 as a legacy marker).
    """
    bpe = _byte_pair_encoding(corpus)
    llama = _wrap(
        bpe,
        bos_token="<|begin_of_text|>",
        pad_token="<|pad|>",
        append_eos=False,
        model_max_length=MAX_TEXT_TOKENS,
        padding_side="right",
    )
    clip = _wrap(
        bpe,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        append_eos=True,
        model_max_length=CLIP_TOKENS,
        padding_side="right",
    )
    return TextTokenizers(llama=llama, clip=clip)


def build_text_encoder(tokenizer: PreTrainedTokenizerFast) -> LlamaModel:
    """Llama of three layers, of which the pipeline reads ``hidden_states[-3]``."""
    return LlamaModel(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=MAX_TEXT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_text_encoder_2(tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    """CLIP text encoder of two layers; its pooled output enters every modulation."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CLIP_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_image_encoder() -> SiglipVisionModel:
    """SigLIP vision tower of two layers on 64-pixel pictures, 16 tokens."""
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=VISION_SIZE_PX,
            patch_size=16,
            vision_use_head=False,
        )
    )


def build_feature_extractor() -> SiglipImageProcessor:
    """The SigLIP image processor for ``build_image_encoder``."""
    return SiglipImageProcessor(size={"height": VISION_SIZE_PX, "width": VISION_SIZE_PX})


def build_vae() -> nn.Module:
    """HunyuanVideo's causal VAE at a fortieth of its width, initialised for residual training."""
    vae: nn.Module = cast(Any, AutoencoderKLHunyuanVideo)(**VAE_CONFIG)
    with torch.no_grad():
        for name, module in vae.named_modules():
            if isinstance(module, nn.Conv3d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, fan_in**-0.5)
                if module.bias is not None:
                    module.bias.zero_()
                if name.endswith("conv2.conv"):
                    module.weight.zero_()
    return vae


def build_transformer() -> FramePackTransformer3DModel:
    """The packed transformer with modulation and output starting at zero."""
    transformer: FramePackTransformer3DModel = cast(Any, FramePackTransformer3DModel)(
        **TRANSFORMER_CONFIG
    )
    with torch.no_grad():
        for name, module in transformer.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            modulation = name.endswith("norm_out.linear") or (
                ".norm" in name and name.endswith(".linear")
            )
            if modulation or name == "proj_out":
                module.weight.zero_()
                if module.bias is not None:
                    module.bias.zero_()
        _start_history_from_clean(transformer)
    return transformer


def _start_history_from_clean(transformer: FramePackTransformer3DModel) -> None:
    """Initialise the history patch embedders from the noisy one, averaged over their kernels."""
    base: nn.Conv3d = transformer.x_embedder.proj
    clean: Any = transformer.clean_x_embedder
    clean.proj.weight.copy_(base.weight)
    clean.proj.bias.copy_(base.bias)
    for history, factor in ((clean.proj_2x, 2), (clean.proj_4x, 4)):
        tiled = base.weight.detach().repeat(1, 1, factor, factor, factor) / factor**3
        history.weight.copy_(tiled)
        history.bias.copy_(base.bias)


def save_components(folder: Path, components: dict[str, Any]) -> None:
    """Write components in the published folder layout: one sub-folder each."""
    for name, component in components.items():
        component.save_pretrained(folder / name)
