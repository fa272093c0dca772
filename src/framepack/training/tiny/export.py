"""Write a trained embedded model as a folder that the ordinary loader reads."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import diffusers
from torch import Tensor, nn

from framepack.models.parts import ComponentSource
from framepack.models.spec import COMPONENTS, PRESETS, RECIPE_NAME, recipe_text
from framepack.training.tiny.components import (
    TextTokenizers,
    build_feature_extractor,
    build_image_encoder,
    build_text_encoder,
    build_text_encoder_2,
    build_transformer,
    build_vae,
    save_components,
)
from framepack.training.tiny.latent_space import LatentSpace

PREVIEW_NAME = "preview.json"
Weights = Mapping[str, Tensor]


def export_model(
    folder: Path,
    *,
    space: LatentSpace,
    tokenizers: TextTokenizers,
    vae: Weights,
    transformer: Weights,
    conditioner: Weights,
) -> None:
    """Write every component in fp16, the preview matrix and the recipe.

    Args:
        folder: one sub-folder per component is made in it.
        space: gives the preview matrix.
        tokenizers: as trained with.
        vae, transformer, conditioner: state dicts, usually moving averages.
    """
    encoders: dict[str, nn.Module] = {
        "text_encoder": build_text_encoder(tokenizers.llama),
        "text_encoder_2": build_text_encoder_2(tokenizers.clip),
        "image_encoder": build_image_encoder(),
    }
    for name, encoder in encoders.items():
        prefix = f"{name}."
        encoder.load_state_dict(
            {k.removeprefix(prefix): v for k, v in conditioner.items() if k.startswith(prefix)}
        )
    networks: dict[str, nn.Module] = {"vae": build_vae(), "transformer": build_transformer()}
    networks["vae"].load_state_dict(dict(vae))
    networks["transformer"].load_state_dict(dict(transformer))
    modules = networks | encoders
    save_components(folder, {name: module.half() for name, module in modules.items()})
    save_components(
        folder,
        {
            "tokenizer": tokenizers.llama,
            "tokenizer_2": tokenizers.clip,
            "feature_extractor": build_feature_extractor(),
        },
    )
    _write_preview(folder / "vae" / PREVIEW_NAME, space)
    write_recipe(folder)
    _write_model_index(folder)


def _write_model_index(folder: Path) -> None:
    """Write what ``FramePackPipeline.from_pretrained(FOLDER)`` reads."""
    classes = {
        "feature_extractor": ("transformers", "SiglipImageProcessorPil"),
        "image_encoder": ("transformers", "SiglipVisionModel"),
        "scheduler": (None, None),
        "text_encoder": ("transformers", "LlamaModel"),
        "text_encoder_2": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
        "tokenizer_2": ("transformers", "PreTrainedTokenizerFast"),
        "transformer": ("framepack.models.transformer", "FramePackTransformer3DModel"),
        "vae": ("diffusers", "AutoencoderKLHunyuanVideo"),
    }
    index = {"_class_name": "FramePackPipeline", "_diffusers_version": diffusers.__version__}
    text = json.dumps({**index, **classes}, indent=2)
    (folder / "model_index.json").write_text(f"{text}\n", encoding="utf-8")


def _write_preview(path: Path, space: LatentSpace) -> None:
    matrix, bias = space.rgb_preview()
    rounded = {
        "matrix": [[round(float(v), 6) for v in row] for row in matrix],
        "bias": [round(float(v), 6) for v in bias],
    }
    path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def write_recipe(folder: Path) -> None:
    """Write the recipe that makes ``--model FOLDER`` work."""
    sources = {name: ComponentSource(path=folder / name) for name in COMPONENTS}
    spec = replace(PRESETS["tiny"], sources=sources)
    (folder / RECIPE_NAME).write_text(recipe_text(spec, folder), encoding="utf-8")


def size_in_mb(folder: Path) -> float:
    """Megabytes (10^6 bytes) of all weight files of an exported model."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6
