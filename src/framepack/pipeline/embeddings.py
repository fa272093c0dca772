"""Encode prompts and pictures, each one once: what comes of it is remembered by content."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from framepack.models.encoders import PromptEmbeds
from framepack.models.parts import PromptTemplate
from framepack.pipeline.embedding_cache import EmbeddingCache, embedding_key
from framepack.weights.hashing import HashCache, identify_folder

__all__ = ["Embeddings"]

_TEXT = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
_VISION = ("image_encoder", "feature_extractor")


class Embeddings:
    """What a model's encoders made of texts and pictures.

    Args:
        cache: where it is kept; None encodes each time.
        folders: component to folder; where one is not there, each time too.
        device: where the encoders run.
        formats: number format and quantisation of each network, by name.
    """

    def __init__(
        self,
        cache: EmbeddingCache | None,
        folders: Mapping[str, Path],
        device: torch.device,
        formats: Mapping[str, str],
    ) -> None:
        self._cache = cache if {*_TEXT, *_VISION} <= folders.keys() else None
        self._folders = folders
        self._device = device
        self._formats = formats

    def prompt(
        self, text: str, template: PromptTemplate, encode: Callable[[], PromptEmbeds]
    ) -> PromptEmbeds:
        """Embeddings of a prompt on the CPU, the same bits whether remembered or made now."""
        if self._cache is None:
            return encode()
        key = self._prompt_key(text, template)
        known = self._cache.get(key)
        if known is not None:
            return _unpacked(known)
        made = encode()
        self._cache.put(key, _packed(made))
        return made

    def vision(self, picture: Image.Image, encode: Callable[[], Tensor]) -> Tensor:
        """What the image encoder sees in a picture, [1, N, V] on the CPU; likewise."""
        if self._cache is None:
            return encode()
        key = self._vision_key(picture)
        known = self._cache.get(key)
        if known is not None:
            return known["features"]
        made = encode()
        self._cache.put(key, {"features": made})
        return made

    def has_prompt(self, text: str, template: PromptTemplate) -> bool:
        """Whether a prompt needs no encoder."""
        return self._cache is not None and self._prompt_key(text, template) in self._cache

    def has_vision(self, picture: Image.Image) -> bool:
        """Whether a picture needs no encoder."""
        return self._cache is not None and self._vision_key(picture) in self._cache

    def _prompt_key(self, text: str, template: PromptTemplate) -> str:
        facts = {"prompt": text, "template": asdict(template), **self._made_by(_TEXT)}
        return embedding_key(self._device, facts)

    def _vision_key(self, picture: Image.Image) -> str:
        pixels = hashlib.sha256(picture.tobytes()).hexdigest()
        facts = {"pixels": pixels, "mode": picture.mode, "size": picture.size}
        return embedding_key(self._device, facts | self._made_by(_VISION))

    def _made_by(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Files and number formats; asked anew, since files may have been hashed by now."""
        hashes = HashCache()
        return {
            name: [identify_folder(self._folders[name], hashes), self._formats.get(name, "")]
            for name in names
        }


def _packed(embeds: PromptEmbeds) -> dict[str, Tensor]:
    """As it is kept: a long template pads with thousands of zeros."""
    num_tokens = int(embeds.prompt_mask.sum())
    return {
        "tokens": embeds.prompt_embeds[:, :num_tokens],
        "prompt_mask": embeds.prompt_mask,
        "pooled": embeds.pooled,
    }


def _unpacked(tensors: Mapping[str, Tensor]) -> PromptEmbeds:
    tokens, mask = tensors["tokens"], tensors["prompt_mask"]
    padded = tokens.new_zeros(1, mask.shape[1], tokens.shape[2])
    padded[:, : tokens.shape[1]] = tokens
    return PromptEmbeds(padded, mask, tensors["pooled"])
