"""The 13B transformer, built without memory, against its published config."""

from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from tests.helpers.networks import PUBLISHED

from framepack.models.transformer import FramePackTransformer3DModel


@pytest.fixture(scope="module")
def published() -> FramePackTransformer3DModel:
    with torch.device("meta"):
        return FramePackTransformer3DModel(**PUBLISHED)


def test_shapes_follow_from_the_config(published: FramePackTransformer3DModel) -> None:
    found = {name: tuple(value.shape) for name, value in published.state_dict().items()}
    assert found == expected_shapes(**PUBLISHED)


def test_shapes_are_those_of_diffusers(published: FramePackTransformer3DModel) -> None:
    with torch.device("meta"):
        theirs = HunyuanVideoFramepackTransformer3DModel(**PUBLISHED)
    found = {name: value.shape for name, value in published.state_dict().items()}
    assert found == {name: value.shape for name, value in theirs.state_dict().items()}


def test_it_has_12_9_billion_parameters(published: FramePackTransformer3DModel) -> None:
    assert published.num_parameters() == 12_874_314_816


def expected_shapes(
    *,
    in_channels: int,
    out_channels: int,
    num_attention_heads: int,
    attention_head_dim: int,
    num_layers: int,
    num_single_layers: int,
    num_refiner_layers: int,
    mlp_ratio: float,
    patch_size: int,
    text_embed_dim: int,
    pooled_projection_dim: int,
    image_proj_dim: int,
    **_: Any,
) -> dict[str, tuple[int, ...]]:
    """The checkpoint's keys and shapes, worked out from its config alone."""
    head = attention_head_dim
    dim = num_attention_heads * head
    inner = int(dim * mlp_ratio)
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, fan_out: int, *fan_in: int) -> None:
        shapes[f"{name}.weight"] = (fan_out, *fan_in)
        shapes[f"{name}.bias"] = (fan_out,)

    def two_layers(name: str, fan_in: int) -> None:
        linear(f"{name}.linear_1", dim, fan_in)
        linear(f"{name}.linear_2", dim, dim)

    def feed_forward(name: str, width: int) -> None:
        linear(f"{name}.net.0.proj", width, dim)
        linear(f"{name}.net.2", dim, width)

    def attention(name: str, *projections: str, norms: tuple[str, ...] = ()) -> None:
        for projection in ("to_q", "to_k", "to_v", *projections):
            linear(f"{name}.attn.{projection}", dim, dim)
        for norm in norms:
            shapes[f"{name}.attn.{norm}.weight"] = (head,)

    linear("x_embedder.proj", dim, in_channels, 1, 2, 2)
    for key, kernel in {"proj": (1, 2, 2), "proj_2x": (2, 4, 4), "proj_4x": (4, 8, 8)}.items():
        linear(f"clean_x_embedder.{key}", dim, in_channels, *kernel)
    linear("image_projection.up", 3 * dim, image_proj_dim)
    linear("image_projection.down", dim, 3 * dim)
    two_layers("time_text_embed.timestep_embedder", 256)
    two_layers("time_text_embed.guidance_embedder", 256)
    two_layers("time_text_embed.text_embedder", pooled_projection_dim)

    two_layers("context_embedder.time_text_embed.timestep_embedder", 256)
    two_layers("context_embedder.time_text_embed.text_embedder", text_embed_dim)
    linear("context_embedder.proj_in", dim, text_embed_dim)
    for i in range(num_refiner_layers):
        block = f"context_embedder.token_refiner.refiner_blocks.{i}"
        attention(block, "to_out.0")
        for norm in ("norm1", "norm2"):
            shapes[f"{block}.{norm}.weight"] = shapes[f"{block}.{norm}.bias"] = (dim,)
        feed_forward(f"{block}.ff", 4 * dim)
        linear(f"{block}.norm_out.linear", 2 * dim, dim)

    for i in range(num_layers):
        block = f"transformer_blocks.{i}"
        added = ("add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out")
        attention(block, *added, norms=("norm_q", "norm_k", "norm_added_q", "norm_added_k"))
        for stream in ("", "_context"):
            linear(f"{block}.norm1{stream}.linear", 6 * dim, dim)
            feed_forward(f"{block}.ff{stream}", inner)
    for i in range(num_single_layers):
        block = f"single_transformer_blocks.{i}"
        attention(block, norms=("norm_q", "norm_k"))
        linear(f"{block}.norm.linear", 3 * dim, dim)
        linear(f"{block}.proj_mlp", inner, dim)
        linear(f"{block}.proj_out", dim, dim + inner)

    linear("norm_out.linear", 2 * dim, dim)
    linear("proj_out", patch_size**2 * out_channels, dim)
    return shapes
