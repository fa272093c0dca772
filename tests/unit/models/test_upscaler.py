"""Networks that enlarge pictures: their names, their sizes, and what plain weights make."""

import pytest
import torch
import torch.nn.functional as F
from tests.helpers.upscalers import (
    SMALL,
    first_layout,
    nearest_rrdb,
    random_compact,
    random_rrdb,
    second_layout,
)

from framepack.models.upscaler import (
    CompactConfig,
    CompactNet,
    RRDBConfig,
    RRDBNet,
    canonical_names,
    infer_config,
)


def shapes_of(tensors):
    names = canonical_names(tensors)
    return {names[name]: tensor.shape for name, tensor in tensors.items()}


def picture(height=5, width=7, seed=1):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("doublings", "squeeze", "scale"),
    [(2, 1, 4), (2, 2, 2), (2, 4, 1), (1, 1, 2), (3, 1, 8), (0, 1, 1)],
)
def test_sizes_are_multiplied_whatever_they_are(doublings, squeeze, scale):
    config = RRDBConfig(8, 4, 1, num_doublings=doublings, squeeze=squeeze)
    assert config.scale == scale
    made = random_rrdb(config)(picture(5, 7))
    assert made.shape == (1, 3, 5 * scale, 7 * scale)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_compact_network_multiplies_sizes_too(scale):
    made = random_compact(CompactConfig(4, 2, scale))(picture(5, 7))
    assert made.shape == (1, 3, 5 * scale, 7 * scale)


@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_weights_that_pass_pixels_on_repeat_them(doublings):
    config = RRDBConfig(8, 4, 2, num_doublings=doublings)
    given = picture()
    made = nearest_rrdb(config)(given)
    assert torch.equal(made, F.interpolate(given, scale_factor=config.scale, mode="nearest"))


def test_a_compact_network_without_weights_repeats_pixels():
    network = CompactNet(CompactConfig(4, 2, 3))
    for tensor in network.state_dict().values():
        tensor.zero_()
    given = picture()
    assert torch.equal(network(given), F.interpolate(given, scale_factor=3, mode="nearest"))


def test_every_layer_matters():
    given, network = picture(), random_rrdb()
    plain = network(given)
    for name, tensor in network.state_dict().items():
        kept = tensor.clone()
        tensor.mul_(0.5).add_(0.01)
        assert not torch.allclose(network(given), plain, atol=1e-6), name
        tensor.copy_(kept)


@pytest.mark.parametrize("config", [SMALL, RRDBConfig(8, 4, 1, 1, 1), RRDBConfig(8, 4, 3, 3, 2)])
def test_configs_are_read_off_all_layouts(config):
    network = random_rrdb(config)
    tensors = network.state_dict()
    assert infer_config(shapes_of(tensors)) == config
    assert infer_config(shapes_of(first_layout(network, config))) == config
    assert (
        infer_config(shapes_of({f"module.{name}": each for name, each in tensors.items()}))
        == config
    )


def test_the_second_layout_has_the_same_names_after_reading():
    network = random_rrdb()
    assert "RRDB_trunk.1.RDB3.conv5.weight" in second_layout(network)
    assert shapes_of(second_layout(network)).keys() == network.state_dict().keys()


def test_compact_configs_are_read_off_shapes():
    config = CompactConfig(6, 3, 2)
    assert infer_config(shapes_of(random_compact(config).state_dict())) == config


@pytest.mark.parametrize("config", [RRDBConfig(), RRDBConfig(num_blocks=6), RRDBConfig(squeeze=2)])
def test_published_shapes_are_known(config):
    with torch.device("meta"):
        network = RRDBNet(config)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert shapes["conv_first.weight"] == (64, 3 * config.squeeze**2, 3, 3)
    assert shapes["body.0.rdb1.conv5.weight"] == (64, 192, 3, 3)
    assert infer_config(shapes) == config


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"model.0.weight": torch.Size((64, 3, 3, 3))},
        {
            "conv_first.weight": torch.Size((64, 4, 3, 3)),
            "body.0.rdb1.conv1.weight": torch.Size((32, 64, 3, 3)),
        },
        {"body.0.weight": torch.Size((64, 3, 3, 3)), "body.1.weight": torch.Size((64, 64, 3, 3))},
    ],
)
def test_other_networks_are_not_taken_for_one(shapes):
    names = canonical_names(shapes)
    assert infer_config({names[name]: shape for name, shape in shapes.items()}) is None
