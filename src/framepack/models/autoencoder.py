"""The video autoencoder: a picture to a latent, latents to pixels, latents to a small preview.

The network is diffusers' ``AutoencoderKLHunyuanVideo``. Decoding is ours: latents are cut into
overlapping temporal tiles as diffusers cuts them, but tiles of the previous window are reused, and
memory does not grow with the video.
"""

# Shape letters are those of docs/notation.md:
#   B batch  C latent channels  T latent frames  F frames  H W picture size  h w latent size

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from numpy.typing import NDArray
from torch import Tensor

from framepack.domain.errors import CheckpointError
from framepack.models.convolution import DirectConv3d, use_direct_convolutions
from framepack.models.fused_vae import fused_decoder

__all__ = [
    "PREVIEW_NAME",
    "DirectConv3d",
    "LatentPreview",
    "RawTile",
    "StreamingDecoder",
    "TileCounts",
    "decode_latents",
    "encode_clip",
    "encode_image",
    "tile_starts",
    "use_direct_convolutions",
]

PREVIEW_NAME = "preview.json"
"""File in the VAE's folder that says how latents become a small picture; it may be absent."""

TEMPORAL_STRIDE = 4
"""Frames per latent frame, after the first."""

TILE_LATENTS = 5
"""Latent frames of a temporal tile."""

TILE_STRIDE = 3
"""Latent frames from one temporal tile to the next."""

_SPATIAL_STRIDE = 0.75  # of a spatial tile's side; the rest overlaps its neighbour


@torch.inference_mode()
def encode_image(
    vae: AutoencoderKLHunyuanVideo, pixels: Tensor, generator: torch.Generator
) -> Tensor:
    """Encode pictures as single latent frames.

    Args:
        vae: its device and number format are used.
        pixels: [B, 3, H, W] in -1..1, H and W multiples of the VAE's spatial stride.
        generator: on the CPU; draws the posterior sample, so a seed fixes the latent.

    Returns:
        [B, C, 1, h, w] fp32 on the VAE's device, multiplied by its scaling factor.

    Source: the released code samples the posterior too, from an unseeded generator.
    """
    weight = vae.quant_conv.weight
    posterior = vae.encode(pixels.unsqueeze(2).to(weight)).latent_dist
    mean, std = posterior.mean.float(), posterior.std.float()
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float32)
    latents: Tensor = (mean + std * noise.to(mean.device)) * _config(vae).scaling_factor
    return latents


@torch.inference_mode()
def encode_clip(vae: AutoencoderKLHunyuanVideo, pixels: Tensor) -> Tensor:
    """Encode a clip; the latents are the means of the posterior.

    Args:
        vae: its device and number format are used.
        pixels: [1, 3, F, H, W] in -1..1, F one more than a multiple of 4.

    Returns:
        [1, C, (F + 3) / 4, h, w] fp32 on the VAE's device, multiplied by its scaling factor.
    """
    if (pixels.shape[2] - 1) % TEMPORAL_STRIDE:
        raise ValueError(f"a clip of {pixels.shape[2]} frames; needed is one more than 4 n")
    weight = vae.quant_conv.weight
    mean: Tensor = vae.encode(pixels.to(weight)).latent_dist.mean
    return mean.float() * float(_config(vae).scaling_factor)


def decode_latents(
    vae: AutoencoderKLHunyuanVideo, latents: Tensor, *, spatial_tile_px: int | None = None
) -> Tensor:
    """Decode one clip; see ``StreamingDecoder`` for windows that follow each other.

    Args:
        vae: its device and number format are used.
        latents: [1, C, T, h, w], scaled.
        spatial_tile_px: see ``StreamingDecoder``.

    Returns:
        [1, 3, 4*T - 3, H, W] fp32 on the CPU, about -1..1.
    """
    return StreamingDecoder(vae, spatial_tile_px=spatial_tile_px).decode(latents)


def tile_starts(num_latents: int) -> range:
    """First latent frame of each temporal tile of a clip.

    A tile that would add no frame is left out; a clip shorter than a tile is one tile.
    """
    if num_latents < TILE_LATENTS:
        return range(1)
    return range(0, num_latents - 1, TILE_STRIDE)


class RawTile(NamedTuple):
    """A decoded temporal tile."""

    latents: Tensor
    """[1, C, t, h, w], as the network took them."""
    pixels: Tensor
    """[1, 3, 4*t - 3, H, W] on the CPU, not yet blended with its neighbours; in the network's
    number format, which takes half the room of fp32 where that is fp16."""


class TileCounts(NamedTuple):
    """Temporal tiles of a window, by where they came from."""

    decoded: int
    reused: int


class StreamingDecoder:
    """Decode window after window of one video, in memory that does not grow with it.

    Windows overlap, and a temporal tile that the previous window already decoded is taken from
    there: the result is the same, bit for bit, and a third of the work is saved. Tiles come back
    where windows are shifted by a multiple of ``TILE_STRIDE``. Their pixels wait on the CPU,
    so the device holds one tile at a time.

    Args:
        vae: the network; its device and number format are used.
        spatial_tile_px: side of spatial tiles in px, a multiple of 32, for devices that are too
            small for whole frames; None decodes whole frames. Tiling changes the result
            slightly, as tiles do not see each other.
        kept: tiles that another decoder with the same weights, number format and spatial tiles
            kept of the window before.

    Source: tile sizes and blending of diffusers' ``_temporal_tiled_decode``.
    """

    def __init__(
        self,
        vae: AutoencoderKLHunyuanVideo,
        *,
        spatial_tile_px: int | None = None,
        kept: Sequence[RawTile] = (),
    ) -> None:
        if spatial_tile_px is not None and (spatial_tile_px < 32 or spatial_tile_px % 32):
            raise ValueError(f"spatial tile is {spatial_tile_px} px, needed is a multiple of 32")
        self._vae = vae
        self._config = _config(vae)
        self._spatial_tile_px = spatial_tile_px
        self._kept = tuple(kept)
        self._counts = TileCounts(0, 0)

    @property
    def kept(self) -> tuple[RawTile, ...]:
        """Tiles of the last window, for the next one."""
        return self._kept

    @property
    def counts(self) -> TileCounts:
        """How many tiles of the last window were decoded, and how many taken over."""
        return self._counts

    def __call__(self, latents: Tensor) -> Tensor:
        """Same as ``decode``."""
        return self.decode(latents)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode a window.

        Args:
            latents: [1, C, T, h, w], scaled, T at least 1.

        Returns:
            [1, 3, 4*T - 3, H, W] fp32 on the CPU. Values are about -1..1 and not clamped, so
            that windows can be blended before they are.
        """
        if latents.ndim != 5 or latents.shape[0] != 1 or latents.shape[2] < 1:
            raise ValueError(f"latents are {list(latents.shape)}, needed are [1, C, T, h, w]")
        scaled = (latents / self._config.scaling_factor).to(self._vae.post_quant_conv.weight)
        # Copies, because keeping a view of one tile would keep the whole window.
        cuts = [
            scaled[:, :, start : start + TILE_LATENTS].clone()
            for start in tile_starts(latents.shape[2])
        ]
        found = [self._find(cut) for cut in cuts]
        tiles = [old or self._decode_tile(cut) for old, cut in zip(found, cuts, strict=True)]
        num_reused = sum(old is not None for old in found)
        self._counts = TileCounts(len(tiles) - num_reused, num_reused)
        self._kept = tuple(tiles)
        num_frames = TEMPORAL_STRIDE * (latents.shape[2] - 1) + 1
        # Filled in place: joining a list would need the memory of a second window.
        pixels = torch.empty(1, 3, num_frames, *tiles[0].pixels.shape[3:], dtype=torch.float32)
        first = 0
        for clip in _joined([tile.pixels for tile in tiles]):
            pixels[:, :, first : first + clip.shape[2]] = clip
            first += clip.shape[2]
        return pixels

    def _find(self, cut: Tensor) -> RawTile | None:
        """The tile of the previous window with these latents [1, C, t, h, w], or None."""
        for tile in self._kept:
            if tile.latents.shape == cut.shape and torch.equal(tile.latents, cut):
                return tile
        return None

    def _decode_tile(self, cut: Tensor) -> RawTile:
        """Decode one temporal tile [1, C, t, h, w]."""
        if self._spatial_tile_px is None:
            return RawTile(cut, self._network(cut).cpu())
        return RawTile(cut, self._decode_spatial_tiles(cut, self._spatial_tile_px).cpu())

    def _decode_spatial_tiles(self, latents: Tensor, side_px: int) -> Tensor:
        """Decode squares of at most ``side_px`` and cross-fade them where they overlap."""
        stride = self._config.spatial_compression_ratio
        side = side_px // stride
        if latents.shape[3] <= side and latents.shape[4] <= side:
            return self._network(latents)
        step = int(side * _SPATIAL_STRIDE)
        fade_px = (side - step) * stride
        rows = []
        above: list[Tensor] = []
        for top in range(0, latents.shape[3], step):
            row: list[Tensor] = []
            for column, left in enumerate(range(0, latents.shape[4], step)):
                cut = latents[:, :, :, top : top + side, left : left + side]
                tile = self._network(cut).float()
                if above:
                    tile = _fade(above[column], tile, fade_px, dim=3)
                if row:
                    tile = _fade(row[-1], tile, fade_px, dim=4)
                row.append(tile)
            kept = [tile[:, :, :, : step * stride, : step * stride] for tile in row]
            rows.append(torch.cat(kept, dim=4))
            above = row
        return torch.cat(rows, dim=3)

    def _network(self, latents: Tensor) -> Tensor:
        fused = fused_decoder(self._vae, latents)
        if fused is not None:
            return fused(latents)
        pixels: Tensor = self._vae.decoder(self._vae.post_quant_conv(latents))
        return pixels


def _config(vae: AutoencoderKLHunyuanVideo) -> Any:
    return vae.config


def _joined(tiles: list[Tensor]) -> Iterator[Tensor]:
    """Cross-fade raw temporal tiles [1, 3, f, H, W] in fp32; yield the final frames of each."""
    fade_frames = TEMPORAL_STRIDE * (TILE_LATENTS - 1 - TILE_STRIDE)
    kept_frames = TEMPORAL_STRIDE * TILE_STRIDE
    before = None
    for index, tile in enumerate(tiles):
        raw = tile.float()
        is_last = index == len(tiles) - 1
        if before is None:
            clip, kept = raw, kept_frames + 1
        else:
            # A tile's first latent stands for one frame, in mid-video it should be four: drop it.
            clip, kept = _fade(before, raw[:, :, 1:], fade_frames, dim=2), kept_frames
        yield clip if is_last else clip[:, :, :kept]
        before = clip


def _fade(before: Tensor, after: Tensor, extent: int, *, dim: int) -> Tensor:
    """Copy of ``after`` whose first ``extent`` places run over from the last of ``before``.

    Weights go 0, 1/extent, 2/extent, so the first place is all ``before``.
    """
    extent = min(extent, before.shape[dim], after.shape[dim])
    shape = [1] * after.ndim
    shape[dim] = extent
    weight = torch.arange(extent, dtype=after.dtype, device=after.device).div(extent).view(shape)
    tail = before.narrow(dim, before.shape[dim] - extent, extent)
    mixed = tail * (1 - weight) + after.narrow(dim, 0, extent) * weight
    rest = after.narrow(dim, extent, after.shape[dim] - extent)
    return torch.cat([mixed, rest], dim=dim)


@dataclass(frozen=True, eq=False)
class LatentPreview:
    """A linear map from latents to colours, good enough to watch a section take shape.

    Attributes:
        matrix: [C, 3] fp32.
        bias: [3] fp32.
    """

    matrix: Tensor
    bias: Tensor

    @classmethod
    def load(cls, vae_folder: Path, *, num_channels: int) -> "LatentPreview | None":
        """Read the VAE folder's ``preview.json``: ``{"matrix": C rows of 3, "bias": 3 numbers}``.

        Args:
            vae_folder: where to look.
            num_channels: latent channels C of the VAE.

        Returns:
            None when there is no such file: then there are no previews.

        Raises:
            CheckpointError: the file is damaged or made for another VAE.
        """
        path = vae_folder / PREVIEW_NAME
        if not path.is_file():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            matrix = torch.tensor(document["matrix"], dtype=torch.float32)
            bias = torch.tensor(document["bias"], dtype=torch.float32)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} cannot be read: {error!r}; remove or replace it"
            ) from error
        if matrix.shape != (num_channels, 3) or bias.shape != (3,):
            raise CheckpointError(
                f"{path} has a matrix {list(matrix.shape)} and a bias {list(bias.shape)}; needed: "
                f"[{num_channels}, 3] and [3], so remove it or use the one of this VAE"
            )
        return cls(matrix, bias)

    def save(self, vae_folder: Path) -> None:
        """Write ``preview.json``, for ``load``."""
        document = {"matrix": self.matrix.tolist(), "bias": self.bias.tolist()}
        (vae_folder / PREVIEW_NAME).write_text(json.dumps(document), encoding="utf-8")

    @torch.inference_mode()
    def frames(self, latents: Tensor) -> NDArray[np.uint8]:
        """Colours of scaled latents [1, C, T, h, w], as uint8 [T, h, w, 3]."""
        pixels = torch.einsum("cthw,cr->thwr", latents[0].float().cpu(), self.matrix) + self.bias
        return pixels.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).numpy()

    def strip(self, latents: Tensor) -> NDArray[np.uint8]:
        """The frames of ``frames`` side by side, as uint8 [h, T*w, 3]."""
        return np.concatenate(list(self.frames(latents)), axis=1)
