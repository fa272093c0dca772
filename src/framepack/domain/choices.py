"""The words and limits that requests, options and forms choose from."""

from typing import Literal, get_args

__all__ = [
    "MAX_DURATION_S",
    "MAX_SEED",
    "SOLVERS",
    "SYSTEM_PROMPTS",
    "VARIANTS",
    "X264_PRESETS",
    "Attention",
    "AttentionName",
    "Compile",
    "Enhancer",
    "Interpolation",
    "Offload",
    "Solver",
    "Speed",
    "StepCacheMethod",
    "Vae",
    "Variant",
    "X264Preset",
]

Variant = Literal["bi-directional", "forward-only"]
"""``bi-directional`` renders the end first (inverted anti-drifting), ``forward-only`` the start."""
Solver = Literal["unipc", "euler"]
Enhancer = Literal["off", "template", "endpoint", "local"]
Vae = Literal["full", "tiny", "remote"]
"""Who turns latents into frames: the model's own VAE, a small network, or one at an endpoint."""
Speed = Literal["exact", "balanced", "fast"]
"""How far a video may be from the exact one, to be made sooner."""
StepCacheMethod = Literal["off", "teacache", "first_block", "magcache", "taylorseer", "easycache"]
"""What tells which steps may be skipped."""
Interpolation = Literal["rife", "minterpolate", "blend"]
Offload = Literal["auto", "none", "model", "balanced", "group", "sequential", "disk"]
"""Where networks lie while they work; ``auto`` takes the first of the others that fits."""
AttentionName = Literal["sdpa", "onednn", "cudnn", "flash3", "flash", "xformers", "sage"]
"""Who computes attention; ``sdpa`` is torch's own choice, ``sage`` alone is approximate."""
Attention = Literal["auto", AttentionName]
"""``auto`` takes the fastest of the exact ones that run here."""
Compile = Literal["off", "blocks"]
"""Whether the transformer's blocks are compiled for the machine when they first run."""
X264Preset = Literal[
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
]

VARIANTS: tuple[Variant, ...] = get_args(Variant)
SOLVERS: tuple[Solver, ...] = get_args(Solver)
X264_PRESETS: tuple[X264Preset, ...] = get_args(X264Preset)
"""Fastest first; slower ones make smaller files of the same quality."""

MAX_DURATION_S = 3600
MAX_SEED = 2**53 - 1
"""The largest integer that every JSON reader, a browser's included, keeps exactly."""

SYSTEM_PROMPTS = {
    "official": None,
    "optimized": (
        "Describe what happens in the video: who or what moves, how, and in which order. Then "
        "describe the place, the light and the camera."
    ),
}
"""System prompts by name; None is the one that the model was trained with."""
