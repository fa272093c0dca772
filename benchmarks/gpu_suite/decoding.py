"""The VAE: two sections' latents to frames, ours and diffusers'."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from benchmarks.gpu_suite.networks import build_vae
from benchmarks.gpu_suite.runner import (
    Measured,
    Suite,
    error_of,
    in_turn,
    memory_fields,
    reset_peak,
)
from torch import Tensor

from framepack.models.autoencoder import StreamingDecoder
from framepack.pipeline.device import choose_dtype

_ENOUGH_S = 40  # for measuring twice
_WINDOW, _SHIFT = 18, 9  # latents decoded for a section, and new ones among them
_FLOPS = {
    "diffusers": 669e12,
    "diffusers-tiled": 1093e12,
    "ours-first": 669e12,
    "ours-next": 428e12,
    "ours-next-channels-last": 428e12,
}
"""Counted at 480x832 with the published VAE."""


def vae_of(suite: Suite) -> Any:
    """The VAE, built when it is first asked for."""
    if "vae" not in suite.kept:
        dtype = choose_dtype(suite.device, "vae", "auto" if suite.is_cuda else "float32")
        suite.kept["vae"] = build_vae(suite, dtype)
    return suite.kept["vae"]


def decoding(suite: Suite) -> Iterator[Measured]:
    """Decode a window whole, tiled, and as the one after a window that it overlaps."""
    sizes, vae = suite.sizes, vae_of(suite)
    height, width = sizes.latent_size
    generator = torch.Generator(suite.device).manual_seed(2)
    latents = torch.randn(
        (1, vae.config.latent_channels, _WINDOW + _SHIFT, height, width),
        generator=generator,
        device=suite.device,
    )
    # Rendered from the end to the start: the next window begins earlier.
    before, after = latents[:, :, _SHIFT:], latents[:, :, :_WINDOW]
    expected: Tensor | None = None
    for name, run in _ways(suite, vae, before, after).items():
        reset_peak(suite)
        result = run().cpu()
        memory = memory_fields(suite)
        expected = result if expected is None else expected
        timed = 2 if suite.is_cuda and suite.left_s > _ENOUGH_S else 1
        spent = in_turn(suite.device, {name: run}, warm=0, timed=timed)[name]
        yield Measured(
            name,
            spent,
            against="" if name == "diffusers" else "vae/diffusers",
            flops=_FLOPS.get(name) if sizes.name == "13b" else None,
            # Spatial tiles do not see each other: their frames are others by design.
            relative_error=None
            if name == "diffusers" or "tiled" in name
            else error_of(result, expected),
            more={"dtype": str(vae.dtype).removeprefix("torch."), **memory},
        )
    torch.nn.Module.to(vae, memory_format=torch.contiguous_format)


def _ways(suite: Suite, vae: Any, before: Tensor, after: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Each decodes the window ``after`` to [1, 3, F, H, W]."""
    tile = suite.sizes.spatial_tile_px
    scaled = (after / vae.config.scaling_factor).to(vae.dtype)

    def theirs() -> Tensor:
        vae.disable_tiling()
        frames: Tensor = vae.decode(scaled, return_dict=False)[0]
        return frames

    def theirs_tiled() -> Tensor:
        vae.enable_tiling()
        try:
            frames: Tensor = vae.decode(scaled, return_dict=False)[0]
        finally:
            vae.disable_tiling()
        return frames

    def first() -> Tensor:
        return StreamingDecoder(vae).decode(after)

    return {
        "diffusers": theirs,
        "diffusers-tiled": theirs_tiled,
        "ours-first": first,
        "ours-next": _next(vae, before, after, None),
        "ours-next-tiled": _next(vae, before, after, tile),
        "ours-next-channels-last": _next(vae, before, after, None, channels_last=True),
    }


def _next(
    vae: Any, before: Tensor, after: Tensor, tile_px: int | None, *, channels_last: bool = False
) -> Callable[[], Tensor]:
    """Decode a window as the successor of another, which is decoded when it is first asked for."""
    kept: list[Any] = []

    def run() -> Tensor:
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        torch.nn.Module.to(vae, memory_format=layout)  # nothing to do from the second time on
        if not kept:
            decoder = StreamingDecoder(vae, spatial_tile_px=tile_px)
            decoder.decode(before)
            kept.append(decoder.kept)
        return StreamingDecoder(vae, spatial_tile_px=tile_px, kept=kept[0]).decode(after)

    return run
