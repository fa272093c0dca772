"""Plans against a device that counts bytes: what is planned is never exceeded."""

import random

import pytest

from framepack.memory.placement import (
    MODES,
    NUM_BUFFERS,
    DecodeSize,
    Mode,
    NetworkPlacement,
    NetworkSize,
    Placement,
    PlacementError,
    place_group,
    plan_placement,
    section_working_bytes,
    tile_side,
)

GB = 10**9
DOUBLE, SINGLE = 453_000_000, 227_000_000


class FakeDevice:
    """Memory of so many bytes; taking more than there is fails, as on a real one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.peak = 0

    def take(self, num_bytes: int) -> int:
        self.used += num_bytes
        self.peak = max(self.peak, self.used)
        if self.used > self.size:
            raise MemoryError(f"{self.used} of {self.size}")
        return num_bytes

    def free(self, num_bytes: int) -> None:
        self.used -= num_bytes


def play(
    placement: Placement,
    groups: dict[str, list[NetworkSize]],
    decode: DecodeSize,
    device: FakeDevice,
    num_sections: int = 2,
) -> None:
    """Run a plan as the pipeline does, block by block, from the sizes and not from its sums."""
    order = ["text", "vision", "vae"] + ["transformer", "vae"] * num_sections
    stays: dict[str, int] = {}
    if placement.all_stay:
        stays = {name: bring(placement.groups[name], groups[name], device) for name in groups}
    for name in order:
        held = 0 if name in stays else bring(placement.groups[name], groups[name], device)
        for size, network in zip(groups[name], placement.groups[name], strict=True):
            work(size, network, decode, placement.tile_px, device)
        device.free(held)
    device.free(sum(stays.values()))
    assert device.used == 0


def bring(
    networks: tuple[NetworkPlacement, ...], sizes: list[NetworkSize], device: FakeDevice
) -> int:
    held = 0
    for network, size in zip(networks, sizes, strict=True):
        if network.form == "whole":
            held += device.take(size.rest_bytes) + sum(map(device.take, size.block_bytes))
            held += device.take(size.tabled_bytes)
        elif network.form == "layers":
            held += device.take(min(NUM_BUFFERS * size.layer_bytes, size.weight_bytes))
        else:
            held += device.take(size.rest_bytes)
            held += sum(device.take(size.block_bytes[index]) for index in network.resident)
            left = set(range(len(size.block_bytes))) - set(network.resident)
            streamed = [size.block_bytes[index] for index in left]
            largest = max((*streamed, size.tabled_layer_bytes))
            held += sum(device.take(largest) for _ in range(NUM_BUFFERS))
    return held


def work(
    size: NetworkSize,
    network: NetworkPlacement,
    decode: DecodeSize,
    tile: int | None,
    device: FakeDevice,
) -> None:
    activations = size.working_bytes
    if size.name == "vae":
        pixels = tile * tile if tile else decode.height * decode.width
        activations = max(activations, decode.pixel_bytes * pixels)
    device.free(device.take(activations))


def random_model(rng: random.Random) -> dict[str, list[NetworkSize]]:
    def network(name: str, largest: int, blocks: int) -> NetworkSize:
        sizes = tuple(rng.randint(1, largest) for _ in range(rng.randint(1, blocks)))
        layer = max(1, max(sizes) // rng.randint(1, 8))
        rest, working = rng.randint(0, largest), rng.randint(0, largest)
        tabled = rng.randint(0, max(sizes)) if name == "transformer" else 0
        return NetworkSize(
            name,
            rest,
            sizes,
            layer,
            working,
            tabled_bytes=tabled * len(sizes),
            tabled_layer_bytes=tabled,
        )

    vae = NetworkSize("vae", rng.randint(1, 50), (), rng.randint(1, 20), rng.randint(0, 50))
    return {
        "text": [network("text_encoder", 400, 32), network("text_encoder_2", 20, 12)],
        "vision": [network("image_encoder", 30, 27)],
        "vae": [vae],
        "transformer": [network("transformer", 600, 60)],
    }


def test_a_hundred_random_plans_never_exceed_the_budget() -> None:
    rng = random.Random(6)
    num_planned, taken = 0, set()
    while num_planned < 100:
        groups = random_model(rng)
        decode = DecodeSize(rng.randint(32, 1280), rng.randint(32, 1280), rng.randint(1, 4))
        budget = int(10 ** rng.uniform(4.2, 7.2))
        reserve = rng.randint(0, budget // 3)
        mode = rng.choice(["auto", *MODES])
        try:
            placement = plan_placement(
                groups, decode, budget_bytes=budget, reserve_bytes=reserve, mode=mode
            )
        except PlacementError:
            continue
        device = FakeDevice(budget - reserve)
        play(placement, groups, decode, device)
        assert device.peak <= placement.peak_bytes <= budget - reserve
        num_planned += 1
        taken.add(placement.mode)
    assert taken == set(MODES) - {"disk"} | ({"disk"} & taken)


def test_the_fake_device_notices_a_plan_that_takes_too_much() -> None:
    groups = random_model(random.Random(1))
    decode = DecodeSize(64, 64, 1)
    placement = plan_placement(groups, decode, budget_bytes=10**9, mode="none")
    with pytest.raises(MemoryError):
        play(placement, groups, decode, FakeDevice(placement.peak_bytes // 2))


def published(num_tokens: int = 18795) -> NetworkSize:
    """The 13B's transformer in bf16; its modulation is not among its blocks."""
    return NetworkSize(
        "transformer",
        300_000_000,
        (DOUBLE,) * 20 + (SINGLE,) * 40,
        151_000_000,
        section_working_bytes(num_tokens, 3072, 2),
        tabled_bytes=6_800_000_000,
        tabled_layer_bytes=113_000_000,
    )


def test_activations_are_those_measured_on_the_13b() -> None:
    """A single-stream block takes 2.14 GB at 18795 tokens; a tenth more is reckoned with."""
    assert section_working_bytes(18795, 3072, 2) == pytest.approx(1.1 * 2.14 * GB, rel=0.02)


def test_13_billion_parameters_fit_6_gb() -> None:
    (placed,) = place_group([published()], 6 * GB, "balanced")
    assert placed.form == "blocks"
    assert placed.peak_bytes <= 6 * GB
    assert 2 <= len(placed.resident) < 60


def test_more_budget_keeps_more_blocks_until_all_are_there() -> None:
    counts = []
    for budget in (6, 10, 16, 24, 40):
        (placed,) = place_group([published()], budget * GB, "balanced")
        counts.append(61 if placed.form == "whole" else len(placed.resident))
    assert counts == sorted(counts)
    assert 0 < counts[0] < 60
    assert counts[-2:] == [60, 61], "all blocks but not their modulation; then that as well"


def test_streamed_blocks_lie_evenly_between_resident_ones() -> None:
    size = NetworkSize("transformer", 0, (10,) * 12)
    (placed,) = place_group([size], 60, "balanced")
    assert placed.resident == (0, 3, 6, 9)


def test_group_keeps_no_block_and_disk_says_where_they_come_from() -> None:
    (group,) = place_group([published()], 40 * GB, "group")
    (disk,) = place_group([published()], 40 * GB, "disk")
    assert (group.form, group.resident, group.from_disk) == ("blocks", (), False)
    assert (disk.form, disk.resident, disk.from_disk) == ("blocks", (), True)


def test_layer_by_layer_a_vae_stays_whole_if_it_fits() -> None:
    vae = NetworkSize("vae", 490_000_000, (), 28_000_000, 70_000_000)
    (fits,) = place_group([vae], GB, "sequential")
    (small,) = place_group([vae], GB // 2, "sequential")
    assert (fits.form, small.form) == ("whole", "layers")


def test_a_large_text_encoder_is_streamed_beside_a_small_one() -> None:
    llama = NetworkSize("text_encoder", GB, (436_000_000,) * 32, GB, 200_000_000)
    clip = NetworkSize("text_encoder_2", 80_000_000, (14_000_000,) * 12, 80_000_000, 10_000_000)
    large, small = place_group([llama, clip], 6 * GB, "balanced")
    assert (large.form, small.form) == ("blocks", "whole")
    assert large.held_bytes + small.held_bytes + large.working_bytes <= 6 * GB


@pytest.mark.parametrize(
    ("budget_gb", "mode"),
    [(80, "none"), (36, "model"), (6, "balanced"), (5, "balanced"), (3.3, "sequential")],
)
def test_auto_takes_the_first_that_fits(budget_gb: float, mode: Mode) -> None:
    placement = plan_placement(
        model(), DecodeSize(480, 832, 34816), budget_bytes=to_bytes(budget_gb)
    )
    assert placement.mode == mode


def test_auto_reads_from_disk_where_the_machine_has_no_room() -> None:
    placement = plan_placement(
        model(),
        DecodeSize(480, 832, 34816),
        budget_bytes=6 * GB,
        host_bytes=14 * GB,
    )
    (large,) = placement.groups["transformer"]
    assert (placement.mode, large.form, large.from_disk) == ("balanced", "blocks", True)
    assert large.resident, "what stays need not be read again"
    llama, clip = placement.groups["text"]
    assert (llama.from_disk, clip.from_disk) == (True, False)


def test_where_nothing_fits_the_error_says_what_each_way_needed() -> None:
    with pytest.raises(PlacementError) as caught:
        plan_placement(model(), DecodeSize(480, 832, 34816), budget_bytes=2 * GB)
    text = str(caught.value)
    assert all(f"{mode}: the " in text for mode in MODES)
    assert "transformer needs 28.0 GB" not in text.split("group")[1]
    assert "there are 2.0 GB" in text


def test_the_largest_tile_that_fits_is_taken_and_none_below_the_smallest() -> None:
    assert tile_side(480, 832, 34816, 20 * GB) is None
    assert tile_side(480, 832, 34816, 34816 * 400 * 400) == 384
    assert tile_side(480, 832, 34816, 1) == 128


def to_bytes(amount: float) -> int:
    return int(amount * GB)


def model() -> dict[str, list[NetworkSize]]:
    return {
        "text": [
            NetworkSize("text_encoder", GB, (470_000_000,) * 32, GB, 200_000_000),
            NetworkSize("text_encoder_2", 80_000_000, (14_000_000,) * 12, 76_000_000, 10_000_000),
        ],
        "vision": [NetworkSize("image_encoder", 30_000_000, (30_000_000,) * 27, 10_000_000, 10**8)],
        "vae": [NetworkSize("vae", 490_000_000, (), 28_000_000, 70_000_000)],
        "transformer": [published()],
    }
