"""A small decoder in the TAEHV layout: latents to frames at a fraction of the VAE's cost.

It sees the past alone, one frame at a time, and remembers one frame of each block that looks
back. So memory does not grow with the video, and what a frame looks like depends on a fixed
number of latent frames before it.

Source: the layout of the weights that github.com/madebyollin/taehv publishes.
"""

# Shape letters are those of docs/notation.md:
#   C latent channels  T latent frames  H W picture size  h w latent size
# Here as well: n frames that one latent frame has become so far  D width of a block

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from framepack.domain.errors import CheckpointError

__all__ = ["MemoryBlock", "TimeGrow", "TinyVaeDecoder", "TinyVaeLayout", "TinyVaeStream"]

_NUM_BLOCKS = 3
"""Memory blocks in each of the three stages."""
_UPSAMPLING = 8
"""What the three stages make of the side of a latent frame."""
_FIRST, _LAST = 1, 22
"""Places of the first and the last convolution in the decoder."""
_GROW = (7, 13, 19)
"""Places of the layers that make several frames of one."""
_NARROW = (8, 14, 20)
"""Places of the convolutions after them."""


@dataclass(frozen=True)
class TinyVaeLayout:
    """The sizes in which networks of the layout differ.

    Attributes:
        latent_channels: C.
        widths: channels of the three stages and of what follows them.
        time_strides: frames that each stage makes of one.
        patch_px: side of the square of pixels that one output place holds.
    """

    latent_channels: int
    widths: tuple[int, int, int, int]
    time_strides: tuple[int, int, int]
    patch_px: int

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent place along each side."""
        return _UPSAMPLING * self.patch_px

    @property
    def temporal_stride(self) -> int:
        """Frames per latent frame, after the first."""
        return math.prod(self.time_strides)

    @property
    def past_latents(self) -> int:
        """Latent frames before its own that a frame depends on."""
        place = 0
        for stride in reversed(self.time_strides[:-1]):
            place = (place - _NUM_BLOCKS) // stride
        return _NUM_BLOCKS - place

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]]) -> "TinyVaeLayout":
        """Read the sizes off the shapes of weights.

        Args:
            shapes: of the tensors in a file of weights, by name.

        Raises:
            CheckpointError: the weights are of another layout; names what is missing or odd.
        """

        def sizes(place: str) -> tuple[int, int]:
            shape = shapes.get(f"decoder.{place}.weight", ())
            if len(shape) != 4:
                found = f"has the shape {list(shape)}" if shape else "is missing"
                raise CheckpointError(
                    f"these are no weights in the TAEHV layout: decoder.{place}.weight {found}"
                )
            return shape[0], shape[1]

        first, latent_channels = sizes(str(_FIRST))
        widths = (first, *(sizes(str(place))[0] for place in _NARROW))
        grown = [sizes(f"{place}.conv") for place in _GROW]
        values, _ = sizes(str(_LAST))
        patch_px = math.isqrt(values // 3)
        if values != 3 * patch_px**2 or any(wide % narrow for wide, narrow in grown):
            raise CheckpointError(
                f"these are no weights in the TAEHV layout: decoder.{_LAST}.weight gives "
                f"{values} values, needed are 3 for each pixel of a square; layers "
                f"{', '.join(map(str, _GROW))} make {', '.join(f'{a}/{b}' for a, b in grown)} "
                "frames of one"
            )
        strides = tuple(wide // narrow for wide, narrow in grown)
        return cls(latent_channels, widths, strides, patch_px)  # type: ignore[arg-type]


class MemoryBlock(nn.Module):
    """A residual block that sees its input of one frame before as well.

    ``relu(convolutions([x, past]) + x)``; there is no frame before the first, zeros stand for it.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _convolution(2 * width, width),
            nn.ReLU(),
            _convolution(width, width),
            nn.ReLU(),
            _convolution(width, width),
        )

    def forward(self, x: Tensor, memory: Tensor | None) -> Tensor:
        """Frames [n, D, h, w] that follow ``memory`` [1, D, h, w], to the same shape."""
        before = torch.zeros_like(x[:1]) if memory is None else memory
        past = torch.cat([before, x[:-1]])
        mixed: Tensor = self.conv(torch.cat([x, past], dim=1))
        return (mixed + x).relu()


class TimeGrow(nn.Module):
    """Make ``stride`` frames of each: [n, D, h, w] to [n*stride, D, h, w]."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        grown: Tensor = self.conv(x)
        return grown.reshape(-1, self.width, *grown.shape[2:])


class SoftClamp(nn.Module):
    """Keep latents between -3 and 3, with little change near 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return (x / 3).tanh() * 3


class TinyVaeDecoder(nn.Module):
    """The network; its keys are those of the published weights.

    Args:
        layout: its sizes.
    """

    def __init__(self, layout: TinyVaeLayout) -> None:
        super().__init__()
        self.layout = layout
        widths = layout.widths
        layers: list[nn.Module] = [SoftClamp(), _convolution(layout.latent_channels, widths[0])]
        layers.append(nn.ReLU())
        for stage, stride in enumerate(layout.time_strides):
            width = widths[stage]
            layers += [MemoryBlock(width) for _ in range(_NUM_BLOCKS)]
            layers += [nn.Upsample(scale_factor=2.0), TimeGrow(width, stride)]
            layers.append(_convolution(width, widths[stage + 1], bias=False))
        layers += [nn.ReLU(), _convolution(widths[-1], 3 * layout.patch_px**2)]
        self.decoder = nn.Sequential(*layers)

    def step(
        self, latent: Tensor, memory: Mapping[int, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Decode one latent frame after others.

        Args:
            latent: [1, C, h, w].
            memory: what the step before left; empty before the first.

        Returns:
            Frames [n, 3, H, W], about 0..1, and the memory for the next step: the last input of
            each block that looks back, [1, D, h, w] by its place.
        """
        x, after = latent, {}
        for place, layer in enumerate(self.decoder):
            if isinstance(layer, MemoryBlock):
                after[place] = x[-1:]
                x = layer(x, memory.get(place))
            else:
                x = layer(x)
        frames: Tensor = nn.functional.pixel_shuffle(x, self.layout.patch_px)
        return frames, after

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode a clip from its beginning; see :meth:`TinyVaeStream.decode`."""
        return TinyVaeStream(self).decode(latents)


class TinyVaeStream:
    """Decode one video piece by piece, in memory that does not grow with it.

    However the latents are cut into pieces, the frames are the same, bit for bit: each latent
    frame is a step of its own.

    Args:
        network: its device and number format are used.
    """

    def __init__(self, network: TinyVaeDecoder) -> None:
        self._network = network
        self._memory: dict[int, Tensor] = {}

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode the latents that follow those decoded before.

        Args:
            latents: [1, C, T, h, w] as the transformer makes them, multiplied by the VAE's
                scaling factor; T at least 1.

        Returns:
            [1, 3, r*T, H, W] fp32, about -1..1, on the network's device, with r frames for each
            latent frame. The first of a video stands for one frame: r - 1 are left out.
        """
        layout = self._network.layout
        found = tuple(latents.shape)
        if len(found) != 5 or found[:2] != (1, layout.latent_channels) or found[2] < 1:
            raise ValueError(
                f"latents are {list(found)}, needed are [1, {layout.latent_channels}, T, h, w]"
            )
        stride, side = layout.temporal_stride, layout.spatial_stride
        cut = 0 if self._memory else stride - 1
        weight: Any = self._network.decoder[_FIRST].weight
        latents = latents.to(weight)
        # Filled in place: joining a list would need the memory of a second clip.
        shape = (1, 3, stride * found[2] - cut, side * found[3], side * found[4])
        pixels = torch.empty(shape, dtype=torch.float32, device=weight.device)
        for index in range(found[2]):
            frames, self._memory = self._network.step(latents[:, :, index], self._memory)
            first = stride * index - cut
            new = frames[-min(0, first) :].transpose(0, 1)
            start = max(first, 0)
            pixels[0, :, start : start + new.shape[1]] = new.float().mul(2).sub(1)
        return pixels


def _convolution(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
