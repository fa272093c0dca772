"""The tile follows from the device's memory, or from the share of it that is reckoned with."""

from types import SimpleNamespace

import pytest
import torch

from framepack.pipeline import decoding_tile as module
from framepack.pipeline.decoding_tile import decoding_tile

CONFIG = SimpleNamespace(spatial_compression_ratio=8, block_out_channels=(128, 256, 512, 512))
LATENTS = torch.zeros(1, 16, 9, 80, 80)


def _tile(share: float) -> tuple[int | None, int]:
    cpu = torch.device("cpu")
    return decoding_tile(LATENTS, CONFIG, torch.float16, cpu, memory_share=share)


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_bytes", lambda _: (0, 32 * 10**9))


def test_what_fits_is_decoded_whole() -> None:
    assert _tile(1.0)[0] is None


def test_less_memory_means_smaller_tiles_down_to_the_smallest() -> None:
    sides = [_tile(share)[0] for share in (0.4, 0.1, 0.05, 0.001)]
    assert all(side is not None and side % 64 == 0 for side in sides)
    assert sides == sorted(sides, key=lambda side: -(side or 0))
    assert sides[-1] == 128
    assert sides[0] is not None
    assert 128 < sides[0] < 640
