"""Encode what steers a video, once, before its first section: texts and pictures.

The result is small, is stored in the run directory, and is all that a resumed run needs
of the encoders. Shape letters: docs/notation.md.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from framepack.domain.plan import Plan, Section
from framepack.media.images import black, to_tensor
from framepack.models.autoencoder import encode_image
from framepack.models.encoders import PromptEmbeds
from framepack.pipeline.components import Components

__all__ = [
    "Conditions",
    "Pictures",
    "encode_conditions",
    "encoders_to_load",
    "mix_vision",
    "seeded_generator",
    "weaken",
]


@dataclass(frozen=True)
class Pictures:
    """The input pictures, fitted to the video's size; None where there is none.

    Attributes:
        start: the first frame.
        end: the last frame.
        sections: those of ``GenerationRequest.section_pictures``, in that order.
    """

    start: Image.Image | None = None
    end: Image.Image | None = None
    sections: tuple[Image.Image, ...] = ()

    def by_name(self) -> dict[str, Image.Image]:
        """Those that are there: ``start``, ``end``, ``section-0`` and so on."""
        named = {"start": self.start, "end": self.end}
        named |= {f"section-{index}": picture for index, picture in enumerate(self.sections)}
        return {name: picture for name, picture in named.items() if picture is not None}


@dataclass(frozen=True)
class Conditions:
    """Everything that steers the sections, on the CPU.

    Attributes:
        prompts: embeddings by text, one for each distinct section prompt.
        negative: embeddings of the negative prompt; None where true guidance is off and
            the negative pass is never run.
        start_latent: [1, C, 1, h, w] fp32, the start picture as the video shows it; a black
            picture in text to video, which is never shown.
        start_anchor: the same as the network sees it, weakened by the start strength.
        end_anchor: [1, C, 1, h, w] fp32, the end picture as the network sees it, or None.
        section_anchors: by path, what stands for ``start_anchor`` in single sections.
        image_embeds: [1, N, D], what the image encoder saw.
    """

    prompts: Mapping[str, PromptEmbeds]
    negative: PromptEmbeds | None
    start_latent: Tensor
    start_anchor: Tensor
    end_anchor: Tensor | None
    image_embeds: Tensor
    section_anchors: Mapping[str, Tensor] = field(default_factory=dict)

    def anchor(self, section: Section) -> Tensor:
        """The start picture as the network sees it in a section, [1, C, 1, h, w]."""
        return self.section_anchors[str(section.image)] if section.image else self.start_anchor

    def prompt(self, section: Section) -> PromptEmbeds:
        """What the text encoders made of a section's text, or of several, by their shares."""
        if not section.mixture:
            return self.prompts[section.prompt]
        return mix_prompts([(self.prompts[text], share) for text, share in section.mixture])

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return named tensors and a JSON-able document, for storing."""
        tensors = {
            "start_latent": self.start_latent,
            # At full strength it is the start latent itself, and files share no memory.
            "start_anchor": self.start_anchor.clone(),
            "image_embeds": self.image_embeds,
        }
        if self.end_anchor is not None:
            tensors["end_anchor"] = self.end_anchor.clone()  # in a loop, the start's
        if self.negative is not None:
            tensors |= _named("negative", self.negative)
        for index, embeds in enumerate(self.prompts.values()):
            tensors |= _named(f"prompt.{index}", embeds)
        for index, anchor in enumerate(self.section_anchors.values()):
            tensors[f"section_anchor.{index}"] = anchor
        return tensors, {"prompts": list(self.prompts), "pictures": list(self.section_anchors)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_tensors` gave; KeyError when something is missing."""
        return cls(
            prompts={
                text: _unnamed(f"prompt.{index}", tensors)
                for index, text in enumerate(document["prompts"])
            },
            negative=_unnamed("negative", tensors) if "negative.pooled" in tensors else None,
            start_latent=tensors["start_latent"],
            start_anchor=tensors["start_anchor"],
            end_anchor=tensors.get("end_anchor"),
            image_embeds=tensors["image_embeds"],
            section_anchors={
                path: tensors[f"section_anchor.{index}"]
                for index, path in enumerate(document.get("pictures", ()))
            },
        )


@torch.inference_mode()
def encode_conditions(plan: Plan, components: Components, pictures: Pictures) -> Conditions:
    """Encode all texts, then the pictures as latents, then the pictures as the eye sees them.

    Args:
        plan: gives the section prompts, seed and strengths.
        components: encoders and VAE.
        pictures: fitted to the plan's size, those of sections included. Without a start
            picture a black one anchors the video.

    Source: order and roles of the released section loop; strengths are ours (docs/notation.md).
    """
    request = plan.request
    prompts = {text: components.encode_prompt(text, request.system_text) for text in _texts(plan)}
    negative = None
    if request.true_cfg_scale != 1:
        negative = components.encode_prompt(request.negative_prompt, request.system_text)

    start = pictures.start or black(plan.width, plan.height)
    start_latent = _encode_picture(start, "start", plan.seed, components)
    start_noise = seeded_generator(plan.seed, "start strength")
    end_anchor = None
    end = start if request.loop else pictures.end
    if end is not None:
        end_latent = start_latent
        if not request.loop:
            end_latent = _encode_picture(end, "end", plan.seed, components)
        end_noise = seeded_generator(plan.seed, "end strength")
        end_anchor = weaken(end_latent, request.end_strength, end_noise)
    section_anchors = _section_anchors(plan, components, pictures)

    image_embeds = mix_vision(
        components.encode_vision(start),
        components.encode_vision(end) if end is not None else None,
        start_strength=request.start_strength,
        end_strength=request.end_strength,
        vision_strength=request.vision_strength,
    )
    return Conditions(
        prompts=prompts,
        negative=negative,
        start_latent=start_latent,
        start_anchor=weaken(start_latent, request.start_strength, start_noise),
        end_anchor=end_anchor,
        image_embeds=image_embeds,
        section_anchors=section_anchors,
    )


def _section_anchors(plan: Plan, components: Components, pictures: Pictures) -> dict[str, Tensor]:
    """Latents of the pictures that sections have of their own, by path, as strong as the start."""
    request = plan.request
    return {
        str(path): weaken(
            _encode_picture(picture, f"section {index}", plan.seed, components),
            request.start_strength,
            seeded_generator(plan.seed, f"section {index} strength"),
        )
        for index, (path, picture) in enumerate(
            zip(request.section_pictures, pictures.sections, strict=True)
        )
    }


def encoders_to_load(plan: Plan, components: Components, pictures: Pictures) -> set[str]:
    """Encoders and readers that :func:`encode_conditions` will ask for.

    Those whose results are remembered are not among them.
    """
    request = plan.request
    needed = set[str]()
    negative = [request.negative_prompt] if request.true_cfg_scale != 1 else []
    if not components.knows_prompts([*_texts(plan), *negative], request.system_text):
        needed |= {"tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"}
    start = pictures.start or black(plan.width, plan.height)
    end = None if request.loop else pictures.end
    if not components.knows_vision([start] if end is None else [start, end]):
        needed |= {"feature_extractor", "image_encoder"}
    return needed


def _texts(plan: Plan) -> list[str]:
    """Each text of the sections once."""
    return list(dict.fromkeys(text for section in plan.sections for text, _ in section.texts))


def mix_prompts(parts: Sequence[tuple[PromptEmbeds, float]]) -> PromptEmbeds:
    """Average embeddings by shares that sum to 1; a token counts where any text has one.

    Past its end a text is zeros, as the encoders leave it, so longer texts fade in.
    """
    return PromptEmbeds(
        prompt_embeds=torch.stack([each.prompt_embeds * share for each, share in parts]).sum(0),
        prompt_mask=torch.stack([each.prompt_mask for each, _ in parts]).any(0),
        pooled=torch.stack([each.pooled * share for each, share in parts]).sum(0),
    )


def weaken(latent: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Mix noise into a latent where its strength is below 1; return it unchanged otherwise.

    The latent is never scaled up: that would leave the range the network knows.
    """
    if strength >= 1:
        return latent
    noise = torch.randn(latent.shape, generator=generator, dtype=torch.float32)
    return latent * strength + noise.to(latent) * (1 - strength)


def mix_vision(
    start: Tensor,
    end: Tensor | None,
    *,
    start_strength: float,
    end_strength: float,
    vision_strength: float,
) -> Tensor:
    """Average what the image encoder saw in both pictures, [1, N, D] each.

    ``vision * (A*start + B*end) / (start + end)``: the ratio of the strengths skews the
    video towards one picture or the other, and the vision strength scales the result. Two
    strengths of 0 have no ratio and count as equal.
    """
    if end is None:
        return start * vision_strength
    total = start_strength + end_strength
    share = start_strength / total if total > 0 else 0.5
    return (start * share + end * (1 - share)) * vision_strength


def seeded_generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator of its own for each purpose, so that none shifts another's draws."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _encode_picture(picture: Image.Image, name: str, seed: int, components: Components) -> Tensor:
    """Return a seeded sample of the picture's latent, [1, C, 1, h, w] fp32 on the CPU."""
    pixels = to_tensor(picture).to(components.device)
    generator = seeded_generator(seed, f"{name} latent")
    return encode_image(components.vae, pixels, generator).cpu()


def _named(prefix: str, embeds: PromptEmbeds) -> dict[str, Tensor]:
    return {
        f"{prefix}.prompt_embeds": embeds.prompt_embeds,
        f"{prefix}.prompt_mask": embeds.prompt_mask,
        f"{prefix}.pooled": embeds.pooled,
    }


def _unnamed(prefix: str, tensors: Mapping[str, Tensor]) -> PromptEmbeds:
    return PromptEmbeds(
        prompt_embeds=tensors[f"{prefix}.prompt_embeds"],
        prompt_mask=tensors[f"{prefix}.prompt_mask"],
        pooled=tensors[f"{prefix}.pooled"],
    )
