"""The pipeline's transformer takes the fast way through its blocks."""

import torch

from framepack.domain.settings import Settings
from framepack.models.fused import fused_blocks
from framepack.models.spec import PRESETS
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.components import load_components


def _is_fused(transformer: FramePackTransformer3DModel) -> bool:
    blocks = (*transformer.transformer_blocks, *transformer.single_transformer_blocks)
    with torch.inference_mode():
        return fused_blocks(blocks, torch.zeros(1, 1, 1)) is not None


def test_a_transformer_is_packed_once_it_is_loaded() -> None:
    with torch.inference_mode():  # as inside a run
        components = load_components(
            PRESETS["tiny"], Settings(device="cpu", dtype="float32"), preload=("transformer",)
        )
        assert _is_fused(components.transformer)


def test_it_is_packed_again_when_it_comes_back_to_the_device() -> None:
    components = load_components(
        PRESETS["tiny"], Settings(device="cpu", dtype="float32"), preload=("transformer",)
    )
    torch.nn.Module.to(components.transformer, torch.float64)
    torch.nn.Module.to(components.transformer, torch.float32)
    assert not _is_fused(components.transformer)
    slot = components.networks.slots["transformer"]
    slot.on_device = False
    assert _is_fused(components.transformer)
