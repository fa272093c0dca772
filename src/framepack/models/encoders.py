"""What steers the network, as numbers: prompts through Llama and CLIP, pictures through SigLIP."""

# Shape letters are those of docs/notation.md:
#   B batch  M text tokens  N image tokens  E P V widths of text, pooled text and vision features

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, LlamaModel, PreTrainedTokenizerBase, SiglipVisionModel

from framepack.models.parts import PromptTemplate

__all__ = ["CLIP_TOKENS", "PromptEmbeds", "encode_prompt", "encode_vision", "zero_prompt"]

CLIP_TOKENS = 77
"""Most tokens that CLIP sees, its start and end tokens included."""

_LLAMA_LAYER = -3  # the layer HunyuanVideo was trained on; the last two have their own taste


@dataclass(frozen=True)
class PromptEmbeds:
    """One encoded prompt.

    Attributes:
        prompt_embeds: [1, M, E], zero where the mask is False.
        prompt_mask: [1, M] bool on the CPU, True for real tokens; they come first.
        pooled: [1, P], the prompt as one vector.
    """

    prompt_embeds: Tensor
    prompt_mask: Tensor
    pooled: Tensor


@torch.inference_mode()
def encode_prompt(
    prompt: str,
    *,
    text_encoder: LlamaModel,
    tokenizer: PreTrainedTokenizerBase,
    text_encoder_2: CLIPTextModel,
    tokenizer_2: PreTrainedTokenizerBase,
    template: PromptTemplate,
) -> PromptEmbeds:
    """Encode a prompt for the transformer.

    Llama reads the prompt inside the template and gives its third-last hidden state, the
    template's own leading tokens cut off. CLIP reads the bare prompt and gives its pooled state.
    Neither sees padding: both are causal, so padding would only cost time.

    Args:
        prompt: any text; what is beyond the encoders' lengths is not seen.
        text_encoder, tokenizer: Llama and its tokenizer.
        text_encoder_2, tokenizer_2: CLIP and its tokenizer.
        template: wrapping, lengths and padding for Llama.

    Returns:
        Embeddings on the encoders' device in their number format; M is ``template.pad_to``.

    Source: the released code; template and lengths in the model's ModelSpec.
    """
    embeds = _llama_embeds(template.apply(prompt), text_encoder, tokenizer, template)
    num_tokens = min(embeds.shape[1], template.pad_to)
    padded = embeds.new_zeros(1, template.pad_to, embeds.shape[2])
    padded[:, :num_tokens] = embeds[:, :num_tokens]
    mask = torch.arange(template.pad_to) < num_tokens
    return PromptEmbeds(padded, mask[None], _clip_pooled(prompt, text_encoder_2, tokenizer_2))


def zero_prompt(like: PromptEmbeds) -> PromptEmbeds:
    """Stand-in for a negative prompt that is never used: zeros, with the mask of ``like``.

    Source: the released code, where true guidance is off.
    """
    return PromptEmbeds(
        torch.zeros_like(like.prompt_embeds), like.prompt_mask, torch.zeros_like(like.pooled)
    )


@torch.inference_mode()
def encode_vision(
    image: Image.Image | NDArray[np.uint8],
    *,
    image_encoder: SiglipVisionModel,
    feature_extractor: Any,
) -> Tensor:
    """Encode what a picture shows.

    Args:
        image: RGB, already fitted to the video's size; an array is uint8 [H, W, 3].
        image_encoder: SigLIP's vision tower.
        feature_extractor: its image processor, which resizes and normalises.

    Returns:
        [1, N, V], the last hidden state, on the encoder's device in its number format.
    """
    weight = next(image_encoder.parameters())
    pixels = feature_extractor(images=image, return_tensors="pt")["pixel_values"]
    features: Tensor = image_encoder(pixel_values=pixels.to(weight)).last_hidden_state
    return features


def _llama_embeds(
    text: str,
    text_encoder: LlamaModel,
    tokenizer: PreTrainedTokenizerBase,
    template: PromptTemplate,
) -> Tensor:
    """[1, m, E] for the tokens after the template's leading ones; m may be 0."""
    ids = _token_ids(text, tokenizer, template.max_length)
    weight = next(text_encoder.parameters())
    if not ids:
        return weight.new_zeros(1, 0, text_encoder.config.hidden_size)
    output = text_encoder(
        input_ids=torch.tensor([ids], device=weight.device),
        output_hidden_states=True,
        use_cache=False,
    )
    hidden: Tensor = output.hidden_states[_LLAMA_LAYER]
    return hidden[:, template.crop_start :]


def _clip_pooled(
    text: str, text_encoder_2: CLIPTextModel, tokenizer_2: PreTrainedTokenizerBase
) -> Tensor:
    positions = int(text_encoder_2.config.max_position_embeddings)
    length = min(CLIP_TOKENS, positions, tokenizer_2.model_max_length)
    ids = _token_ids(text, tokenizer_2, length)
    device = next(text_encoder_2.parameters()).device
    output = text_encoder_2(input_ids=torch.tensor([ids], device=device))
    pooled: Tensor = output.pooler_output
    return pooled


def _token_ids(text: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[int]:
    encoded: Any = tokenizer(text, truncation=True, max_length=max_length)
    return list(encoded["input_ids"])
