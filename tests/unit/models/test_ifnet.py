"""IFNet: published layouts, any time, and a warp that fetches pixels from where it says."""

from dataclasses import replace

import pytest
import torch
from tests.helpers.ifnets import LAYOUTS, SMALL_LAYOUT, published_shapes, random_ifnet

from framepack.models.ifnet import IFNet, IFNetConfig, infer_config, warp


def shapes_of(network):
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("version", LAYOUTS)
def test_keys_and_shapes_are_the_published_ones(version):
    with torch.device("meta"):
        network = IFNet(LAYOUTS[version])
    prefixed = {f"module.{key}": shape for key, shape in shapes_of(network).items()}
    assert prefixed == published_shapes(version)


@pytest.mark.parametrize("version", LAYOUTS)
def test_the_layout_follows_from_the_shapes(version):
    shapes = {key.removeprefix("module."): s for key, s in published_shapes(version).items()}
    assert infer_config(shapes) == LAYOUTS[version]


def test_other_networks_have_no_layout():
    assert infer_config({"block0.conv0.1.0.weight": (8, 4, 3, 3)}) is None
    assert infer_config({}) is None


@pytest.mark.parametrize(
    "config",
    [
        SMALL_LAYOUT,
        IFNetConfig((8, 8, 8, 8), encoder="two", encoder_width=4, features=2),
        IFNetConfig((12, 10, 8, 6), encoder="four", encoder_width=4, features=3),
        IFNetConfig((8, 8, 8, 8), encoder="named", encoder_width=4, features=2),
    ],
)
def test_a_frame_comes_out_as_it_went_in(config):
    network = random_ifnet(config)
    first, second = torch.rand(2, 2, 3, 32, 96)
    steps = network.steps(first, second, torch.tensor([0.25, 0.75]))
    assert [step.frame.shape for step in steps] == [first.shape] * 4
    assert steps[-1].flow.shape == (2, 4, 32, 96)
    assert steps[-1].mask.shape == (2, 1, 32, 96)
    made = network(first, second, torch.tensor([0.25, 0.75]))
    assert torch.equal(made, steps[-1].frame)
    assert made.min() >= 0
    assert made.max() <= 1


def test_each_time_gives_another_frame():
    network = random_ifnet()
    first, second = torch.rand(2, 1, 3, 32, 32)
    made = [network(first, second, torch.tensor([time])) for time in (0.2, 0.5, 0.8)]
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])


def test_members_of_a_batch_do_not_touch():
    network = random_ifnet()
    first, second = torch.rand(2, 3, 3, 32, 32)
    times = torch.tensor([0.2, 0.5, 0.8])
    together = network(first, second, times)
    for index in range(3):
        part = slice(index, index + 1)
        alone = network(first[part], second[part], times[part])
        assert torch.allclose(alone, together[part], atol=1e-5)


def test_without_motion_and_with_a_mask_of_zero_the_frame_is_the_mean():
    network = random_ifnet()
    for name, parameter in network.named_parameters():
        if "lastconv" in name:
            parameter.zero_()
    first, second = torch.rand(2, 1, 3, 32, 32)
    made = network(first, second, torch.tensor([0.3]))
    assert torch.allclose(made, (first + second) / 2, atol=1e-5)


def test_plain_blocks_add_to_the_mask_and_blocks_with_features_replace_it():
    """Versions up to 4.6 sum the masks of the blocks, later ones take the last."""

    def final_mask(config):
        network = random_ifnet(config)
        for index in range(4):
            last = network.get_submodule(f"block{index}.lastconv.0")
            last.weight.zero_()
            last.bias.zero_()
            # Channels 4 to 7 times four are the mask's, before the pixels are shuffled.
            last.bias[16:20] = index + 1.0
        first, second = torch.rand(2, 1, 3, 32, 32)
        return network.steps(first, second, torch.tensor([0.5]))[-1].mask

    assert torch.allclose(final_mask(SMALL_LAYOUT), torch.tensor(1.0 + 2 + 3 + 4))
    seen = IFNetConfig((8, 8, 8, 8), encoder="named", encoder_width=4, features=2)
    assert torch.allclose(final_mask(seen), torch.tensor(4.0))


def test_own_weights_see_means_and_published_ones_four_pixels():
    """A row of pixels that the published shrinking passes over, ours sees."""
    first = torch.zeros(1, 3, 32, 32)
    marked = first.clone()
    marked[:, :, ::8] = 1  # outermost of eight, so never among the four in the middle
    time = torch.tensor([0.5])
    published, own = (
        random_ifnet(replace(SMALL_LAYOUT, smooth=smooth)) for smooth in (False, True)
    )
    assert torch.equal(*(published.steps(x, x, time)[0].flow for x in (first, marked)))
    assert not torch.equal(*(own.steps(x, x, time)[0].flow for x in (first, marked)))


def test_own_weights_say_so_in_their_keys():
    network = random_ifnet(replace(SMALL_LAYOUT, smooth=True))
    assert infer_config(shapes_of(network)) == replace(SMALL_LAYOUT, smooth=True)


def test_sizes_that_do_not_fit_are_refused():
    network = random_ifnet()
    picture = torch.rand(1, 3, 32, 40)
    with pytest.raises(ValueError, match=r"40 x 32 px; IFNet needs multiples of 32"):
        network(picture, picture, torch.tensor([0.5]))


def test_the_warp_fetches_from_where_the_flow_points():
    generator = torch.Generator().manual_seed(3)
    picture = torch.rand(1, 2, 6, 7, generator=generator)
    flow = torch.randn(1, 2, 6, 7, generator=generator) * 3
    warped = warp(picture, flow)
    for y in range(6):
        for x in range(7):
            at_x = min(max(x + float(flow[0, 0, y, x]), 0.0), 6.0)
            at_y = min(max(y + float(flow[0, 1, y, x]), 0.0), 5.0)
            left, top = min(int(at_x), 5), min(int(at_y), 4)
            right, down = at_x - left, at_y - top
            by_hand = (
                picture[0, :, top, left] * (1 - right) * (1 - down)
                + picture[0, :, top, left + 1] * right * (1 - down)
                + picture[0, :, top + 1, left] * (1 - right) * down
                + picture[0, :, top + 1, left + 1] * right * down
            )
            assert torch.allclose(warped[0, :, y, x], by_hand, atol=1e-4)


def test_whole_pixels_are_moved_without_loss():
    picture = torch.rand(1, 3, 8, 8)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2
    assert torch.allclose(warp(picture, flow)[..., :-2], picture[..., 2:], atol=1e-5)
