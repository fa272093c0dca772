"""A complete model in the layout of the published 13B, with random weights and a few kilobytes.

Three repositories as on the hub: the transformer in the root of its own, the HunyuanVideo
components in subfolders of another, SigLIP in a third. Networks are sharded with an index, text
and vision encoders carry the key prefixes of their published files, the tokenizers are built here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from safetensors.torch import save_file
from tests.helpers.networks import randomize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from framepack.models.transformer import FramePackTransformer3DModel

WIDTH = 32
LATENT_CHANNELS = 4
VISION_PX = 32
TEMPLATE = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
TRANSFORMER_REPO = "miniature/FramePackI2V_HY"
PIPELINE_REPO = "miniature/HunyuanVideo"
SIGLIP_REPO = "miniature/flux_redux_bfl"

VAE_CONFIG: dict[str, Any] = {
    "latent_channels": LATENT_CHANNELS,
    "block_out_channels": (8, 8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "mid_block_add_attention": True,
}
TRANSFORMER_CONFIG: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 1,
    "num_single_layers": 2,
    "num_refiner_layers": 1,
    "text_embed_dim": WIDTH,
    "pooled_projection_dim": WIDTH,
    "image_proj_dim": WIDTH,
    "rope_axes_dim": (4, 6, 6),
    "has_image_proj": True,
    "has_clean_x_embedder": True,
}
_LLAMA_SPECIALS = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")


@dataclass(frozen=True)
class Miniature:
    """Where a miniature lies.

    Attributes:
        models_dir: folder laid out as ``<owner>/<repo>``, fit for LOCAL_MODELS_DIR.
        recipe: names the components by their folders.
        hub_recipe: names them by repository.
    """

    models_dir: Path
    recipe: Path
    hub_recipe: Path

    @property
    def transformer(self) -> Path:
        """Folder of the transformer."""
        return self.models_dir / TRANSFORMER_REPO

    @property
    def pipeline(self) -> Path:
        """Folder of VAE, text encoders and tokenizers."""
        return self.models_dir / PIPELINE_REPO

    @property
    def siglip(self) -> Path:
        """Folder of SigLIP and its image processor."""
        return self.models_dir / SIGLIP_REPO


def write_miniature(folder: Path, *, seed: int = 0) -> Miniature:
    """Write a miniature into an empty folder."""
    torch.manual_seed(seed)
    made = Miniature(folder / "models", folder / "RECIPE.toml", folder / "HUB.toml")
    llama = _llama_tokenizer(made.pipeline / "tokenizer")
    clip_vocabulary = _clip_tokenizer(made.pipeline / "tokenizer_2")

    _save_diffusers(FramePackTransformer3DModel(**TRANSFORMER_CONFIG), made.transformer, "60KB")
    _save_diffusers(AutoencoderKLHunyuanVideo(**VAE_CONFIG), made.pipeline / "vae", "10GB")
    _save_encoder(_llama(llama), made.pipeline / "text_encoder", "", shards=3)
    _save_encoder(_clip(clip_vocabulary), made.pipeline / "text_encoder_2", "text_model.")
    _save_encoder(_siglip(), made.siglip / "image_encoder", "vision_model.")
    size = {"height": VISION_PX, "width": VISION_PX}
    SiglipImageProcessorPil(size=size).save_pretrained(made.siglip / "feature_extractor")
    _relabel_processor(made.siglip / "feature_extractor" / "preprocessor_config.json")
    # What a repository holds besides; none of it may be read or fetched.
    (made.transformer / "README.md").write_text("# A miniature\n", encoding="utf-8")

    crop_start = len(llama.encode(TEMPLATE.split("{}")[0]).ids)
    local = {TRANSFORMER_REPO: f"./models/{TRANSFORMER_REPO}", PIPELINE_REPO: "", SIGLIP_REPO: ""}
    local |= {repo: f"./models/{repo}" for repo in local}
    made.recipe.write_text(_recipe(local, crop_start), encoding="utf-8")
    made.hub_recipe.write_text(_recipe({repo: repo for repo in local}, crop_start), "utf-8")
    return made


def _recipe(where: dict[str, str], crop_start: int) -> str:
    pipeline, siglip = where[PIPELINE_REPO], where[SIGLIP_REPO]
    components = {
        "transformer": where[TRANSFORMER_REPO],
        **{
            name: f"{pipeline}/{name}"
            for name in ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
        },
        **{name: f"{siglip}/{name}" for name in ("image_encoder", "feature_extractor")},
    }
    lines = [
        'base = "i2v"',
        'title = "miniature"',
        'variants = ["bi-directional", "forward-only"]',
        "[components]",
        *(f'{name} = "{source}"' for name, source in components.items()),
        "[defaults]",
        "resolution = 64",
        "num_inference_steps = 2",
        "[geometry]",
        "min_size = 32",
        "max_size = 128",
        "[prompt]",
        f"template = {json.dumps(TEMPLATE)}",
        f"crop_start = {crop_start}",
        f"max_length = {crop_start + 24}",
        "pad_to = 32",
    ]
    return "\n".join(lines) + "\n"


def _llama_tokenizer(folder: Path) -> Tokenizer:
    """A byte-level tokenizer in the files and under the class name of the published one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=320,
        special_tokens=list(_LLAMA_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the camera pans left and a user looks up"], trainer)
    start = _LLAMA_SPECIALS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "LlamaTokenizerFast",
        "bos_token": start,
        "eos_token": "<|eot_id|>",
        "pad_token": "<|eot_id|>",
        "model_max_length": 2048,
    }
    _write_json(folder / "tokenizer_config.json", config)
    return tokenizer


def _clip_tokenizer(folder: Path) -> dict[str, int]:
    """A CLIP tokenizer as vocab.json and merges.txt; its end token has the largest id."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "le", "le" + "ft</w>", "ft</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    folder.mkdir(parents=True)
    _write_json(folder / "vocab.json", vocabulary)
    merges = "#version: 0.2\nl e\nf t</w>\nle ft</w>\n"
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 77,
    }
    _write_json(folder / "tokenizer_config.json", config)
    return vocabulary


def _llama(tokenizer: Tokenizer) -> LlamaModel:
    return LlamaModel(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
        )
    )


def _clip(vocabulary: dict[str, int]) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=vocabulary["<|startoftext|>"],
            eos_token_id=vocabulary["<|endoftext|>"],
            pad_token_id=vocabulary["<|endoftext|>"],
        )
    )


def _siglip() -> SiglipVisionModel:
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=VISION_PX,
            patch_size=8,
        )
    )


def _save_diffusers(model: Any, folder: Path, max_shard_size: str) -> None:
    randomize(model)
    model.save_pretrained(folder, max_shard_size=max_shard_size)


def _save_encoder(model: Any, folder: Path, prefix: str, *, shards: int = 1) -> None:
    """Write an encoder as older versions of transformers did: prefixed keys, fp16."""
    module: nn.Module = model
    model.config.save_pretrained(folder)
    tensors = {f"{prefix}{key}": value.half() for key, value in module.state_dict().items()}
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for index in range(shards):
        name = f"model-{index + 1:05}-of-{shards:05}.safetensors"
        part = {key: tensors[key] for key in names[index::shards]}
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    index_document = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    _write_json(folder / "model.safetensors.index.json", index_document)


def _relabel_processor(path: Path) -> None:
    """The published file names the processor that was the only one when it was written."""
    config = json.loads(path.read_text(encoding="utf-8"))
    _write_json(path, config | {"image_processor_type": "SiglipImageProcessor"})


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
