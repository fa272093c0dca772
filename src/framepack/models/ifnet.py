"""IFNet, the network of RIFE: two frames and a time in, the frame between them out.

Blocks at rising resolution correct a flow from the wanted time to both frames, and a mask that
says how much of the result comes from each. State-dict keys, shapes and arithmetic are those of
the published v4 weights of Practical-RIFE, without their prefix ``module.``:

* 4.5 and 4.6: blocks see the pictures alone, and each adds to the mask;
* 4.7 to 4.18: blocks also see features of the pictures (``encode``), and each replaces the mask.

Checked against the layouts of 4.5, 4.6, 4.7, 4.9, 4.10, 4.13, 4.15, 4.17 and 4.18. Before 4.5 the
blocks have no learnt residuals, from 4.19 on they hand features to each other: those are other
networks.

Source: Huang et al., RIFE, arXiv 2011.06294; github.com/hzwer/Practical-RIFE.

Shape letters (docs/notation.md): B batch, C channels, H W size in pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["IFNet", "IFNetConfig", "Step", "infer_config", "warp"]

Encoder = Literal["none", "two", "four", "named"]
"""Layers of ``encode``: two (4.7 to 4.9), four in a row (4.10 to 4.13), or four with names."""

SCALES = (8, 4, 2, 1)
SIZE_MULTIPLE = 32
"""Height and width are multiples of this: a block at scale 8 has two layers of stride 2."""

_NUM_RESIDUALS = 8
_FLOW_AND_MASK = 5
_PICTURES_AND_TIME = 3 + 3 + 1
_MASK_AND_FLOW = 1 + 4


@dataclass(frozen=True)
class IFNetConfig:
    """What tells one v4 layout from another.

    Attributes:
        widths: channels of each block, the coarsest first.
        num_outputs: channels that a block puts out: four of flow, one of mask, the rest unused.
        encoder: kind of the feature encoder.
        encoder_width: its inner channels; 0 without one.
        features: channels of features of each picture; 0 without an encoder.
        smooth: shrink pictures by the mean of what they lose, as this project's own weights are
            trained; the published ones take four pixels in the middle. Marked by an empty tensor.
    """

    widths: tuple[int, ...] = (192, 128, 96, 64)
    num_outputs: int = 6
    encoder: Encoder = "none"
    encoder_width: int = 0
    features: int = 0
    smooth: bool = False


class Step(NamedTuple):
    """What is known after a block.

    Attributes:
        frame: [B, 3, H, W], the two frames moved to the wanted time and mixed.
        flow: [B, 4, H, W] in pixels: where each pixel lies in the first frame (x, y), relative to
            its place, then where in the second.
        mask: [B, 1, H, W], logit of the first frame's share.
    """

    frame: Tensor
    flow: Tensor
    mask: Tensor


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Fetch each pixel from where the flow points; beyond the edge the edge counts.

    Args:
        picture: [B, C, H, W].
        flow: [B, 2, H, W], pixels to the right and down.

    Returns:
        [B, C, H, W], sampled bilinearly.
    """
    height, width = picture.shape[2:]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, -1, 1)
    x = torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, -1)
    # -1 and 1 are the middles of the outermost pixels.
    across = (x + flow[:, 0]) * (2 / max(width - 1, 1)) - 1
    down = (y + flow[:, 1]) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([across, down], dim=-1)
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=True)


class IFNet(nn.Module):
    """Frames between frames, at any time between 0 and 1.

    Args:
        config: widths and layout.
    """

    def __init__(self, config: IFNetConfig) -> None:
        super().__init__()
        self.config = config
        seen = _PICTURES_AND_TIME + 2 * config.features
        for index, width in enumerate(config.widths):
            inputs = seen + (_MASK_AND_FLOW if index else 0)
            self.add_module(f"block{index}", _Block(inputs, width, config))
        if config.smooth:
            self.register_buffer("smooth", torch.empty(0))
        if config.encoder != "none":
            self.encode = _encoder(config)

    def forward(self, first: Tensor, second: Tensor, timestep: Tensor) -> Tensor:
        """Make the frame at a time.

        Args:
            first, second: [B, 3, H, W] in 0..1; H and W are multiples of 32.
            timestep: [B], 0 at the first frame, 1 at the second.

        Returns:
            [B, 3, H, W] in 0..1.
        """
        return self.steps(first, second, timestep)[-1].frame

    def steps(self, first: Tensor, second: Tensor, timestep: Tensor) -> list[Step]:
        """The same after every block, for training; see :meth:`forward`.

        Raises:
            ValueError: height or width is no multiple of 32.
        """
        height, width = first.shape[2:]
        if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
            raise ValueError(
                f"pictures are {width} x {height} px; IFNet needs multiples of {SIZE_MULTIPLE}"
            )
        time = timestep.to(first).view(-1, 1, 1, 1).expand(-1, 1, height, width)
        pictures = [first, second]
        features = [self.encode(picture) for picture in pictures] if self.has_encoder else []
        moved, moved_features = pictures, features
        steps: list[Step] = []
        flow = mask = first.new_zeros(())
        for index, scale in enumerate(SCALES):
            block = self.get_submodule(f"block{index}")
            seen = torch.cat([*moved, *moved_features, time, *([mask] if index else [])], dim=1)
            change, found = block(seen, flow if index else None, scale)
            flow = flow + change
            mask = found if self.has_encoder else mask + found
            flows = flow[:, :2], flow[:, 2:]
            moved = [warp(one, by) for one, by in zip(pictures, flows, strict=True)]
            moved_features = [
                warp(one, by) for one, by in zip(features, flows, strict=False) if index < 3
            ]
            share = mask.sigmoid()
            frame = moved[0] * share + moved[1] * (1 - share)
            steps.append(Step(frame, flow, mask))
        return steps

    @property
    def has_encoder(self) -> bool:
        """Whether the blocks see features."""
        return self.config.encoder != "none"


class _Block(nn.Module):
    """One correction of flow and mask, at a quarter of the resolution that it is given."""

    def __init__(self, inputs: int, width: int, config: IFNetConfig) -> None:
        super().__init__()
        self._smooth = config.smooth
        self.conv0 = nn.Sequential(_shrink(inputs, width // 2), _shrink(width // 2, width))
        self.convblock = nn.Sequential(*[_Residual(width) for _ in range(_NUM_RESIDUALS)])
        self.lastconv = nn.Sequential(
            nn.ConvTranspose2d(width, 4 * config.num_outputs, 4, 2, 1), nn.PixelShuffle(2)
        )

    def forward(self, seen: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor]:
        """Return what to add to the flow [B, 4, H, W], and a mask [B, 1, H, W]."""
        if flow is not None:
            seen = torch.cat([seen, flow / scale], dim=1)
        if scale > 1 and self._smooth:
            seen = F.avg_pool2d(seen, scale)
        elif scale > 1:
            seen = F.interpolate(seen, scale_factor=1 / scale, mode="bilinear")
        found = self.lastconv(self.convblock(self.conv0(seen)))[:, :_FLOW_AND_MASK].float()
        if scale > 1:
            found = F.interpolate(found, scale_factor=float(scale), mode="bilinear")
        return found[:, :4] * scale, found[:, 4:]


class _Residual(nn.Module):
    """A convolution whose part in the sum is learnt per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(hidden) * self.beta + hidden, 0.2)


class _NamedEncoder(nn.Module):
    """The encoder of 4.15 and later: four layers, each under its own name."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, width, 3, 2, 1)
        self.cnn1 = nn.Conv2d(width, width, 3, 1, 1)
        self.cnn2 = nn.Conv2d(width, width, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(width, features, 4, 2, 1)

    def forward(self, picture: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.cnn0(picture), 0.2)
        hidden = F.leaky_relu(self.cnn1(hidden), 0.2)
        features: Tensor = self.cnn3(F.leaky_relu(self.cnn2(hidden), 0.2))
        return features


def _encoder(config: IFNetConfig) -> nn.Module:
    width, features = config.encoder_width, config.features
    if config.encoder == "named":
        return _NamedEncoder(width, features)
    first, last = nn.Conv2d(3, width, 3, 2, 1), nn.ConvTranspose2d(width, features, 4, 2, 1)
    if config.encoder == "two":
        return nn.Sequential(first, last)  # published so, with nothing between the two
    inner = [nn.Conv2d(width, width, 3, 1, 1) for _ in range(2)]
    relu = nn.LeakyReLU(0.2)
    return nn.Sequential(first, relu, inner[0], relu, inner[1], relu, last)


def _shrink(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2))


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> IFNetConfig | None:
    """Read the layout off a checkpoint's shapes; None if it is no IFNet of these versions.

    Args:
        shapes: by key, without the prefix ``module.``.
    """
    blocks = [f"block{index}" for index in range(len(SCALES))]
    firsts = [shapes.get(f"{block}.conv0.1.0.weight", ()) for block in blocks]
    last = shapes.get("block0.lastconv.0.weight", ())
    if not all(len(shape) == 4 for shape in (*firsts, last)):
        return None
    kinds: dict[str, Encoder] = {
        "encode.cnn3.weight": "named",
        "encode.6.weight": "four",
        "encode.1.weight": "two",
    }
    key = next((key for key in kinds if len(shapes.get(key, ())) == 4), None)
    return IFNetConfig(
        widths=tuple(shape[0] for shape in firsts),
        num_outputs=last[1] // 4,
        encoder=kinds[key] if key else "none",
        encoder_width=shapes[key][0] if key else 0,
        features=shapes[key][1] if key else 0,
        smooth="smooth" in shapes,
    )
