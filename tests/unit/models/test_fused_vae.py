"""The second way through the VAE's decoder agrees with the first, and knows when to step aside."""

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor, nn

from framepack.models.autoencoder import StreamingDecoder, decode_latents
from framepack.models.convolution import use_direct_convolutions
from framepack.models.fused_vae import fused_decoder

TOLERANCE = 1e-5


def _random_vae(**changed: Any) -> AutoencoderKLHunyuanVideo:
    """Every parameter random, those of norms too."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "latent_channels": 4,
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "mid_block_add_attention": False,
    }
    vae = AutoencoderKLHunyuanVideo(**{**sizes, **changed})
    generator = torch.Generator().manual_seed(1)
    for name, parameter in vae.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        width = parameter[0].numel() if parameter.ndim > 1 else 25
        parameter.data = around + noise * width**-0.5
    nn.Module.eval(vae).requires_grad_(False)
    return vae


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLHunyuanVideo:
    return _random_vae()


def _latents(num_frames: int, height: int, width: int, channels: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(num_frames)
    return torch.randn(1, channels, num_frames, height, width, generator=generator)


@torch.inference_mode()
def _reference(vae: AutoencoderKLHunyuanVideo, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decoder(vae.post_quant_conv(latents))
    return pixels


@torch.inference_mode()
def _fused(vae: AutoencoderKLHunyuanVideo, latents: Tensor) -> Tensor:
    decode = fused_decoder(vae, latents)
    assert decode is not None
    return decode(latents)


def _relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 4, 9), (3, 11, 3), (4, 4, 4), (5, 6, 4)])
def test_pixels_are_those_of_diffusers(
    vae: AutoencoderKLHunyuanVideo, shape: tuple[int, int, int]
) -> None:
    latents = _latents(*shape)
    assert _relative(_fused(vae, latents), _reference(vae, latents)) <= TOLERANCE


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"mid_block_add_attention": True}, id="attention in the middle"),
        pytest.param({"layers_per_block": 2, "latent_channels": 5}, id="more layers"),
        pytest.param({"block_out_channels": (4, 36, 40, 40)}, id="wide, not folded in one"),
        pytest.param({"block_out_channels": (8, 8, 8, 128)}, id="as wide as may be"),
        pytest.param({"out_channels": 7}, id="many channels out"),
    ],
)
def test_other_sizes_agree_too(changed: dict[str, Any]) -> None:
    other = _random_vae(**changed)
    latents = _latents(3, 4, 6, other.config.latent_channels)
    assert _relative(_fused(other, latents), _reference(other, latents)) <= TOLERANCE


def test_large_means_cost_no_digits() -> None:
    shifted = _random_vae()
    shifted.decoder.conv_in.conv.bias.data += 30.0
    latents = _latents(4, 4, 4)
    with torch.inference_mode():
        exact: Tensor = shifted.double().decoder(shifted.post_quant_conv(latents.double()))
    shifted.float()
    fused, plain = _fused(shifted, latents), _reference(shifted, latents)
    assert _relative(fused.double(), exact) <= 3 * _relative(plain.double(), exact) + 1e-6


def test_the_same_latents_give_the_same_bits_however_they_lie(
    vae: AutoencoderKLHunyuanVideo,
) -> None:
    latents = _latents(9, 4, 6)
    cut = latents[:, :, 3:8]
    found = _fused(vae, cut)
    assert found.is_contiguous()
    assert torch.equal(found, _fused(vae, cut.clone()))
    assert torch.equal(found, _fused(vae, cut.contiguous(memory_format=torch.channels_last_3d)))


def test_direct_convolutions_are_known(vae: AutoencoderKLHunyuanVideo) -> None:
    direct = _random_vae()
    use_direct_convolutions(direct)
    latents = _latents(4, 4, 4)
    assert torch.equal(_fused(direct, latents), _fused(vae, latents))


def test_changed_weights_count_at_once() -> None:
    changing = _random_vae()
    latents = _latents(4, 4, 4)
    before = _fused(changing, latents)
    upsampler: Any = changing.decoder.up_blocks[2].upsamplers[0]
    upsampler.conv.conv.weight.data[:, :, 0] *= 2
    after = _fused(changing, latents)
    assert _relative(after, before) > 1e-2
    assert _relative(after, _reference(changing, latents)) <= TOLERANCE


def test_the_streaming_decoder_takes_it(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = _latents(4, 4, 4)  # one tile
    scaled = latents / vae.config.scaling_factor
    assert torch.equal(decode_latents(vae, latents), _fused(vae, scaled))
    assert not torch.equal(_fused(vae, scaled), _reference(vae, scaled))  # rounding tells


def test_hooks_inside_the_decoder_are_called() -> None:
    hooked = _random_vae()
    calls = []
    norm: Any = hooked.decoder.up_blocks[1].resnets[0].norm1
    handle = norm.register_forward_hook(lambda *_: calls.append(1))
    StreamingDecoder(hooked).decode(_latents(4, 4, 4))
    assert calls == [1]
    handle.remove()
    StreamingDecoder(hooked).decode(_latents(4, 4, 4))
    assert calls == [1]


def _with_dropout(vae: AutoencoderKLHunyuanVideo) -> None:
    dropout: Any = vae.decoder.mid_block.resnets[0].dropout
    dropout.p = 0.5
    dropout.train()


def _padded_with_zeros(vae: AutoencoderKLHunyuanVideo) -> None:
    conv: Any = vae.decoder.conv_in
    conv.pad_mode = "constant"


def _other_activation(vae: AutoencoderKLHunyuanVideo) -> None:
    resnet: Any = vae.decoder.mid_block.resnets[0]
    resnet.nonlinearity = nn.GELU()


def _own_forward(vae: AutoencoderKLHunyuanVideo) -> None:
    vae.decoder.forward = vae.decoder.forward  # as offloading hooks of other libraries do


def _half(vae: AutoencoderKLHunyuanVideo) -> None:
    vae.decoder.to(torch.bfloat16)


@pytest.mark.parametrize(
    "change", [_with_dropout, _padded_with_zeros, _other_activation, _own_forward, _half]
)
@torch.inference_mode()
def test_another_network_goes_the_plain_way(change: Any) -> None:
    other = _random_vae()
    assert fused_decoder(other, _latents(1, 8, 8)) is not None
    change(other)
    assert fused_decoder(other, _latents(1, 8, 8)) is None


@torch.inference_mode()
def test_a_wide_network_goes_the_plain_way() -> None:
    """Its sums are long, and oneDNN rounds long ones worse: the published VAE has 512 channels."""
    latents = _latents(1, 8, 8)
    assert fused_decoder(_random_vae(block_out_channels=(8, 8, 8, 132)), latents) is None


def test_what_needs_the_modules_goes_the_plain_way(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = _latents(1, 8, 8)
    assert fused_decoder(vae, latents) is None  # gradients are on
    with torch.inference_mode():
        assert fused_decoder(vae, latents) is not None
        assert fused_decoder(vae, latents.expand(2, -1, -1, -1, -1)) is None
        assert fused_decoder(vae, latents.to("meta")) is None
        assert fused_decoder(vae, latents[..., :7]) is None  # too small to gain by it
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert fused_decoder(vae, latents) is None
