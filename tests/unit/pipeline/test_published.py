"""What is said of the published models is what the planner reckons for them."""

import pytest
import torch
from tests.helpers.networks import PUBLISHED

from framepack.domain.quantization import QuantFormat
from framepack.domain.settings import Settings
from framepack.memory.placement import Mode
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline import published
from framepack.pipeline.offloading import measure
from framepack.pipeline.published import (
    Allowed,
    needed_gb,
    place_published,
    placement_text,
)
from framepack.pipeline.quantizing import _size


def test_the_transformer_is_reckoned_as_it_is_measured() -> None:
    with torch.device("meta"):
        model = FramePackTransformer3DModel(**PUBLISHED)
    measured = measure("transformer", model, torch.bfloat16, 18_795)
    reckoned = published._transformer()
    for name in ("rest_bytes", "layer_bytes", "working_bytes", "tabled_bytes"):
        assert getattr(reckoned, name) == getattr(measured, name), name
    assert reckoned.tabled_layer_bytes == measured.tabled_layer_bytes
    assert sorted(reckoned.block_bytes) == sorted(measured.block_bytes)
    share = measured.tabled_bytes / (measured.tabled_bytes + sum(measured.block_bytes))
    assert share == pytest.approx(0.27, abs=0.005)


@pytest.mark.parametrize("kept_as", ["fp8", "int8", "nf4", "sdnq-uint4"])
def test_quantised_it_is_reckoned_as_it_is_measured(kept_as: QuantFormat) -> None:
    with torch.device("meta"):
        state = FramePackTransformer3DModel(**PUBLISHED).state_dict()
    sizes = {
        key: _size(key, tuple(tensor.shape), "transformer", kept_as, torch.bfloat16)
        for key, tensor in state.items()
    }
    assert published._transformer(kept_as).weight_bytes == sum(sizes.values())


def test_smaller_weights_let_more_blocks_stay_and_a_budget_fewer() -> None:
    def staying(allowed: Allowed | None) -> int:
        placement = place_published(8, allowed=allowed)
        assert placement is not None
        (transformer,) = placement.groups["transformer"]
        return len(transformer.resident)

    exact, eight_bits = staying(None), staying(Allowed(quantize={"transformer": "fp8"}))
    small = staying(Allowed(budget_gb=6, reserve_gb=0.5))
    assert 0 < small < exact < eight_bits < 62


def test_what_cannot_be_streamed_or_left_in_its_file_is_not_planned_so() -> None:
    assert place_published(8, allowed=Allowed(quantize={"transformer": "nf4"})) is None
    stays = place_published(16, allowed=Allowed(quantize={"transformer": "nf4", "text": "nf4"}))
    assert stays is not None
    assert stays.groups["transformer"][0].form == "whole"
    from_file = place_published(6, host_gb=8)
    assert from_file is not None
    assert from_file.groups["transformer"][0].from_disk
    assert place_published(6, host_gb=8, allowed=Allowed(quantize={"transformer": "fp8"})) is None


def test_the_way_that_is_asked_for_is_taken() -> None:
    placement = place_published(24, allowed=Allowed(offload="group"))
    assert placement is not None
    assert placement.mode == "group"
    assert place_published(24, allowed=Allowed(offload="none")) is None


def test_settings_are_read_as_a_run_reads_them() -> None:
    allowed = Allowed.of(Settings(vram_budget="6GB", vram_reserve="500MB", quantize="fp8"))
    assert allowed == Allowed(6.0, 0.5, "auto", {"transformer": "fp8"})
    assert allowed.title == ("vram_budget 6.0 GB, vram_reserve 0.5 GB, quantize transformer fp8")
    assert Allowed.of(Settings()).title == ""


@pytest.mark.parametrize(
    ("memory_gb", "mode", "text"),
    [
        (80, "none", "fits as a whole"),
        (32, "model", "fits as a whole"),
        (24, "balanced", "all blocks of the transformer stay"),
        (6, "balanced", "of the transformer's 62 blocks stay"),
        (3.5, "sequential", "layer by layer"),
    ],
)
def test_devices_of_each_size_are_served(memory_gb: float, mode: Mode, text: str) -> None:
    placement = place_published(memory_gb)
    assert placement is not None
    assert placement.mode == mode
    assert placement.peak_bytes <= (memory_gb - 0.5) * 1e9
    assert text in placement_text(placement)


def test_what_they_are_offered_on_suffices_and_less_than_the_least_does_not() -> None:
    offered = place_published(needed_gb(is_unified=False), host_gb=16)
    assert offered is not None
    assert offered.mode == "balanced"
    whole = place_published(needed_gb(is_unified=True))
    assert whole is not None
    assert placement_text(whole) == "the transformer fits as a whole"
    assert place_published(2) is None
