"""Decoding equals diffusers', reuses what it has, and forgets what it no longer needs."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from tests.helpers.vae import small_vae
from torch import Tensor

from framepack.domain.errors import CheckpointError
from framepack.models.autoencoder import (
    LatentPreview,
    StreamingDecoder,
    decode_latents,
    tile_starts,
)
from framepack.models.convolution import use_direct_convolutions

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLHunyuanVideo:
    return small_vae()


def _latents(num_frames: int, height: int = 4, width: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 4, num_frames, height, width, generator=generator)


@torch.inference_mode()
def _reference(vae: AutoencoderKLHunyuanVideo, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    return pixels


class CountingDecoder(StreamingDecoder):
    """Counts how often the network runs."""

    runs = 0

    def _network(self, latents: Tensor) -> Tensor:
        self.runs += 1
        return super()._network(latents)


@pytest.mark.parametrize("num_frames", [1, 2, 4, 5, 6, 7, 8, 9, 10, 18, 19])
def test_decoding_equals_diffusers_at_every_length(
    vae: AutoencoderKLHunyuanVideo, num_frames: int
) -> None:
    latents = _latents(num_frames)
    pixels = decode_latents(vae, latents)
    expected = _reference(vae, latents)
    assert pixels.shape == (1, 3, 4 * num_frames - 3, 32, 48)
    assert (pixels - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_spatial_tiles_equal_diffusers(vae: AutoencoderKLHunyuanVideo) -> None:
    tiled = copy.deepcopy(vae)
    tiled.enable_tiling(64, 64, tile_sample_stride_height=48, tile_sample_stride_width=48)
    for size in ((9, 13), (16, 8), (15, 20)):
        latents = _latents(6, *size)
        found = decode_latents(vae, latents, spatial_tile_px=64)
        expected = _reference(tiled, latents)
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_spatial_tiles_change_nothing_for_small_frames(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = _latents(5, 8, 8)
    assert torch.equal(
        decode_latents(vae, latents, spatial_tile_px=64), decode_latents(vae, latents)
    )


@pytest.mark.parametrize("side", [0, 16, 100])
def test_an_odd_spatial_tile_is_refused(vae: AutoencoderKLHunyuanVideo, side: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        StreamingDecoder(vae, spatial_tile_px=side)


def test_direct_convolutions_agree_with_torchs(vae: AutoencoderKLHunyuanVideo) -> None:
    direct = copy.deepcopy(vae)
    use_direct_convolutions(direct)
    latents = _latents(9)
    expected = _reference(vae, latents)
    found = decode_latents(direct, latents)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_direct_convolutions_still_have_gradients(vae: AutoencoderKLHunyuanVideo) -> None:
    direct = copy.deepcopy(vae)
    use_direct_convolutions(direct)
    direct.requires_grad_(True)
    direct.post_quant_conv(_latents(1)).sum().backward()
    assert direct.post_quant_conv.weight.grad is not None


@pytest.mark.parametrize(
    ("first", "second", "num_new"),
    [
        pytest.param(slice(9, 27), slice(0, 18), 4, id="backward"),
        pytest.param(slice(18, 27), slice(9, 27), 3, id="backward, second window"),
        pytest.param(slice(10, 28), slice(0, 19), 6, id="backward, last window"),
        pytest.param(slice(0, 18), slice(9, 27), 4, id="forward"),
        pytest.param(slice(0, 10), slice(1, 19), 6, id="forward, second window"),
    ],
)
def test_overlapping_windows_reuse_tiles_bit_for_bit(
    vae: AutoencoderKLHunyuanVideo, first: slice, second: slice, num_new: int
) -> None:
    video = _latents(28)
    decoder = CountingDecoder(vae)
    decoder.decode(video[:, :, first])
    decoder.runs = 0
    pixels = decoder.decode(video[:, :, second])
    assert decoder.runs == decoder.counts.decoded == num_new
    assert decoder.counts.reused == 6 - num_new
    assert torch.equal(pixels, decode_latents(vae, video[:, :, second]))


def test_a_reused_tile_is_not_changed_by_blending(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = _latents(18)
    decoder = CountingDecoder(vae)
    once = decoder.decode(latents)
    assert torch.equal(decoder.decode(latents), once)
    assert decoder.counts == (0, 6)
    assert torch.equal(once, decode_latents(vae, latents))


def test_one_changed_latent_frame_changes_what_is_reused(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = _latents(18)
    decoder = StreamingDecoder(vae)
    decoder.decode(latents)
    other = latents.clone()
    other[:, :, 10, 0, 0] += 1e-3
    assert torch.equal(decoder.decode(other), decode_latents(vae, other))
    assert decoder.counts == (2, 4)  # the tiles from frames 6 and 9 on hold frame 10


def test_only_one_window_is_remembered(vae: AutoencoderKLHunyuanVideo) -> None:
    decoder = StreamingDecoder(vae)
    sizes = set()
    for seed in range(4):
        decoder.decode(_latents(18, seed=seed))
        sizes.add(sum(tile.pixels.numel() for tile in decoder.kept))
    assert len(sizes) == 1


def test_tiles_wait_in_the_networks_number_format(vae: AutoencoderKLHunyuanVideo) -> None:
    half = copy.deepcopy(vae)
    torch.nn.Module.to(half, torch.bfloat16)
    video = _latents(27)
    decoder = StreamingDecoder(half)
    decoder.decode(video[:, :, :18])
    assert {tile.pixels.dtype for tile in decoder.kept} == {torch.bfloat16}
    pixels = decoder.decode(video[:, :, 9:])
    assert decoder.counts == (4, 2)
    assert torch.equal(pixels, decode_latents(half, video[:, :, 9:]))


def test_bf16_decoding_stays_close(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = _latents(5)
    expected = decode_latents(vae, latents)
    half = copy.deepcopy(vae)
    torch.nn.Module.to(half, torch.bfloat16)
    found = decode_latents(half, latents)
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_a_batch_is_refused(vae: AutoencoderKLHunyuanVideo) -> None:
    with pytest.raises(ValueError, match=r"\[2, 4, 5, 4, 6\]"):
        decode_latents(vae, _latents(5).expand(2, -1, -1, -1, -1))


def test_tiles_start_where_they_add_frames() -> None:
    assert list(tile_starts(1)) == [0]
    assert list(tile_starts(9)) == [0, 3, 6]
    assert list(tile_starts(10)) == [0, 3, 6]
    assert list(tile_starts(18)) == [0, 3, 6, 9, 12, 15]


def test_a_preview_maps_latents_to_colours(tmp_path: Path) -> None:
    matrix = torch.zeros(4, 3)
    matrix[1, 0] = 1.0
    LatentPreview(matrix, torch.tensor([0.0, -1.0, 1.0])).save(tmp_path)
    preview = LatentPreview.load(tmp_path, num_channels=4)
    assert preview is not None
    latents = torch.zeros(1, 4, 2, 1, 1)
    latents[0, 1, 1] = 3.0
    frames = preview.frames(latents)
    assert frames.dtype == np.uint8
    assert frames[:, 0, 0].tolist() == [[128, 0, 255], [255, 0, 255]]
    assert preview.strip(latents).shape == (1, 2, 3)


def test_no_preview_file_means_no_preview(tmp_path: Path) -> None:
    assert LatentPreview.load(tmp_path, num_channels=4) is None


def test_a_preview_of_another_vae_is_refused(tmp_path: Path) -> None:
    LatentPreview(torch.zeros(4, 3), torch.zeros(3)).save(tmp_path)
    with pytest.raises(CheckpointError, match=r"needed: \[16, 3\]"):
        LatentPreview.load(tmp_path, num_channels=16)


def test_a_damaged_preview_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preview.json").write_text('{"matrix": 3}')
    with pytest.raises(CheckpointError, match=r"preview\.json cannot be read"):
        LatentPreview.load(tmp_path, num_channels=16)
