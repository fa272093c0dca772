"""What is built and measured: the published network, or a small one that a CPU runs in seconds."""

# Shape letters are those of docs/notation.md:
#   N tokens of a section  D token width

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from framepack.models.spec import PRESETS, ModelSpec

MEASURED_PEAK, DATASHEET_PEAK = 790e12, 989e12
"""bf16 operations per second of an H200: what large matrix products reach, and what is sold."""


@dataclass(frozen=True)
class Sizes:
    """A network, a section and how often it is run.

    Attributes:
        name: of the configuration.
        transformer: constructor arguments, ours and diffusers'.
        vae: constructor arguments of diffusers' VAE.
        width, height: of the video, px.
        num_text, num_picture: text and picture tokens.
        steps: of a section.
        warm, timed: runs of each kind before and in the measurement.
        streamed: timed runs where weights are streamed.
        minute_sections: of the long video.
        probe: side of the probes' matrices.
        limit_bytes: device memory of the stages with a cap.
        spatial_tile_px: side of a spatial tile of the VAE.
    """

    name: str
    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    width: int
    height: int
    num_text: int
    num_picture: int
    steps: int
    warm: int
    timed: int
    streamed: int
    minute_sections: int
    probe: int
    limit_bytes: int
    spatial_tile_px: int
    spec: ModelSpec = field(default=PRESETS["i2v"])

    @property
    def latent_size(self) -> tuple[int, int]:
        """Latent height and width."""
        return self.height // 8, self.width // 8

    @property
    def num_tokens(self) -> int:
        """N of a section in the middle of a video: noisy, history, text and picture."""
        height, width = self.latent_size
        packed = self.spec.geometry.layout.tokens(height, width, 9)
        return sum(packed.values()) + self.num_text + self.num_picture

    @property
    def step_flops(self) -> float:
        """Operations of the blocks' matrix products and attention in a pass of all tokens."""
        fields = self.transformer
        width = fields["num_attention_heads"] * fields["attention_head_dim"]
        blocks = fields["num_layers"] + fields["num_single_layers"]
        linear = 2 * (4 + 2 * fields["mlp_ratio"]) * width**2 * self.num_tokens
        attention = 4 * self.num_tokens**2 * width
        return float(blocks * (linear + attention))


PUBLISHED = Sizes(
    name="13b",
    transformer={
        "in_channels": 16,
        "out_channels": 16,
        "num_attention_heads": 24,
        "attention_head_dim": 128,
        "num_layers": 20,
        "num_single_layers": 40,
        "num_refiner_layers": 2,
        "mlp_ratio": 4.0,
        "text_embed_dim": 4096,
        "pooled_projection_dim": 768,
        "rope_axes_dim": (16, 56, 56),
        "image_proj_dim": 1152,
        "has_image_proj": True,
        "has_clean_x_embedder": True,
    },
    vae={},
    width=832,
    height=480,
    num_text=100,
    num_picture=729,
    steps=25,
    warm=2,
    timed=5,
    streamed=3,
    minute_sections=50,
    probe=8192,
    limit_bytes=int(5.4 * 2**30),
    spatial_tile_px=256,
)
"""The 13B as published, at 480x832: 18795 tokens."""

SMALL = Sizes(
    name="small",
    transformer={
        **PUBLISHED.transformer,
        "num_attention_heads": 2,
        "attention_head_dim": 32,
        "num_layers": 2,
        "num_single_layers": 2,
        "num_refiner_layers": 1,
        "text_embed_dim": 24,
        "pooled_projection_dim": 20,
        "rope_axes_dim": (8, 12, 12),
        "image_proj_dim": 18,
    },
    vae={
        "block_out_channels": (4, 4, 8, 8),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "mid_block_add_attention": False,
    },
    width=64,
    height=64,
    num_text=10,
    num_picture=6,
    steps=3,
    warm=1,
    timed=2,
    streamed=1,
    minute_sections=4,
    probe=128,
    limit_bytes=2**29,
    spatial_tile_px=32,
    spec=replace(PRESETS["i2v"], geometry=replace(PRESETS["i2v"].geometry, min_size=64)),
)
"""The same kinds of layers, few and narrow: shows that every stage runs."""

ALL: Mapping[str, Sizes] = {each.name: each for each in (PUBLISHED, SMALL)}
