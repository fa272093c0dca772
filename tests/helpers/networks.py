"""Small transformers with random weights, and inputs for them."""

from typing import Any

import torch
from torch import Tensor, nn

from framepack.domain.packing import FrameIndices
from framepack.models.transformer import FramePackTransformer3DModel

SMALL: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "num_layers": 2,
    "num_single_layers": 2,
    "num_refiner_layers": 2,
    "text_embed_dim": 24,
    "pooled_projection_dim": 20,
    "rope_axes_dim": (8, 12, 12),
    "image_proj_dim": 18,
    "has_image_proj": True,
    "has_clean_x_embedder": True,
}
"""A configuration with two of everything."""

PUBLISHED: dict[str, Any] = {
    "in_channels": 16,
    "out_channels": 16,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "num_layers": 20,
    "num_single_layers": 40,
    "num_refiner_layers": 2,
    "mlp_ratio": 4.0,
    "patch_size": 2,
    "patch_size_t": 1,
    "qk_norm": "rms_norm",
    "guidance_embeds": True,
    "text_embed_dim": 4096,
    "pooled_projection_dim": 768,
    "rope_theta": 256.0,
    "rope_axes_dim": (16, 56, 56),
    "image_proj_dim": 1152,
    "has_image_proj": True,
    "has_clean_x_embedder": True,
}
"""The configuration published with both 13B checkpoints."""

PROMPT_TOKENS = 30


def randomize(model: nn.Module, seed: int = 0) -> None:
    """Fill every parameter so that each one matters and activations stay near unit size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.5 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))


def build(**config: Any) -> FramePackTransformer3DModel:
    """A small model with random weights; ``config`` changes :data:`SMALL`."""
    model = FramePackTransformer3DModel(**{**SMALL, **config}).eval()
    randomize(model)
    return model


@torch.inference_mode()
def predict(model: nn.Module, inputs: dict[str, Any]) -> Tensor:
    """The model's output for keyword arguments, without gradients."""
    sample: Tensor = model(**inputs, return_dict=False)[0]
    return sample


def section_inputs(
    indices: FrameIndices,
    *,
    height: int = 8,
    width: int = 12,
    prompt_lengths: tuple[int, ...] = (23,),
    config: dict[str, Any] = SMALL,
    seed: int = 1,
) -> dict[str, Tensor]:
    """Random arguments of the transformer's forward, one sample per prompt length."""
    batch = len(prompt_lengths)
    channels = config.get("in_channels", 16)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def latents(frames: tuple[int, ...]) -> Tensor:
        return normal(batch, channels, len(frames), height, width)

    return {
        "hidden_states": latents(indices.noisy),
        "timestep": 500.0 + 100.0 * torch.arange(batch),
        "encoder_hidden_states": normal(batch, PROMPT_TOKENS, config["text_embed_dim"]),
        "encoder_attention_mask": torch.arange(PROMPT_TOKENS)
        < torch.tensor(prompt_lengths)[:, None],
        "pooled_projections": normal(batch, config["pooled_projection_dim"]),
        "image_embeds": normal(batch, 11, config["image_proj_dim"]),
        "indices_latents": torch.tensor(indices.noisy),
        "guidance": torch.full((batch,), 10_000.0),
        "latents_clean": latents(indices.clean),
        "indices_latents_clean": torch.tensor(indices.clean),
        "latents_history_2x": latents(indices.history_2x),
        "indices_latents_history_2x": torch.tensor(indices.history_2x),
        "latents_history_4x": latents(indices.history_4x),
        "indices_latents_history_4x": torch.tensor(indices.history_4x),
    }


def in_bf16(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same arguments for a network in bf16; timestep and guidance stay as they are."""
    return {
        name: value.bfloat16()
        if value.is_floating_point() and name not in ("timestep", "guidance")
        else value
        for name, value in inputs.items()
    }


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what was expected."""
    expected = expected.float()
    return float((found.float() - expected).norm() / expected.norm())
