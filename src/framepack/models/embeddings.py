"""What enters the transformer: latents as tokens, positions as phases, conditions as vectors."""

# Shape letters are those of docs/notation.md:
#   B batch  C channels  T latent frames  H W latent size  N tokens  D width  R 1 or B

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

__all__ = [
    "FULL_RATE_KERNEL",
    "ConditionEmbedding",
    "HistoryPatchEmbed",
    "LatentPatchEmbed",
    "PackedRotaryEmbedding",
    "TokenGrid",
    "VisionProjection",
    "timestep_features",
]

Kernel = tuple[int, int, int]

FULL_RATE_KERNEL: Kernel = (1, 2, 2)
TIER_KERNELS: dict[str, Kernel] = {"proj_2x": (2, 4, 4), "proj_4x": (4, 8, 8)}

_TIMESTEP_FEATURES = 256


# --- latents to tokens -----------------------------------------------------------------------


class PatchConv3d(nn.Conv3d):
    """A convolution whose stride is its kernel, computed as one matrix product per patch.

    Conv3d kernels are slow where patches are large and the batch is one. The constructor, the
    weights, their keys and the result's layout stay those of a convolution, so adapters apply.
    """

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, D, T/kt, H/kh, W/kw]; an incomplete last patch is dropped."""
        kt, kh, kw = self.kernel_size
        _, _, t, h, w = latents.shape
        whole = latents[:, :, : t // kt * kt, : h // kh * kh, : w // kw * kw]
        patches = rearrange(
            whole, "b c (t kt) (h kh) (w kw) -> b t h w (c kt kh kw)", kt=kt, kh=kh, kw=kw
        )
        return F.linear(patches, self.weight.flatten(1), self.bias).movedim(-1, 1)


def _patch_conv(in_channels: int, dim: int, kernel: Kernel) -> PatchConv3d:
    return PatchConv3d(in_channels, dim, kernel_size=kernel, stride=kernel)


class LatentPatchEmbed(nn.Module):
    """The latents being denoised as tokens, one per 1x2x2 patch.

    Args:
        in_channels: latent channels C.
        dim: token width D.
        kernel: patch size in latent frames, rows and columns.
    """

    def __init__(self, in_channels: int, dim: int, kernel: Kernel = FULL_RATE_KERNEL) -> None:
        super().__init__()
        self.proj = _patch_conv(in_channels, dim, kernel)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, N, D], tokens ordered by frame, row, column."""
        return _as_tokens(self.proj(latents))


class HistoryPatchEmbed(nn.Module):
    """The history as tokens: near frames at full rate, older ones in 2x and 4x coarser patches.

    Args:
        in_channels: latent channels C.
        dim: token width D.

    Source: FramePack, arXiv 2504.12626: independent layers for k1, k2 and k4.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = _patch_conv(in_channels, dim, FULL_RATE_KERNEL)
        self.proj_2x = _patch_conv(in_channels, dim, TIER_KERNELS["proj_2x"])
        self.proj_4x = _patch_conv(in_channels, dim, TIER_KERNELS["proj_4x"])

    def forward(
        self, clean: Tensor | None, history_2x: Tensor | None, history_4x: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Each tier [B, C, t, H, W] to [B, n, D]; an absent tier stays None.

        The coarse tiers are replicate-padded to whole patches.
        """
        return (
            None if clean is None else _as_tokens(self.proj(clean)),
            None if history_2x is None else _padded_tokens(self.proj_2x, history_2x),
            None if history_4x is None else _padded_tokens(self.proj_4x, history_4x),
        )


def _as_tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


def _padded_tokens(proj: nn.Conv3d, latents: Tensor) -> Tensor:
    missing = [-size % k for size, k in zip(latents.shape[2:], proj.kernel_size, strict=True)]
    if any(missing):
        t, h, w = missing
        latents = F.pad(latents, (0, w, 0, h, 0, t), mode="replicate")
    return _as_tokens(proj(latents))


# --- positions to phases ---------------------------------------------------------------------


class TokenGrid(NamedTuple):
    """Where the tokens of one tier stand.

    Attributes:
        indices: [T] or [B, T] positions of its latent frames on the time axis, before pooling.
        height: rows of full-rate tokens.
        width: columns of full-rate tokens.
        pool: full-rate tokens merged into one token, along time, rows and columns.
    """

    indices: Tensor
    height: int
    width: int
    pool: Kernel

    @property
    def num_tokens(self) -> int:
        """Tokens of this tier; incomplete patches count as padded to whole ones."""
        extents = (self.indices.shape[-1], self.height, self.width)
        return math.prod(-(-size // k) for size, k in zip(extents, self.pool, strict=True))


class PackedRotaryEmbedding(nn.Module):
    """Rotary phases of packed tokens: a coarse token has the mean phase of the patches it merges.

    Cosine and sine are averaged as in the paper. A phase depends on one axis only, so averaging
    over a box is averaging along that axis: tables stay one-dimensional until the last step.

    Args:
        axes_dim: channels given to time, rows and columns; their sum is the head width.
        theta: base of the frequencies.

    Source: FramePack, arXiv 2504.12626 (average-pooled phases); HunyuanVideo (axes, theta 256).
    """

    def __init__(self, axes_dim: Sequence[int], theta: float) -> None:
        super().__init__()
        self.axes_dim = tuple(axes_dim)
        self.theta = theta
        self._last: tuple[object, tuple[Tensor, Tensor]] | None = None

    def forward(
        self, grids: Sequence[TokenGrid], text_length: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Phases of the tiers in the order given, and of the text, which is not rotated.

        Args:
            grids: one per tier. Indices that differ between samples give one table per sample.
                Keep them on the CPU: the table is then made there, once per section.
            text_length: text tokens M.
            device: where the tables go.

        Returns:
            [R, N, D/2, 2] and [1 or R, M, D/2, 2] fp32, cosine and sine of each channel pair;
            R is 1 if all samples share their indices.
        """
        grids = [grid._replace(indices=_index_rows(grid.indices)) for grid in grids]
        rows = max(grid.indices.shape[0] for grid in grids)
        key = None
        if all(grid.indices.device.type == "cpu" for grid in grids) and not _is_traced():
            frames = tuple((tuple(g.indices.flatten().tolist()), *g[1:]) for g in grids)
            key = (frames, rows, text_length, device, torch.is_inference_mode_enabled())
            if self._last is not None and self._last[0] == key:
                return self._last[1]
        image = torch.cat([self._tier(grid).expand(rows, -1, -1, -1) for grid in grids], dim=1)
        text = image.new_tensor([1.0, 0.0]).expand(rows, text_length, image.shape[2], 2)
        tables = image.to(device), text.to(device)
        if key is not None:
            self._last = key, tables
        return tables

    def _tier(self, grid: TokenGrid) -> Tensor:
        """[R, n, D/2, 2] phases of one tier."""
        device = grid.indices.device
        rows = torch.arange(grid.height, device=device)[None]
        columns = torch.arange(grid.width, device=device)[None]
        t, h, w = (
            self._axis(positions.float(), dim, pool)
            for positions, dim, pool in zip(
                (grid.indices, rows, columns), self.axes_dim, grid.pool, strict=True
            )
        )
        size = (t.shape[0], t.shape[1], h.shape[1], w.shape[1], -1, -1)
        box = [
            t[:, :, None, None].expand(size),
            h[:, None, :, None].expand(size),
            w[:, None, None, :].expand(size),
        ]
        return torch.cat(box, dim=-2).flatten(1, 3)

    def _axis(self, positions: Tensor, dim: int, pool: int) -> Tensor:
        """[R, L] positions to [R, ceil(L / pool), dim / 2, 2] averaged phases."""
        exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=positions.device) / dim
        angles = positions.unsqueeze(-1) * (1.0 / self.theta**exponents)
        phases = torch.stack([angles.cos(), angles.sin()], dim=-1)
        if pool == 1:
            return phases
        missing = -positions.shape[1] % pool
        last = phases[:, -1:].expand(-1, missing, -1, -1)
        boxes = torch.cat([phases, last], dim=1)
        return boxes.view(boxes.shape[0], -1, pool, *boxes.shape[2:]).mean(dim=2)


def _index_rows(indices: Tensor) -> Tensor:
    """[T] or [B, T] indices as [R, T], with equal rows given once where the host can tell."""
    rows = indices.reshape(-1, indices.shape[-1])
    if rows.device.type == "cpu" and not _is_traced() and bool((rows == rows[:1]).all()):
        return rows[:1]
    return rows


def _is_traced() -> bool:
    return torch.compiler.is_compiling()


# --- conditions to vectors -------------------------------------------------------------------


def timestep_features(values: Tensor, width: int = _TIMESTEP_FEATURES) -> Tensor:
    """Sinusoidal features, [B] to [B, width] fp32: cosines first, periods 2 pi to 20000 pi.

    Source: Attention Is All You Need, arXiv 1706.03762; order as in HunyuanVideo.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    frequencies = torch.exp(-math.log(10_000) * steps / half)
    angles = values.float().unsqueeze(-1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TwoLayerProjection(nn.Module):
    """Linear, SiLU, linear: from any width to the token width."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return projected


class ConditionEmbedding(nn.Module):
    """Timestep, pooled text and distilled guidance as the one vector that modulates each block.

    Args:
        dim: token width D.
        pooled_dim: width P of the pooled text.
        guidance: the model was distilled with a guidance scale as an input.
    """

    def __init__(self, dim: int, pooled_dim: int, *, guidance: bool = False) -> None:
        super().__init__()
        self.timestep_embedder = TwoLayerProjection(_TIMESTEP_FEATURES, dim)
        self.text_embedder = TwoLayerProjection(pooled_dim, dim)
        self.guidance_embedder = TwoLayerProjection(_TIMESTEP_FEATURES, dim) if guidance else None

    def forward(self, timestep: Tensor, pooled: Tensor, guidance: Tensor | None = None) -> Tensor:
        """The conditioning vector.

        Args:
            timestep: [B] or scalar, sigma times 1000.
            pooled: [B, P] pooled text; its dtype is the one computed in.
            guidance: [B] or scalar, guidance scale times 1000; not used by models without it.

        Returns:
            [B, D].

        Raises:
            ValueError: the model takes a guidance scale and none was given.
        """
        batch = pooled.shape[0]
        embedding = self.timestep_embedder(_features(timestep, batch).to(pooled.dtype))
        if self.guidance_embedder is not None:
            if guidance is None:
                raise ValueError(
                    "guidance is missing and this model was distilled with it; "
                    "pass guidance = guidance_scale * 1000"
                )
            embedding = embedding + self.guidance_embedder(
                _features(guidance, batch).to(pooled.dtype)
            )
        conditioning: Tensor = embedding + self.text_embedder(pooled)
        return conditioning


def _features(values: Tensor, batch: int) -> Tensor:
    return timestep_features(values.reshape(-1).expand(batch))


class VisionProjection(nn.Module):
    """Features of the start picture (SigLIP) as text-stream tokens.

    Args:
        in_dim: width of the vision features.
        dim: token width D.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.up = nn.Linear(in_dim, dim * 3)
        self.down = nn.Linear(dim * 3, dim)

    def forward(self, features: Tensor) -> Tensor:
        """[B, K, in_dim] to [B, K, D]."""
        tokens: Tensor = self.down(F.silu(self.up(features)))
        return tokens
