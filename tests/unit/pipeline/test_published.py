"""What is said of the published models is what the planner reckons for them."""

import pytest
import torch
from tests.helpers.networks import PUBLISHED

from framepack.memory.placement import Mode
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline import published
from framepack.pipeline.offloading import measure
from framepack.pipeline.published import needed_gb, place_published, placement_text


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
