"""The tiny VAE computes what its formulas say, from the past alone, in flat memory."""

import gc
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from tests.helpers.tiny_vae import SMALL_LAYOUT, random_tiny_vae
from torch import Tensor

from framepack.domain.errors import CheckpointError
from framepack.models.tiny_vae import (
    MemoryBlock,
    TimeGrow,
    TinyVaeDecoder,
    TinyVaeLayout,
    TinyVaeStream,
)

TOLERANCE = 1e-5
PUBLISHED = TinyVaeLayout(16, (256, 128, 64, 64), (1, 2, 2), 1)
"""HunyuanVideo's."""


def _latents(num_frames: int, channels: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, num_frames, 3, 5, generator=generator)


def _by_hand(weights: Mapping[str, Tensor], latents: Tensor) -> Tensor:
    """All latents at once, block after block, from the formulas of the layout alone."""

    def conv(x: Tensor, name: str) -> Tensor:
        weight = weights[f"decoder.{name}.weight"]
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, weights.get(f"decoder.{name}.bias"), padding=padding)

    x = latents[0].transpose(0, 1)  # [T, C, h, w]
    x = F.relu(conv(3 * torch.tanh(x / 3), "1"))
    for stage in range(3):
        for place in range(3 + 6 * stage, 6 + 6 * stage):
            past = torch.cat([torch.zeros_like(x[:1]), x])[:-1]
            inner = F.relu(conv(torch.cat([x, past], 1), f"{place}.conv.0"))
            inner = conv(F.relu(conv(inner, f"{place}.conv.2")), f"{place}.conv.4")
            x = F.relu(inner + x)
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        grown = conv(x, f"{7 + 6 * stage}.conv")
        x = grown.reshape(-1, x.shape[1], *x.shape[2:])
        x = conv(x, str(8 + 6 * stage))
    x = conv(F.relu(x), "22")
    return (2 * x[3:] - 1).transpose(0, 1)[None]


@torch.inference_mode()
def test_a_memory_block_is_its_formula() -> None:
    torch.manual_seed(0)
    block = MemoryBlock(2)
    x, past = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    weight, bias = block.conv[0].weight, block.conv[0].bias
    # [x, past]: the first half of the kernel sees this frame, the second the one before.
    inner = F.conv2d(x, weight[:, :2], bias, padding=1) + F.conv2d(past, weight[:, 2:], padding=1)
    for layer in (block.conv[2], block.conv[4]):
        inner = F.conv2d(F.relu(inner), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(block(x, past), F.relu(inner + x))


@torch.inference_mode()
def test_a_memory_block_remembers_nothing_before_the_first_frame() -> None:
    torch.manual_seed(0)
    block, x = MemoryBlock(3), torch.randn(2, 3, 4, 4)
    assert torch.equal(block(x, None), block(x, torch.zeros(1, 3, 4, 4)))
    second = block(x[1:], x[:1])
    torch.testing.assert_close(block(x, None)[1:], second)


@torch.inference_mode()
def test_time_grows_frame_by_frame() -> None:
    grow = TimeGrow(2, 3)
    x = torch.randn(2, 2, 4, 4)
    found = grow(x)
    assert found.shape == (6, 2, 4, 4)
    for frame in range(6):
        kernel = grow.conv.weight[2 * (frame % 3) : 2 * (frame % 3) + 2]
        torch.testing.assert_close(found[frame], F.conv2d(x[frame // 3], kernel))


@pytest.mark.parametrize("num_frames", [1, 2, 9])
def test_decoding_equals_the_formulas(num_frames: int) -> None:
    network, latents = random_tiny_vae(), _latents(num_frames)
    expected = _by_hand(network.state_dict(), latents)
    found = network.decode(latents)
    assert found.shape == (1, 3, 4 * num_frames - 3, 24, 40)
    assert expected.std() > 0.1
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("pieces", [(1,) * 12, (5, 7), (9, 1, 2)])
def test_pieces_equal_the_whole_bit_for_bit(pieces: tuple[int, ...]) -> None:
    network, latents = random_tiny_vae(), _latents(12)
    stream = TinyVaeStream(network)
    found = [stream.decode(piece) for piece in latents.split(pieces, dim=2)]
    assert [clip.shape[2] for clip in found] == [
        4 * number - (3 if index == 0 else 0) for index, number in enumerate(pieces)
    ]
    assert torch.equal(torch.cat(found, dim=2), network.decode(latents))


def test_a_frame_depends_on_eight_latents_before_its_own_and_on_nothing_after() -> None:
    network, latents = random_tiny_vae(), _latents(20)
    past = network.layout.past_latents
    assert past == PUBLISHED.past_latents == 8
    whole = network.decode(latents)
    cut = network.decode(latents[:, :, 3:])
    # Latent 3 + past is the first that sees all it depends on; its frames are 4 * n - 3 to 4 * n.
    exact = 4 * (3 + past) - 3
    assert torch.equal(cut[:, :, -(77 - exact) :], whole[:, :, exact:])
    # Of the latent before it, the first two frames reach back to what was cut off.
    assert not torch.equal(cut[:, :, -(77 - exact) - 3], whole[:, :, exact - 3])
    assert torch.equal(network.decode(latents[:, :, :11]), whole[:, :, :41])


def test_memory_does_not_grow_with_the_video() -> None:
    network = random_tiny_vae()
    stream, held = TinyVaeStream(network), set()
    for seed in range(6):
        stream.decode(_latents(2, seed=seed))
        gc.collect()
        # What the storages hold, so that a view that keeps more than it shows counts in full.
        held.add(sum(t.untyped_storage().nbytes() for t in stream._memory.values()))
    assert len(held) == 1
    places = 15 * (8 + 4 * 6) * 3 * 4  # h * w of a latent frame; a block of each stage, fp32
    assert held.pop() <= 2 * places * 4


def test_the_number_format_is_the_networks() -> None:
    network, latents = random_tiny_vae(), _latents(3)
    expected = network.decode(latents)
    found = network.to(torch.bfloat16).decode(latents)
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()


@pytest.mark.parametrize("shape", [(1, 5, 2, 3, 5), (2, 4, 2, 3, 5), (1, 4, 0, 3, 5), (4, 2, 3, 5)])
def test_other_latents_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needed are \[1, 4, T, h, w\]"):
        random_tiny_vae().decode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("layout", "strides"),
    [
        (PUBLISHED, (8, 4)),
        (SMALL_LAYOUT, (8, 4)),
        (TinyVaeLayout(32, (256, 128, 64, 64), (1, 2, 2), 2), (16, 4)),
        (TinyVaeLayout(128, (8, 8, 8, 8), (2, 2, 2), 4), (32, 8)),
    ],
)
def test_sizes_are_read_off_the_weights(layout: TinyVaeLayout, strides: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = TinyVaeDecoder(layout)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert TinyVaeLayout.of(shapes) == layout
    assert (layout.spatial_stride, layout.temporal_stride) == strides


def test_published_weights_have_these_names_and_shapes() -> None:
    with torch.device("meta"):
        network = TinyVaeDecoder(PUBLISHED)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["decoder.1.weight"] == (256, 16, 3, 3)
    assert shapes["decoder.3.conv.0.weight"] == (256, 512, 3, 3)
    assert shapes["decoder.7.conv.weight"] == (256, 256, 1, 1)
    assert shapes["decoder.13.conv.weight"] == (256, 128, 1, 1)
    assert shapes["decoder.19.conv.weight"] == (128, 64, 1, 1)
    assert shapes["decoder.20.weight"] == (64, 64, 3, 3)
    assert shapes["decoder.22.weight"] == (3, 64, 3, 3)
    assert "decoder.8.bias" not in shapes
    blocks = {
        f"{place}.conv.{layer}" for place in (3, 4, 5, 9, 10, 11, 15, 16, 17) for layer in (0, 2, 4)
    }
    convolutions = {"1", "22", *blocks}
    bare = {"7.conv", "8", "13.conv", "14", "19.conv", "20"}
    assert shapes.keys() == {f"decoder.{name}.weight" for name in convolutions | bare} | {
        f"decoder.{name}.bias" for name in convolutions
    }


def test_weights_of_another_layout_are_refused() -> None:
    shapes = {name: tuple(t.shape) for name, t in random_tiny_vae().state_dict().items()}
    for name, shape, message in (
        ("decoder.1.weight", None, r"decoder\.1\.weight is missing"),
        ("decoder.1.weight", (8, 4), r"decoder\.1\.weight has the shape \[8, 4\]"),
        ("decoder.22.weight", (6, 4, 3, 3), "gives 6 values"),
        ("decoder.13.conv.weight", (9, 6, 1, 1), "make 8/8, 9/6, 12/6 frames of one"),
    ):
        changed = {key: value for key, value in shapes.items() if key != name}
        if shape is not None:
            changed[name] = shape
        with pytest.raises(CheckpointError, match=message):
            TinyVaeLayout.of(changed)
