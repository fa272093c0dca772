"""From sizes and a budget to where each network's weights lie while it works. No torch, no I/O.

Networks are needed in turns: texts, vision, VAE and transformer, the last two in every section.
What is planned here is what is on the device in each turn, and that its sum with the activations
stays within the budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal, get_args

from framepack.domain.errors import FramePackError

__all__ = [
    "MODES",
    "DecodeSize",
    "Mode",
    "NetworkPlacement",
    "NetworkSize",
    "Placement",
    "PlacementError",
    "held_bytes",
    "place_group",
    "plan_placement",
    "section_working_bytes",
    "tile_side",
]

Mode = Literal["none", "model", "balanced", "group", "sequential", "disk"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""From the one that holds most on the device to the one that holds least in memory at all."""

NUM_BUFFERS = 2
"""Streamed blocks on the device at once: the one that computes and the next one."""

MAPPED = frozenset({"transformer", "text_encoder"})
"""Networks of which blocks can be read from their files: the two that are large."""

SMALLEST_TILE_PX, TILE_STEP_PX = 128, 64

# Live tensors at the peak of a block, in token widths: measured on the 13B at 18795 tokens, where
# a single-stream block takes 2.14 GB in bf16 and a double-stream block 1.70 GB.
_BLOCK_WIDTHS = 18.6
_MARGIN = 1.1  # for the workspaces of matrix products and what is lost between allocations


class PlacementError(FramePackError):
    """Nothing that was tried fits the budget."""


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """What a network takes, in bytes of the number format it runs in.

    Attributes:
        name: a component.
        rest_bytes: weights outside its blocks.
        block_bytes: weights of each block, in order; empty where it is not streamed by blocks.
        layer_bytes: of its largest layer.
        working_bytes: activations at their peak.
        block_names: of the blocks, in that order, where they are known.
        tabled_bytes: weights of blocks, not counted there, whose results are kept in tables: on
            the device only where all of the network is, else brought once for all steps.
        tabled_layer_bytes: the most of those that is brought at once.
    """

    name: str
    rest_bytes: int
    block_bytes: tuple[int, ...] = ()
    layer_bytes: int = 0
    working_bytes: int = 0
    block_names: tuple[str, ...] = ()
    tabled_bytes: int = 0
    tabled_layer_bytes: int = 0

    @property
    def weight_bytes(self) -> int:
        """All weights."""
        return self.rest_bytes + sum(self.block_bytes) + self.tabled_bytes


@dataclass(frozen=True, slots=True)
class DecodeSize:
    """The frames that a VAE decodes.

    Attributes:
        height, width: px.
        pixel_bytes: activations per pixel of a tile.
    """

    height: int
    width: int
    pixel_bytes: int


@dataclass(frozen=True, slots=True)
class NetworkPlacement:
    """Where a network lies while it works.

    Attributes:
        name: a component.
        form: all of it on the device, or streamed by blocks, or by layers.
        from_disk: what is streamed is read from its file each time.
        resident: numbers of the blocks that stay while it works.
        resident_names: their names, where those are known.
        is_elastic: their number may follow what is free; see ``memory.watermarks``.
        held_bytes: weights on the device, the buffers of what is streamed included.
        working_bytes: activations at their peak.
    """

    name: str
    form: Literal["whole", "blocks", "layers"]
    held_bytes: int
    working_bytes: int
    resident: tuple[int, ...] = ()
    resident_names: tuple[str, ...] = ()
    from_disk: bool = False
    is_elastic: bool = False

    @property
    def peak_bytes(self) -> int:
        """Weights and activations."""
        return self.held_bytes + self.working_bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where all networks of a model lie.

    Attributes:
        mode: the one taken.
        groups: what is needed at the same time, by the name of the group.
        all_stay: all groups are on the device at once; else each alone in its turn.
        tile_px: side of the VAE's spatial tiles, or None for whole frames.
        budget_bytes: what was to be kept to, the reserve taken off.
        peak_bytes: the most that is on the device at any time.
    """

    mode: Mode
    groups: Mapping[str, tuple[NetworkPlacement, ...]]
    all_stay: bool
    tile_px: int | None
    budget_bytes: int
    peak_bytes: int


def section_working_bytes(num_tokens: int, width: int, itemsize: int) -> int:
    """Activations of the transformer at their peak.

    Args:
        num_tokens: of a section: noisy, history, text and picture.
        width: of a token.
        itemsize: bytes per number.
    """
    return int(num_tokens * width * itemsize * _BLOCK_WIDTHS * _MARGIN)


def tile_side(height: int, width: int, pixel_bytes: int, budget_bytes: int) -> int | None:
    """Side in px of the largest spatial tile within a budget; None when whole frames are.

    It is never below the smallest tile, whatever the budget.
    """
    if height * width * pixel_bytes <= budget_bytes:
        return None
    side = int(sqrt(max(budget_bytes, 0) / pixel_bytes)) // TILE_STEP_PX * TILE_STEP_PX
    return max(side, SMALLEST_TILE_PX)


def plan_placement(
    groups: Mapping[str, Sequence[NetworkSize]],
    decode: DecodeSize,
    *,
    budget_bytes: int,
    reserve_bytes: int = 0,
    mode: Mode | Literal["auto"] = "auto",
    host_bytes: int | None = None,
) -> Placement:
    """Choose where everything lies.

    Args:
        groups: networks that are needed at the same time, by group; one is called "vae".
        decode: what the VAE decodes.
        budget_bytes: of the device.
        reserve_bytes: of the budget, to be left alone.
        mode: one, or "auto" for the first of MODES that fits.
        host_bytes: memory of the machine for what is streamed; None when it does not matter.

    Raises:
        PlacementError: says what was needed and what there is.
    """
    room = budget_bytes - reserve_bytes
    tried: list[str] = []
    for each in MODES if mode == "auto" else (mode,):
        try:
            placement = _place_all(groups, decode, room, each)
            if not _fits_host(groups, placement, host_bytes):
                placement = _place_all(groups, decode, room, each, from_disk=True)
                _check_host(groups, placement, host_bytes)
        except PlacementError as error:
            tried.append(f"{each}: {error}")
            continue
        return placement
    raise PlacementError("; ".join(tried))


def place_group(
    sizes: Sequence[NetworkSize], room_bytes: int, mode: Mode, *, from_disk: bool = False
) -> tuple[NetworkPlacement, ...]:
    """Place networks that work side by side and have the device to themselves.

    The small ones come first, since what is left for a large one can be streamed.

    Args:
        sizes: of the networks.
        room_bytes: what they may take together, activations included.
        mode: how.
        from_disk: where the machine's memory is short: blocks that are streamed come from their
            files, as they do in the mode of that name.

    Returns:
        In the order of ``sizes``.

    Raises:
        PlacementError: says what was needed and what there is.
    """
    working = max(size.working_bytes for size in sizes)
    left = room_bytes - working
    placed: dict[str, NetworkPlacement] = {}
    for size in sorted(sizes, key=lambda size: size.weight_bytes):
        try:
            one = _place(size, left, mode, from_disk=from_disk or mode == "disk")
        except PlacementError as error:
            others = "".join(f" beside the {name}" for name in placed)
            raise PlacementError(
                f"the {error}{others} and {_gb(working)} of activations; there are "
                f"{_gb(max(room_bytes, 0))}"
            ) from None
        left -= one.held_bytes
        placed[size.name] = replace(one, working_bytes=working)
    return tuple(placed[size.name] for size in sizes)


def _place_all(
    groups: Mapping[str, Sequence[NetworkSize]],
    decode: DecodeSize,
    room: int,
    mode: Mode,
    *,
    from_disk: bool = False,
) -> Placement:
    all_stay = mode == "none"
    weights = sum(size.weight_bytes for sizes in groups.values() for size in sizes)
    placed: dict[str, tuple[NetworkPlacement, ...]] = {}
    for name, sizes in groups.items():
        beside = weights - sum(size.weight_bytes for size in sizes) if all_stay else 0
        if name == "vae":
            sizes = [
                replace(size, working_bytes=_smallest_decoding(size, decode)) for size in sizes
            ]
        placed[name] = place_group(sizes, room - beside, mode, from_disk=from_disk)
    vae_held = sum(network.held_bytes for network in placed["vae"])
    others = weights - sum(size.weight_bytes for size in groups["vae"]) if all_stay else 0
    tile = tile_side(decode.height, decode.width, decode.pixel_bytes, room - others - vae_held)
    decoding = decode.pixel_bytes * (tile**2 if tile else decode.height * decode.width)
    placed["vae"] = tuple(
        replace(network, working_bytes=max(size.working_bytes, decoding))
        for network, size in zip(placed["vae"], groups["vae"], strict=True)
    )
    peaks = [
        sum(network.held_bytes for network in networks)
        + max(network.working_bytes for network in networks)
        for networks in placed.values()
    ]
    if all_stay:
        most = max(network.working_bytes for each in placed.values() for network in each)
        peaks = [weights + most]
    return Placement(mode, placed, all_stay, tile, room, max(peaks))


def _smallest_decoding(size: NetworkSize, decode: DecodeSize) -> int:
    """Activations of a VAE that decodes in the smallest tiles there are."""
    pixels = min(decode.height * decode.width, SMALLEST_TILE_PX**2)
    return max(size.working_bytes, pixels * decode.pixel_bytes)


def _place(size: NetworkSize, room: int, mode: Mode, *, from_disk: bool) -> NetworkPlacement:
    """One network in a room for weights alone."""
    whole = NetworkPlacement(size.name, "whole", size.weight_bytes, size.working_bytes)
    is_whole = size.weight_bytes <= room
    # What has no blocks is small, the VAE: by layers it would lose its faster way, and its bits.
    is_small = not size.block_bytes and (is_whole or mode != "sequential")
    if mode in ("none", "model") or is_small:
        if is_whole:
            return whole
        raise PlacementError(f"{size.name} needs {_gb(size.weight_bytes)} for its weights")
    if mode == "sequential":
        held = min(NUM_BUFFERS * size.layer_bytes, size.weight_bytes)
        if held <= room:
            return replace(whole, form="layers", held_bytes=held)
        raise PlacementError(f"{size.name} needs {_gb(held)} for its largest layers")
    from_disk = from_disk and size.name in MAPPED
    if is_whole and (mode == "balanced" or (mode == "disk" and not from_disk)):
        return whole
    resident = () if mode in ("group", "disk") else _residents(size, room)
    held = held_bytes(size, resident)
    if held > room:
        raise PlacementError(f"{size.name} needs {_gb(held)} for what is streamed and the rest")
    return replace(
        whole,
        form="blocks",
        held_bytes=held,
        resident=resident,
        resident_names=tuple(size.block_names[index] for index in resident if size.block_names),
        from_disk=from_disk,
        is_elastic=mode == "balanced",
    )


def _residents(size: NetworkSize, room: int) -> tuple[int, ...]:
    """As many blocks as fit beside the buffers, spread evenly so that copies never pile up."""
    total = len(size.block_bytes)
    most = total if size.tabled_bytes else total - 1
    for count in range(most, 0, -1):
        chosen = tuple(index * total // count for index in range(count))
        if held_bytes(size, chosen) <= room:
            return chosen
    return ()


def held_bytes(size: NetworkSize, resident: Sequence[int]) -> int:
    """What a network takes of the device whose other blocks are streamed."""
    kept = set(resident)
    streamed = [num for index, num in enumerate(size.block_bytes) if index not in kept]
    stays = sum(size.block_bytes[index] for index in kept)
    buffer = max((*streamed, size.tabled_layer_bytes), default=0)
    return size.rest_bytes + stays + NUM_BUFFERS * buffer


def _fits_host(
    groups: Mapping[str, Sequence[NetworkSize]], placement: Placement, host_bytes: int | None
) -> bool:
    """Whether the machine's memory can hold what is streamed from it."""
    return host_bytes is None or _most_streamed(groups, placement) <= host_bytes


def _check_host(
    groups: Mapping[str, Sequence[NetworkSize]], placement: Placement, host_bytes: int | None
) -> None:
    """Refuse to stream what the machine's memory cannot hold."""
    if host_bytes is not None and not _fits_host(groups, placement, host_bytes):
        raise PlacementError(
            f"what is streamed needs {_gb(_most_streamed(groups, placement))} of the machine's "
            f"memory, {_gb(host_bytes)} are free"
        )


def _most_streamed(groups: Mapping[str, Sequence[NetworkSize]], placement: Placement) -> int:
    """The most that one network streams from the machine's memory."""
    sizes = {size.name: size for each in groups.values() for size in each}
    streamed = [
        sizes[network.name].weight_bytes
        for networks in placement.groups.values()
        for network in networks
        if network.form != "whole" and not network.from_disk
    ]
    return max(streamed, default=0)


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
