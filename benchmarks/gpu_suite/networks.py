"""Networks with random weights, made on the device, and the arguments of a pass."""

from typing import Any

import torch
from benchmarks.gpu_suite.runner import Suite
from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoFramepackTransformer3DModel
from torch import Tensor, nn

from framepack.domain.packing import FrameIndices, inverted_indices
from framepack.models.transformer import FramePackTransformer3DModel

SPREAD = 0.02
"""Standard deviation of the weights; those of norms have it about 1."""


def build_ours(suite: Suite) -> FramePackTransformer3DModel:
    """Our transformer with random weights, packed as it is in use."""
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            ours = FramePackTransformer3DModel(**suite.sizes.transformer)
        nn.Module.to(ours, suite.dtype)
        ours.to_empty(device=suite.device).eval().requires_grad_(False)
        fill(ours, suite.device)
        ours.pack_projections()
    return ours


def fill(network: nn.Module, device: torch.device) -> None:
    """Random weights, the same each time on the same device."""
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in network.named_parameters():
        parameter.normal_(0, SPREAD, generator=generator)
        if parameter.ndim == 1 and "norm" in name and name.endswith("weight"):
            parameter.add_(1)


def build_theirs(
    suite: Suite, ours: FramePackTransformer3DModel
) -> HunyuanVideoFramepackTransformer3DModel:
    """diffusers' transformer with the memory of our weights."""
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            theirs = HunyuanVideoFramepackTransformer3DModel(**suite.sizes.transformer)
        theirs.load_state_dict(ours.state_dict(), assign=True)
        theirs.eval().requires_grad_(False)
    return theirs


def build_vae(suite: Suite, dtype: torch.dtype) -> AutoencoderKLHunyuanVideo:
    """diffusers' VAE, which both sides decode with, random as it is constructed."""
    with torch.inference_mode(False), torch.no_grad(), torch.device(suite.device):
        torch.manual_seed(0)
        vae: Any = AutoencoderKLHunyuanVideo(**suite.sizes.vae)
        nn.Module.to(vae, dtype)
        return vae.eval().requires_grad_(False)  # type: ignore[no-any-return]


def indices() -> FrameIndices:
    """Places of the frames in a section in the middle of a video."""
    return inverted_indices(1, 9)


def pass_arguments(suite: Suite) -> dict[str, Any]:
    """Arguments of a pass of our transformer; :func:`for_diffusers` makes diffusers' of them."""
    sizes, fields = suite.sizes, suite.sizes.transformer
    generator = torch.Generator(suite.device).manual_seed(1)

    def normal(*shape: int) -> Tensor:
        made = torch.randn(shape, generator=generator, device=suite.device)
        return made.to(suite.dtype)

    arguments: dict[str, Any] = {
        "timestep": torch.tensor([700.0], device=suite.device).to(suite.dtype),
        "guidance": torch.tensor([10_000.0], device=suite.device).to(suite.dtype),
        "encoder_hidden_states": normal(1, sizes.num_text, fields["text_embed_dim"]),
        "encoder_attention_mask": torch.ones(1, sizes.num_text),
        "pooled_projections": normal(1, fields["pooled_projection_dim"]),
        "image_embeds": normal(1, sizes.num_picture, fields["image_proj_dim"]),
        "return_dict": False,
    }
    places = indices()
    tiers = {
        "latents": ("hidden_states", places.noisy),
        "latents_clean": ("latents_clean", places.clean),
        "latents_history_2x": ("latents_history_2x", places.history_2x),
        "latents_history_4x": ("latents_history_4x", places.history_4x),
    }
    height, width = sizes.latent_size
    for name, (argument, frames) in tiers.items():
        arguments[argument] = normal(1, fields["in_channels"], len(frames), height, width)
        arguments[f"indices_{name}"] = torch.tensor(frames)
    return arguments


def for_diffusers(arguments: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The same with the text's mask where diffusers reads it."""
    mask = arguments["encoder_attention_mask"].to(device)
    return {**arguments, "encoder_attention_mask": mask}
