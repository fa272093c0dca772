"""What diffusers, PEFT and the compiler attach to the transformer."""

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.hooks._helpers import TransformerBlockRegistry
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from peft import LoraConfig
from tests.helpers.networks import build, predict, relative_error, section_inputs
from torch import nn

from framepack.domain.packing import inverted_indices
from framepack.models.attention import FramePackAttention
from framepack.models.blocks import FramePackSingleTransformerBlock, FramePackTransformerBlock
from framepack.models.transformer import FramePackTransformer3DModel

SECTION = inverted_indices(1, 9)


@pytest.fixture(scope="module")
def model() -> FramePackTransformer3DModel:
    return build()


def test_blocks_are_registered_with_both_streams(model: FramePackTransformer3DModel) -> None:
    for block in (FramePackTransformerBlock, FramePackSingleTransformerBlock):
        metadata = TransformerBlockRegistry.get(block)
        assert metadata.return_hidden_states_index == 0
        assert metadata.return_encoder_hidden_states_index == 1


def test_declared_class_names_exist(model: FramePackTransformer3DModel) -> None:
    names = {type(module).__name__ for module in model.modules()}
    assert set(model._no_split_modules) <= names
    assert set(model._repeated_blocks) <= names


def test_context_parallel_plan_names_modules(model: FramePackTransformer3DModel) -> None:
    for name in model._cp_plan:
        assert isinstance(model.get_submodule(name), nn.Module)


def test_step_cache_with_threshold_zero_changes_nothing() -> None:
    model = build()
    inputs = section_inputs(SECTION)
    later = {**inputs, "timestep": torch.tensor([400.0])}
    expected = predict(model, later)
    model.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    with model.cache_context("cond"):
        predict(model, inputs)
        assert torch.equal(predict(model, later), expected)


def test_step_cache_skips_blocks() -> None:
    model = build()
    inputs = section_inputs(SECTION)
    # Caches replace a block's forward, so its work is counted inside.
    calls: list[int] = []
    last = model.single_transformer_blocks[-1]
    last.proj_mlp.register_forward_hook(lambda *_: calls.append(1))
    model.enable_cache(FirstBlockCacheConfig(threshold=0.5))
    with model.cache_context("cond"):
        for step in range(3):
            predict(model, {**inputs, "timestep": torch.tensor([900.0 - step])})
    assert len(calls) == 1


def test_attention_backend_reaches_every_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    # diffusers makes it the whole process's; other tests compare bits.
    monkeypatch.setattr(
        _AttentionBackendRegistry, "_active_backend", _AttentionBackendRegistry._active_backend
    )
    model = build()
    inputs = section_inputs(SECTION, prompt_lengths=(23, 30))
    expected = predict(model, inputs)
    model.set_attention_backend("_native_math")
    attentions = [m for m in model.modules() if isinstance(m, FramePackAttention)]
    assert len(attentions) == 6
    assert all(m.processor._attention_backend == "_native_math" for m in attentions)
    assert relative_error(predict(model, inputs), expected) < 1e-5


def test_only_joint_attention_is_split_by_context_parallelism(
    model: FramePackTransformer3DModel,
) -> None:
    split = {
        name.split(".")[0]
        for name, module in model.named_modules()
        if isinstance(module, FramePackAttention) and hasattr(module.processor, "_parallel_config")
    }
    assert split == {"transformer_blocks", "single_transformer_blocks"}


def test_context_parallelism_refuses_prompts_of_different_lengths() -> None:
    model = build()
    for module in model.modules():
        if isinstance(module, FramePackAttention) and hasattr(module.processor, "_parallel_config"):
            module.processor._parallel_config = object()
    with pytest.raises(ValueError, match="cannot mask text"):
        predict(model, section_inputs(SECTION, prompt_lengths=(23, 30)))


def test_repeated_blocks_compile_without_a_break() -> None:
    model = build()
    inputs = section_inputs(SECTION)
    expected = predict(model, inputs)
    model.compile_repeated_blocks(backend="eager", fullgraph=True)
    assert relative_error(predict(model, inputs), expected) < 1e-5
    plain = build()
    for changed in (model, plain):  # as LoRAs do whose weights change from section to section
        changed.single_transformer_blocks[0].attn.to_q.weight.data.mul_(3)
    found = predict(model, inputs)
    assert relative_error(found, expected) > 1e-3
    assert relative_error(found, predict(plain, inputs)) < 1e-5


def test_layerwise_casting_stores_blocks_in_fp8() -> None:
    model = build()
    inputs = section_inputs(SECTION)
    expected = predict(model, inputs)
    model.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    stored = {name: p.dtype for name, p in model.named_parameters()}
    assert stored["transformer_blocks.0.attn.to_q.weight"] == torch.float8_e4m3fn
    assert stored["x_embedder.proj.weight"] == torch.float32
    assert relative_error(predict(model, inputs), expected) < 0.2


def test_lora_scale_is_taken_from_attention_kwargs() -> None:
    model = build()
    inputs = section_inputs(SECTION)
    expected = predict(model, inputs)
    targets = ["to_q", "to_out.0", "proj_out", "x_embedder.proj", "norm1.linear"]
    model.add_adapter(LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    off = predict(model, {**inputs, "attention_kwargs": {"scale": 0.0}})
    assert relative_error(off, expected) < 1e-6
    assert relative_error(predict(model, inputs), expected) > 0.01
