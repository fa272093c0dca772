"""Enlarged frames: without seams, of the right size, whatever the tiles."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tests.helpers.upscalers import nearest_rrdb, random_compact, random_rrdb

from framepack.domain.errors import CheckpointError, InvalidRequest
from framepack.finished import upscale
from framepack.media.codecs import LOSSLESS
from framepack.media.encode import write_video
from framepack.media.metadata import read_metadata
from framepack.media.upscale import enlarge, upscale_frames
from framepack.media.video import read_frames
from framepack.models.upscaler import CompactConfig, RRDBConfig

EXACT = {"codec": "ffv1", "pixel_format": "bgr0", "device": "cpu"}


def pixels(height=53, width=70):
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(1, 3, 8, 9, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")
    return (smooth * 255).round().to(torch.uint8)


NETWORKS = {
    "rrdb": lambda: random_rrdb(RRDBConfig(8, 4, 1)),
    "squeezed": lambda: random_rrdb(RRDBConfig(8, 4, 1, squeeze=2)),
    "compact": lambda: random_compact(CompactConfig(6, 3, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tile", [16, 24, 33, 64, 500])
def test_tiles_give_the_picture_that_is_computed_at_once(name, tile):
    network, given = NETWORKS[name](), pixels()
    whole = enlarge(given, network, tile=0)
    tiled = enlarge(given, network, tile=tile)
    assert tiled.shape == whole.shape
    assert (tiled.int() - whole.int()).abs().max() <= 1
    assert whole.float().std() > 3  # something is seen


def test_without_overlap_seams_show():
    network, given = NETWORKS["rrdb"](), pixels()
    whole = enlarge(given, network, tile=0).int()
    assert (enlarge(given, network, tile=16, overlap=0).int() - whole).abs().max() > 3


def test_a_network_that_repeats_pixels_repeats_those_of_frames(waves):
    frames = waves(3)
    made = np.stack(list(upscale_frames(iter(frames), nearest_rrdb(), tile=16)))
    assert np.array_equal(made, frames.repeat(4, axis=1).repeat(4, axis=2))


def test_no_tile_is_larger_than_asked_for(waves):
    seen = []
    network = nearest_rrdb()

    class Watched:
        scale, multiple = network.scale, network.multiple

        def __call__(self, pictures):
            seen.append(pictures.shape[-2:])
            return network(pictures)

    enlarge(pixels(200, 300), Watched(), tile=32, overlap=8)
    assert max(max(shape) for shape in seen) == 32 + 2 * 8
    assert len(seen) == 7 * 10


@pytest.fixture
def video(folder, waves):
    path = folder / "small.mkv"
    document = {"program": "framepack", "request": {"prompt": "a dog"}}
    write_video(
        list(waves(4)), path, width=64, height=48, fps=8, video_format=LOSSLESS, document=document
    )
    return path


@pytest.fixture
def weights(folder):
    path = folder / "repeat.safetensors"
    save_file(nearest_rrdb(RRDBConfig(8, 4, 1, 1)).state_dict(), path)
    return path


def test_a_video_is_enlarged_frame_by_frame(folder, video, weights, waves):
    told = []
    made = upscale(
        video,
        output=folder / "large.mkv",
        weights=weights,
        tile=16,
        on_progress=lambda done, total: told.append((done, total)),
        **EXACT,
    )
    assert (made.width, made.height, made.num_frames, made.fps) == (128, 96, 4, 8)
    assert told == [(number, 4) for number in range(1, 5)]
    found = np.stack(list(read_frames(made.path)))
    assert np.array_equal(found, waves(4).repeat(2, axis=1).repeat(2, axis=2))
    clip = read_metadata(made.path)["clip"]
    assert clip["upscaler"]["weights"] == "repeat.safetensors"
    assert clip["upscaler"]["scale"] == 2
    assert len(clip["upscaler"]["sha256"]) == 64
    assert clip["sources"] == [{"name": "small.mkv", "request": {"prompt": "a dog"}}]


def test_another_size_is_scaled_to_after_enlarging(folder, video, weights):
    made = upscale(
        video, output=folder / "large.mkv", weights=weights, size="96x72", end_s=0.25, **EXACT
    )
    assert (made.width, made.height, made.num_frames) == (96, 72, 2)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"weights": "missing.pth"}, InvalidRequest, "missing.pth does not exist"),
        ({"tile": 8}, InvalidRequest, r"tile \(--tile\) is 8; it must be 0"),
        ({"tile": -1}, InvalidRequest, "--tile"),
        ({"size": "3x3"}, InvalidRequest, "--size"),
        ({"codec": "nosuch"}, InvalidRequest, "no video encoder"),
        ({"device": "cuda:99"}, InvalidRequest, "is not there"),
    ],
)
def test_what_cannot_be_is_refused_before_a_file_is_there(
    folder, video, weights, fields, error, message
):
    given = {"weights": weights, "device": "cpu", **fields}
    with pytest.raises(error, match=message):
        upscale(video, output=folder / "new" / "large.mp4", **given)
    assert not (folder / "new").exists()


def test_weights_of_another_network_are_refused(folder, video):
    path = folder / "other.safetensors"
    save_file({"layers.0.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(CheckpointError, match="another network than ESRGAN"):
        upscale(video, output=folder / "new" / "large.mp4", weights=path, device="cpu")
    assert not (folder / "new").exists()
