"""The VAE's decoder with channels innermost, fewer products and fewer copies.

diffusers' modules define the network; this is a second way through the same weights for the CPU
in fp32. It is taken only where nothing could tell the difference but a clock and rounding: see
:func:`fused_decoder`.

- Activations lie as [T, H, W, C], the order that oneDNN's convolutions read and write fastest.
- Normalised and activated values are written straight into the middle of what the next
  convolution reads; the border of repeated values around them is all that is copied.
- A convolution after nearest-neighbour upsampling meets most values twice along each axis. The
  weights that meet the same value are added beforehand, and it works at the lower resolution,
  with two taps in place of three along each axis: 8 of 27 products are left.
- The last convolution makes so few channels that most of a vector would be empty; its taps in
  time become channels, and the frames are added afterwards.
"""

# Shape letters are those of docs/notation.md:
#   C channels  T frames  H W size; here those of any level of the decoder
# Here as well: D channels that a convolution makes

from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import (
    AutoencoderKLHunyuanVideo,
    HunyuanVideoCausalConv3d,
    HunyuanVideoDecoder3D,
    HunyuanVideoMidBlock3D,
    HunyuanVideoResnetBlockCausal3D,
    HunyuanVideoUpBlock3D,
    HunyuanVideoUpsampleCausal3D,
    prepare_causal_attention_mask,
)
from torch import Tensor, nn

from framepack.models.convolution import DirectConv3d, convolve
from framepack.models.linear import linear

__all__ = ["fused_decoder"]

_KINDS = frozenset(
    {
        DirectConv3d,
        HunyuanVideoCausalConv3d,
        HunyuanVideoDecoder3D,
        HunyuanVideoMidBlock3D,
        HunyuanVideoResnetBlockCausal3D,
        HunyuanVideoUpBlock3D,
        HunyuanVideoUpsampleCausal3D,
        nn.Conv3d,
        nn.Dropout,
        nn.GroupNorm,
        nn.ModuleList,
        nn.SiLU,
    }
)
_UPSAMPLING = ((1, 2, 2), (2, 2, 2))
_CHUNK_VALUES = 2**18  # worked on at a time, so that what was read or written is still in a cache
_FULL_LANES = 64  # channels from which on a convolution has no use for more
_MOST_CHANNELS = 128  # oneDNN adds products one after the other: digits go where there are many
_LEAST_PLACES = 64  # latent places below which laying weights out takes what is gained


# --- when ------------------------------------------------------------------------------------


def fused_decoder(
    vae: AutoencoderKLHunyuanVideo, latents: Tensor
) -> Callable[[Tensor], Tensor] | None:
    """The decoder as a function, if that makes no difference to anyone.

    Args:
        vae: with its weights; they are read anew at each call.
        latents: [1, C, T, h, w] what is to be decoded.

    Returns:
        From latents to pixels [1, D, F, H, W], or None: on another device, in another number
        format, with more than one sample or very few places, where autograd, autocast, a
        compiler or a hook is at work, and for networks of another make or with more than 128
        channels: oneDNN adds product after product, which rounds long sums worse than torch does.
    """
    if (
        latents.shape[0] != 1
        or latents.shape[2:].numel() < _LEAST_PLACES
        or latents.device.type != "cpu"
        or not torch.backends.mkldnn.is_available()
        or torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or nn.modules.module._has_any_global_hook()
        or type(vae.post_quant_conv) not in (nn.Conv3d, DirectConv3d)
        or not (_all_plain(vae.post_quant_conv) and _all_plain(vae.decoder))
    ):
        return None
    return lambda latents: _decode(vae, latents)


def _all_plain(module: nn.Module) -> bool:
    """Whether a network and all in it are of the make known here, unhooked, in fp32."""
    if isinstance(module, Attention):
        return True  # called as it is
    if (
        type(module) not in _KINDS
        or module._forward_hooks
        or module._forward_pre_hooks
        or "forward" in module.__dict__
        or not _has_known_form(module)
    ):
        return False
    for parameter in module._parameters.values():
        if type(parameter) is not nn.Parameter or parameter.dtype != torch.float32:
            return False  # quantised weights are subclasses
        if parameter.device.type != "cpu":
            return False
    return all(_all_plain(child) for child in module._modules.values() if child is not None)


def _has_known_form(module: Any) -> bool:
    """Whether a module has the sizes and settings that are reckoned with here."""
    if isinstance(module, nn.Conv3d):
        if module.groups != 1 or module.in_channels > _MOST_CHANNELS:
            return False
        return (
            module.padding_mode == "zeros"
            and module.padding == (0, 0, 0)
            and module.dilation == (1, 1, 1)
        )
    if isinstance(module, HunyuanVideoCausalConv3d):
        return module.pad_mode == "replicate" and module.conv.kernel_size in (
            (1, 1, 1),
            (3, 3, 3),
        )
    if isinstance(module, HunyuanVideoResnetBlockCausal3D):
        return isinstance(module.nonlinearity, nn.SiLU)
    if isinstance(module, HunyuanVideoUpsampleCausal3D):
        return tuple(module.upsample_factor) in _UPSAMPLING
    return not (isinstance(module, nn.Dropout) and module.training and module.p)


# --- how -------------------------------------------------------------------------------------


def _decode(vae: Any, latents: Tensor) -> Tensor:
    """[1, C, T, h, w] to [1, D, F, H, W]."""
    decoder = vae.decoder
    x = _pointwise(latents[0].permute(1, 2, 3, 0), vae.post_quant_conv)
    x = _convolved(_bordered(x), decoder.conv_in.conv)
    x = _middle(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = _resnet(resnet, x)
        for upsampler in block.upsamplers or ():
            x = _upsampled(upsampler, x)
    return _last(_activated(x, decoder.conv_norm_out, front=0), decoder.conv_out.conv)


def _middle(block: Any, x: Tensor) -> Tensor:
    """[T, H, W, C] to the same shape."""
    x = _resnet(block.resnets[0], x)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        if attention is not None:
            tokens = x.flatten(0, 2).unsqueeze(0)
            mask = prepare_causal_attention_mask(
                x.shape[0], x.shape[1] * x.shape[2], x.dtype, x.device, batch_size=1
            )
            x = attention(tokens, attention_mask=mask).view_as(x)
        x = _resnet(resnet, x)
    return x


def _resnet(block: Any, x: Tensor) -> Tensor:
    """[T, H, W, C] to [T, H, W, D]."""
    hidden = _convolved(_activated(x, block.norm1), block.conv1.conv)
    activated = _activated(hidden, block.norm2)
    if block.conv_shortcut is not None:
        x = _pointwise(x, block.conv_shortcut.conv)
    return _convolved(activated, block.conv2.conv).add_(x)


def _upsampled(block: Any, x: Tensor) -> Tensor:
    """[T, H, W, C] to [T, 2 H, 2 W, D] or [2 T - 1, 2 H, 2 W, D], the first frame being alone.

    Each place of a square of pixels is a convolution of its own at the lower resolution.
    """
    num_frames, height, width, _ = x.shape
    in_time = block.upsample_factor[0] == 2
    conv = block.conv.conv
    shape = (2 * num_frames - 1 if in_time else num_frames, 2 * height, 2 * width)
    out = x.new_empty(*shape, conv.out_channels)
    for row in (0, 1):
        for column in (0, 1):
            weight = _folded(_folded(conv.weight, 3, row), 4, column)
            place = out[:, row::2, column::2]
            if in_time:
                _fill_twice(place, _beside(x, row, column, front=1), weight, conv.bias)
            else:
                source = _beside(x, row, column, front=2)
                place.copy_(_as_frames(convolve(_as_batch(source), _packed(weight), conv.bias)))
    return out


def _fill_twice(place: Tensor, source: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Fill [2 T - 1, H, W, D] from [T + 1, H + 1, W + 1, C] and a weight of three taps in time.

    Few channels are made for both kinds of frames at once, to fill vectors.
    """
    even, odd = (_folded(weight, 2, parity) for parity in (0, 1))
    channels = len(bias)
    if 2 * channels <= _FULL_LANES:
        both = convolve(_as_batch(source), _packed(torch.cat([even, odd])), bias.repeat(2))
        frames = _as_frames(both)
        place[0::2] = frames[..., :channels]
        place[1::2] = frames[1:, ..., channels:]
    else:
        place[0::2] = _as_frames(convolve(_as_batch(source), _packed(even), bias))
        if source.shape[0] > 2:
            place[1::2] = _as_frames(convolve(_as_batch(source[1:]), _packed(odd), bias))


def _folded(weight: Tensor, dim: int, parity: int) -> Tensor:
    """Three taps on doubled values as two on the values themselves, for the even or odd place."""
    before, middle, after = weight.unbind(dim)
    return torch.stack([before + middle, after] if parity else [before, middle + after], dim)


def _last(x: Tensor, conv: Any) -> Tensor:
    """Convolve [T, H + 2, W + 2, C] to [1, D, T, H, W]; frames before the first are like it."""
    weight, channels = conv.weight, conv.out_channels
    flat = weight.permute(2, 0, 1, 3, 4).flatten(0, 1).unsqueeze(2)  # [3 D, C, 1, 3, 3]
    parts = convolve(_as_batch(x), _packed(flat), None)[0].contiguous()
    oldest, older, newest = parts.split(channels)
    out: Tensor = newest + conv.bias.view(-1, 1, 1, 1)
    for past, delay in ((older, 1), (oldest, 2)):
        out[:, delay:] += past[:, :-delay]
        out[:, :delay] += past[:, :1]
    return out.unsqueeze(0)


def _pointwise(x: Tensor, conv: Any) -> Tensor:
    """[T, H, W, C] to [T, H, W, D] by a kernel of size 1."""
    rows = linear(x.reshape(-1, x.shape[-1]), conv.weight.flatten(1), conv.bias)
    return rows.view(*x.shape[:3], -1)


def _convolved(bordered: Tensor, conv: Any) -> Tensor:
    """[T + 2, H + 2, W + 2, C] to [T, H, W, D]."""
    return _as_frames(convolve(_as_batch(bordered), _packed(conv.weight), conv.bias))


def _as_batch(frames: Tensor) -> Tensor:
    """[T, H, W, C] as [1, C, T, H, W], a view."""
    return frames.permute(3, 0, 1, 2).unsqueeze(0)


def _as_frames(batch: Tensor) -> Tensor:
    """[1, C, T, H, W] as [T, H, W, C], a view."""
    return batch[0].permute(1, 2, 3, 0)


def _packed(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last_3d)


# --- borders and normalisation ----------------------------------------------------------------


def _bordered(x: Tensor) -> Tensor:
    """[T, H, W, C] with its edges repeated once and its first frame twice."""
    num_frames, height, width, channels = x.shape
    wide = x.new_empty(num_frames + 2, height + 2, (width + 2) * channels)
    wide[2:, 1:-1, channels:-channels] = x.flatten(2)
    return _with_border(wide, channels, front=2)


def _with_border(wide: Tensor, channels: int, *, front: int) -> Tensor:
    """Fill the border of [front + T, H + 2, (W + 2) * C]; return it with channels apart."""
    new = wide[front:]
    new[:, 1:-1, :channels] = new[:, 1:-1, channels : 2 * channels]
    new[:, 1:-1, -channels:] = new[:, 1:-1, -2 * channels : -channels]
    new[:, 0], new[:, -1] = new[:, 1], new[:, -2]
    wide[:front] = wide[front]
    return wide.view(*wide.shape[:2], -1, channels)


def _beside(x: Tensor, row: int, column: int, *, front: int) -> Tensor:
    """[T, H, W, C] with one edge of each kind repeated: [front + T, H + 1, W + 1, C].

    Args:
        x: the values.
        row: 0 repeats the first row, 1 the last.
        column: 0 repeats the first column, 1 the last.
        front: how often the first frame is repeated.
    """
    num_frames, height, width, channels = x.shape
    out = x.new_empty(front + num_frames, height + 1, width + 1, channels)
    new, top, left = out[front:], 1 - row, 1 - column
    new[:, top : top + height, left : left + width] = x
    edge_row, edge_column = -row, -column  # the first or the last
    new[:, edge_row, left : left + width] = x[:, edge_row]
    new[:, :, edge_column] = new[:, :, 1 - 3 * column]
    out[:front] = out[front]
    return out


def _activated(x: Tensor, norm: Any, *, front: int = 2) -> Tensor:
    """SiLU of normalised [T, H, W, C], bordered: [front + T, H + 2, W + 2, C]."""
    num_frames, height, width, channels = x.shape
    scale, shift = (row.repeat(width) for row in _scale_and_shift(x, norm))
    wide = x.new_empty(front + num_frames, height + 2, (width + 2) * channels)
    middle = wide[front:, 1:-1, channels:-channels]
    for part, place in zip(_chunks(x.flatten(2)), _chunks(middle), strict=True):
        torch.addcmul(shift, part, scale, out=place)
        torch.ops.aten.silu_(place)
    return _with_border(wide, channels, front=front)


def _scale_and_shift(x: Tensor, norm: Any) -> tuple[Tensor, Tensor]:
    """Group normalisation of [T, H, W, C] as a factor and a summand for each channel, [C]."""
    means, variances, shares = [], [], []
    for part in _chunks(x):
        mean, variance = torch.batch_norm_update_stats(part.flatten(0, 2), None, None, 0.0)
        means.append(mean)
        variances.append(variance)
        shares.append(len(part) / len(x))
    # Parts and channels of a group are joined in fp64, so that large means cost no digits.
    share = torch.tensor(shares, dtype=torch.float64).unsqueeze(1)
    mean, variance = torch.stack(means).double(), torch.stack(variances).double()
    groups = (norm.num_groups, -1)
    group_mean = (share * mean).sum(0).view(groups).mean(1, keepdim=True)
    square = (share * (variance + mean.square())).sum(0).view(groups).mean(1, keepdim=True)
    scale = norm.weight.view(groups) * (square - group_mean.square() + norm.eps).rsqrt()
    shift = norm.bias.view(groups) - group_mean * scale
    return scale.flatten().float(), shift.flatten().float()


def _chunks(x: Tensor) -> Iterator[Tensor]:
    """Cut [T, ...] along the first axis into parts that a cache holds."""
    num_frames = max(1, _CHUNK_VALUES * len(x) // x.numel())
    return iter(x.split(num_frames))
