"""Merged LoRAs are what they mean by hand, fit or are refused, and leave no trace."""

import copy
from typing import Any

import pytest
import torch
from tests.helpers.loras import (
    ONE,
    ORIGINAL,
    OURS,
    WIDTH,
    Save,
    deltas_by_hand,
    fingerprint,
    kohya_lora,
    peft_lora,
)
from tests.helpers.networks import PUBLISHED, build, predict, section_inputs
from torch import Tensor, nn

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import inverted_indices
from framepack.domain.settings import Settings
from framepack.models.spec import PRESETS
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.lora import (
    LoraFile,
    apply_loras,
    check_lora,
    linear_shapes,
    merged_delta,
    model_shapes,
    read_lora,
)

# --- merging ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kohya", [False, True], ids=["peft", "kohya"])
@pytest.mark.parametrize("modules", [OURS, ORIGINAL], ids=["framepack", "hunyuan"])
def test_the_output_is_that_of_weights_merged_by_hand(
    model: FramePackTransformer3DModel, save: Save, modules: dict[str, Any], kohya: bool
) -> None:
    tensors = kohya_lora(modules) if kohya else peft_lora(modules)
    expected = copy.deepcopy(model)
    with torch.no_grad():
        for name, delta in deltas_by_hand(tensors, modules, kohya).items():
            expected.get_submodule(name).weight += 0.7 * delta
    before = fingerprint(model)
    inputs = section_inputs(inverted_indices(1, 9), height=4, width=4)
    plain = predict(model, inputs)

    merged = apply_loras(model, [(read_lora(save(tensors)), 0.7)])
    found = predict(model, inputs)
    torch.testing.assert_close(found, predict(expected, inputs), rtol=1e-4, atol=1e-4)
    assert (found - plain).abs().max() > 1e-2
    merged.remove()
    assert fingerprint(model) == before
    assert torch.equal(predict(model, inputs), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_removing_restores_every_byte(save: Save, dtype: torch.dtype) -> None:
    model = build().to(dtype)
    model.transformer_blocks[0].attn.to_q.weight.data[0, :2] = torch.tensor([-0.0, torch.nan])
    before = fingerprint(model)
    merged = apply_loras(model, [(read_lora(save(peft_lora(OURS))), 1.3)])
    assert fingerprint(model) != before
    merged.remove()
    assert fingerprint(model) == before
    merged.remove()
    assert fingerprint(model) == before


def test_weights_that_are_slices_of_one_buffer_stay_slices(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    attention = model.transformer_blocks[0].attn
    layers = (attention.to_q, attention.to_k, attention.to_v)
    packed = torch.cat([layer.weight.detach() for layer in layers])
    original = packed.clone()
    for layer, part in zip(layers, packed.split(WIDTH), strict=True):
        layer.weight = nn.Parameter(part)
    lora = read_lora(save(peft_lora({"double_blocks.0.img_attn_qkv": (3 * WIDTH, WIDTH)})))
    merged = apply_loras(model, [(lora, 1.0)])
    delta = torch.cat([merged_delta([(lora, 1.0)], name) for name in merged.touched])
    assert torch.equal(packed, original + delta)
    merged.remove()
    assert torch.equal(packed, original)


def test_the_new_weight_is_rounded_once(save: Save) -> None:
    model = build().bfloat16()
    name = "transformer_blocks.0.attn.to_q"
    lora = read_lora(save(peft_lora({name: OURS[name]})))
    weight = model.get_submodule(name).weight
    before = weight.detach().clone()
    apply_loras(model, [(lora, 0.5), (lora, 0.25)])
    exact = before.float() + merged_delta([(lora, 0.5), (lora, 0.25)], name)
    assert torch.equal(weight.detach(), exact.bfloat16())


def test_weight_zero_touches_nothing(model: FramePackTransformer3DModel, save: Save) -> None:
    before = fingerprint(model)
    merged = apply_loras(model, [(read_lora(save(peft_lora(OURS))), 0.0)])
    assert merged.touched == ()
    assert fingerprint(model) == before


def test_loras_add_up_in_any_order(model: FramePackTransformer3DModel, save: Save) -> None:
    first = read_lora(save(peft_lora(OURS), "first.safetensors"))
    second = read_lora(save(kohya_lora(ORIGINAL), "second.safetensors"))
    pair = [(first, 0.5), (second, -1.5)]
    shared = "transformer_blocks.0.attn.to_q"
    before = model.get_submodule(shared).weight.detach().clone()
    forwards = apply_loras(model, pair)
    expected = before.clone()
    for lora, weight in pair:
        delta = lora.deltas[shared]
        expected += weight * delta.scale * delta.up @ delta.down
    torch.testing.assert_close(model.get_submodule(shared).weight.detach(), expected)
    touched = forwards.touched
    assert set(touched) == first.deltas.keys() | second.deltas.keys()
    forwards.remove()
    assert apply_loras(model, pair[::-1]).touched == touched


def test_merging_twice_without_removing_is_refused(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    lora = read_lora(save(peft_lora(OURS)))
    merged = apply_loras(model, [(lora, 1.0)])
    before = fingerprint(model)
    with pytest.raises(InvalidRequest, match="merged already"):
        apply_loras(model, [(lora, 1.0)])
    assert fingerprint(model) == before
    merged.remove()
    apply_loras(model, [(lora, 1.0)])


def test_changed_weights_are_those_of_a_new_network_to_the_byte(save: Save) -> None:
    first = read_lora(save(peft_lora(OURS), "first.safetensors"))
    second = read_lora(save(kohya_lora(ORIGINAL), "second.safetensors"))
    model = build().to(torch.bfloat16)
    before = fingerprint(model)
    merged = apply_loras(model, [(first, 0.0), (second, 0.0)])
    for weights in ((1.3, 0.0), (0.2, -0.7), (0.0, 0.4), (0.0, 0.0), (1.3, 0.0)):
        merged.change([(first, weights[0]), (second, weights[1])])
        found = fingerprint(model)
        fresh = build().to(torch.bfloat16)
        apply_loras(fresh, [(first, weights[0]), (second, weights[1])])
        assert found == fingerprint(fresh)
    merged.remove()
    assert fingerprint(model) == before


def test_weights_cannot_change_without_the_originals(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    lora = read_lora(save(peft_lora(OURS)))
    merged = apply_loras(model, [(lora, 1.0)], keep_originals=False)
    with pytest.raises(ValueError, match="original weights were not kept"):
        merged.change([(lora, 0.5)])


def test_a_failure_half_way_changes_nothing(
    model: FramePackTransformer3DModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = read_lora(save(peft_lora(OURS)))
    before = fingerprint(model)
    count = 0

    def fail_later(*args: Any) -> Tensor | None:
        nonlocal count
        count += 1
        if count == 4:
            raise torch.OutOfMemoryError("no more")
        return merged_delta(*args)

    monkeypatch.setattr("framepack.weights.lora.merged_delta", fail_later)
    with pytest.raises(torch.OutOfMemoryError):
        apply_loras(model, [(lora, 1.0)])
    monkeypatch.undo()
    assert fingerprint(model) == before
    assert apply_loras(model, [(lora, 1.0)]).touched


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(
    model: FramePackTransformer3DModel, save: Save, weight: float
) -> None:
    with pytest.raises(InvalidRequest, match="give a finite number"):
        apply_loras(model, [(read_lora(save(peft_lora(OURS))), weight)])


def test_weights_of_a_quantised_format_are_refused(save: Save) -> None:
    model = build().to(torch.float8_e4m3fn)
    with pytest.raises(InvalidRequest, match="before quantising"):
        apply_loras(model, [(read_lora(save(peft_lora(OURS))), 1.0)])


# --- what does not fit -----------------------------------------------------------------------


def _refusal(lora: LoraFile, network: nn.Module) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_lora(lora, network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_named_and_counted(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    tensors = peft_lora(ONE) | peft_lora(
        {f"transformer_blocks.{i}.attn.to_q": (8, 8) for i in range(2, 9)}
    )
    tensors |= peft_lora({"transformer_blocks.0.attn.to_v": (WIDTH, 2 * WIDTH)})
    tensors["lora_te1_layers_0.lora_down.weight"] = torch.ones(1)
    tensors["transformer.transformer_blocks.0.attn.to_q.lora_magnitude_vector"] = torch.ones(1)
    text = _refusal(read_lora(save(tensors)), model)
    for part in (
        "7 layers that the model does not have: transformer_blocks.2.attn.to_q, ",
        "transformer_blocks.6.attn.to_q and 2 more",
        "1 keys for a text encoder, which a LoRA does not change here: lora_te1_layers_0",
        "transformer_blocks.0.attn.to_v [64, 128], the model has [64, 64]",
        "to_q.lora_magnitude_vector",
    ):
        assert part in text


def test_what_does_not_fit_is_refused_even_at_weight_zero(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    lora = read_lora(save(peft_lora({"transformer_blocks.9.attn.to_q": (WIDTH, WIDTH)})))
    before = fingerprint(model)
    for weight in (0.0, 1.0):
        with pytest.raises(InvalidRequest, match=r"transformer_blocks\.9\.attn\.to_q"):
            apply_loras(model, [(lora, weight)])
    assert fingerprint(model) == before


@pytest.mark.parametrize(
    "key",
    [
        "transformer.x_embedder.proj.lora_A.weight",
        "lora_unet_double_blocks_0_img_mlp_0.lora_down.weight",
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.0.weight",
        "lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a",
        "lora_unet_double_blocks_0_img_attn_qkv.lokr_w1",
        "transformer.transformer_blocks.0.attn.to_q.dora_scale",
        "transformer.transformer_blocks.0.attn.to_q.lora_B.bias",
        "transformer.transformer_blocks.0.attn.to_q.diff",
    ],
)
def test_keys_of_other_kinds_are_never_ignored(
    model: FramePackTransformer3DModel, save: Save, key: str
) -> None:
    lora = read_lora(save(peft_lora(ONE) | {key: torch.ones(1)}))
    assert lora.unknown == (key,)
    assert key in _refusal(lora, model)


def test_the_published_models_take_loras_of_their_size_only() -> None:
    with torch.device("meta"):
        published = FramePackTransformer3DModel(**PUBLISHED)
    settings = Settings()
    shapes = {key: model_shapes(PRESETS[key], settings) for key in ("tiny", "i2v", "f1")}
    assert shapes["i2v"] == shapes["f1"] == linear_shapes(published)
    assert shapes["tiny"]["transformer_blocks.0.attn.to_q"][0] < 3072
