"""Networks that enlarge pictures: those of ESRGAN and Real-ESRGAN, and Real-ESRGAN's compact one.

State-dict keys, shapes and arithmetic are those of the published weights. Everything that tells
one file from another follows from its shapes: width, depth, scale.

* ``RRDBNet``: residual-in-residual dense blocks (ESRGAN, RealESRGAN_x4plus, x2plus, anime_6B and
  what was trained from them);
* ``CompactNet``: convolutions in a row (realesr-animevideov3, realesr-general-x4v3), some ten
  times faster.

Source: Wang et al., ESRGAN, arXiv 1809.00219; Wang et al., Real-ESRGAN, arXiv 2107.10833;
github.com/xinntao/Real-ESRGAN.

Shape letters: B batch, C channels, H W size in pixels.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "CompactConfig",
    "CompactNet",
    "RRDBConfig",
    "RRDBNet",
    "canonical_names",
    "infer_config",
    "make_network",
]

_COLOURS = 3
_SLOPE = 0.2  # of leaky rectifiers
_RESIDUAL_SCALE = 0.2
_DENSE_LAYERS = 5


@dataclass(frozen=True)
class RRDBConfig:
    """What tells one RRDBNet from another.

    Attributes:
        features: channels between blocks.
        growth: channels that a dense layer adds.
        num_blocks: blocks of three dense blocks each.
        num_doublings: steps that double the size.
        squeeze: pixels of a side that are folded into channels first.
    """

    features: int = 64
    growth: int = 32
    num_blocks: int = 23
    num_doublings: int = 2
    squeeze: int = 1

    @property
    def scale(self) -> int:
        """How many times as wide and high pictures get."""
        return (1 << self.num_doublings) // self.squeeze


@dataclass(frozen=True)
class CompactConfig:
    """What tells one CompactNet from another.

    Attributes:
        features: channels between layers.
        num_layers: layers between the first and the last.
        scale: how many times as wide and high pictures get.
    """

    features: int = 64
    num_layers: int = 16
    scale: int = 4


class RRDBNet(nn.Module):
    """ESRGAN's generator.

    Pictures whose sides are no multiple of ``squeeze`` are continued by their last pixels and
    cut back.
    """

    def __init__(self, config: RRDBConfig) -> None:
        super().__init__()
        features = config.features
        self.scale = config.scale
        self.multiple = config.squeeze
        self.conv_first = _conv(_COLOURS * config.squeeze**2, features)
        self.body = nn.Sequential(
            *(_ResidualBlock(features, config.growth) for _ in range(config.num_blocks))
        )
        self.conv_body = _conv(features, features)
        self._doublings = [f"conv_up{number}" for number in range(1, config.num_doublings + 1)]
        for name in self._doublings:
            self.add_module(name, _conv(features, features))
        self.conv_hr = _conv(features, features)
        self.conv_last = _conv(features, _COLOURS)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1 to [B, 3, H * scale, W * scale], about 0..1."""
        height, width = pictures.shape[-2:]
        more = -width % self.multiple, -height % self.multiple
        whole = F.pad(pictures, (0, more[0], 0, more[1]), mode="replicate")
        hidden = self.conv_first(F.pixel_unshuffle(whole, self.multiple))
        hidden = hidden + self.conv_body(self.body(hidden))
        for name in self._doublings:
            doubled = F.interpolate(hidden, scale_factor=2, mode="nearest")
            hidden = F.leaky_relu(self.get_submodule(name)(doubled), _SLOPE)
        made: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(hidden), _SLOPE))
        return made[..., : height * self.scale, : width * self.scale]


class CompactNet(nn.Module):
    """Convolutions in a row whose result is added to the picture's enlarged pixels."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        features = config.features
        self.scale = config.scale
        self.multiple = 1
        layers: list[nn.Module] = [_conv(_COLOURS, features), nn.PReLU(features)]
        for _ in range(config.num_layers):
            layers += [_conv(features, features), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, _conv(features, _COLOURS * config.scale**2))

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1 to [B, 3, H * scale, W * scale], about 0..1."""
        enlarged = F.interpolate(pictures, scale_factor=self.scale, mode="nearest")
        return F.pixel_shuffle(self.body(pictures), self.scale) + enlarged


class _ResidualBlock(nn.Module):
    """Three dense blocks with a residual around them."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(features, growth)
        self.rdb2 = _DenseBlock(features, growth)
        self.rdb3 = _DenseBlock(features, growth)

    def forward(self, hidden: Tensor) -> Tensor:
        inner: Tensor = self.rdb3(self.rdb2(self.rdb1(hidden)))
        return hidden + _RESIDUAL_SCALE * inner


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it made."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in range(_DENSE_LAYERS):
            outputs = growth if number < _DENSE_LAYERS - 1 else features
            self.add_module(f"conv{number + 1}", _conv(features + number * growth, outputs))

    def forward(self, hidden: Tensor) -> Tensor:
        seen = [hidden]
        for number in range(1, _DENSE_LAYERS):
            made = self.get_submodule(f"conv{number}")(torch.cat(seen, dim=1))
            seen.append(F.leaky_relu(made, _SLOPE))
        last: Tensor = self.get_submodule(f"conv{_DENSE_LAYERS}")(torch.cat(seen, dim=1))
        return hidden + _RESIDUAL_SCALE * last


def make_network(config: RRDBConfig | CompactConfig) -> RRDBNet | CompactNet:
    """The network that a config describes, with random weights."""
    return RRDBNet(config) if isinstance(config, RRDBConfig) else CompactNet(config)


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """What this module calls the tensors of a file, by what the file calls them.

    Three layouts of RRDBNet are published: ESRGAN's first (``model.1.sub.0.RDB1.conv1.0.weight``),
    its second (``RRDB_trunk.0.RDB1.conv1.weight``) and Real-ESRGAN's, which is ours. Names that
    none of them has come back as they are.
    """
    plain = {name: name.removeprefix("module.") for name in names}
    if "model.0.weight" not in plain.values():
        return {name: _of_second_layout(short) for name, short in plain.items()}
    numbers = [int(found[1]) for short in plain.values() if (found := _TRUNK_END.match(short))]
    num_blocks = max(numbers, default=0)
    tops = sorted(
        {int(found[1]) for short in plain.values() if (found := _TOP.match(short))} - {0, 1}
    )
    *doublings, high, last = tops if len(tops) >= 2 else [-2, -1]
    renamed = {0: "conv_first", high: "conv_hr", last: "conv_last"}
    renamed |= {number: f"conv_up{place}" for place, number in enumerate(doublings, start=1)}
    return {name: _of_first_layout(short, renamed, num_blocks) for name, short in plain.items()}


def infer_config(shapes: Mapping[str, torch.Size]) -> RRDBConfig | CompactConfig | None:
    """Read the config off canonical names and shapes; None for another network."""
    if "body.0.rdb1.conv1.weight" in shapes and "conv_first.weight" in shapes:
        features, colours = shapes["conv_first.weight"][:2]
        squeeze = isqrt(colours // _COLOURS)
        if _COLOURS * squeeze**2 != colours:
            return None
        config = RRDBConfig(
            features=features,
            growth=shapes["body.0.rdb1.conv1.weight"][0],
            num_blocks=_count(shapes, "body.{}.rdb1.conv1.weight", 0),
            num_doublings=_count(shapes, "conv_up{}.weight", 1),
            squeeze=squeeze,
        )
        return config if config.scale >= 1 else None
    first, slopes = shapes.get("body.0.weight"), shapes.get("body.1.weight")
    if first is None or slopes is None or len(first) != 4 or slopes != first[:1]:
        return None
    last = _count(shapes, "body.{}.weight", 0) - 1
    scale = isqrt(shapes[f"body.{last}.weight"][0] // _COLOURS)
    if first[1] != _COLOURS or last % 2 or scale < 1:
        return None
    return CompactConfig(features=first[0], num_layers=last // 2 - 1, scale=scale)


_TRUNK_END = re.compile(r"model\.1\.sub\.(\d+)\.(?:weight|bias)$")
_TOP = re.compile(r"model\.(\d+)\.(?:weight|bias)$")
_FIRST_BLOCK = re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)$")
_SECOND_BLOCK = re.compile(r"RRDB_trunk\.(\d+)\.RDB([123])\.conv([1-5])\.(weight|bias)$")
_SECOND = {
    "trunk_conv": "conv_body",
    "upconv1": "conv_up1",
    "upconv2": "conv_up2",
    "HRconv": "conv_hr",
}


def _of_first_layout(name: str, renamed: Mapping[int, str], num_blocks: int) -> str:
    if found := _FIRST_BLOCK.match(name):
        return "body.{}.rdb{}.conv{}.{}".format(*found.groups())
    if (found := _TRUNK_END.match(name)) and int(found[1]) == num_blocks:
        return f"conv_body.{name.rpartition('.')[2]}"
    if found := _TOP.match(name):
        return f"{renamed.get(int(found[1]), name)}.{name.rpartition('.')[2]}"
    return name


def _of_second_layout(name: str) -> str:
    if found := _SECOND_BLOCK.match(name):
        return "body.{}.rdb{}.conv{}.{}".format(*found.groups())
    layer, _, kind = name.rpartition(".")
    return f"{_SECOND.get(layer, layer)}.{kind}" if layer else name


def _count(shapes: Mapping[str, torch.Size], pattern: str, first: int) -> int:
    """How many names there are, numbered from ``first`` without a gap."""
    numbers = range(first, len(shapes) + 1)
    return sum(1 for _ in takewhile(lambda number: pattern.format(number) in shapes, numbers))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
