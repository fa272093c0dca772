"""The fast way through the blocks: when it is taken, and that it makes no difference."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from peft import LoraConfig
from tests.helpers.networks import (
    build,
    in_bf16,
    predict,
    randomize,
    relative_error,
    section_inputs,
)
from torch import Tensor, nn

from framepack.domain.packing import inverted_indices
from framepack.models import fused, transformer
from framepack.models.fused import fused_blocks, pack_projections
from framepack.models.linear import linear
from framepack.models.reuse import Reuse, RunTables
from framepack.models.transformer import FramePackTransformer3DModel

SECTION = inverted_indices(1, 9)


def packed(**config: Any) -> FramePackTransformer3DModel:
    model = build(**config)
    model.pack_projections()
    return model


def is_fused(model: FramePackTransformer3DModel, dtype: torch.dtype = torch.float32) -> bool:
    blocks = (*model.transformer_blocks, *model.single_transformer_blocks)
    with torch.inference_mode():
        return fused_blocks(blocks, torch.zeros(1, 3, 64, dtype=dtype)) is not None


class TestPacking:
    def test_keys_values_and_shapes_stay(self) -> None:
        model, plain = packed(), build()
        state, expected = model.state_dict(), plain.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[name], expected[name]) for name in expected)

    def test_weights_of_one_input_are_slices_of_one_buffer(self) -> None:
        model = packed()
        assert not is_fused(build())
        assert is_fused(model)
        attn, mlp = model.single_transformer_blocks[0].attn, model.single_transformer_blocks[0]
        layers = (attn.to_v, attn.to_k, attn.to_q, mlp.proj_mlp)
        assert len({layer.weight.untyped_storage().data_ptr() for layer in layers}) == 1
        assert len({layer.bias.untyped_storage().data_ptr() for layer in layers}) == 1

    def test_a_saved_model_loads_as_any_other(self, tmp_path: Path) -> None:
        model = packed()
        model.save_pretrained(tmp_path, max_shard_size="100KB")
        loaded = FramePackTransformer3DModel.from_pretrained(tmp_path)
        expected = model.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in loaded.named_parameters())

    def test_moving_undoes_it_and_packing_again_restores_it(self) -> None:
        model = packed()
        inputs = section_inputs(SECTION)
        nn.Module.to(model, torch.float64)
        nn.Module.to(model, torch.float32)
        assert not is_fused(model)
        unpacked = predict(model, inputs)
        model.pack_projections()
        assert is_fused(model)
        assert relative_error(predict(model, inputs), unpacked) < 1e-6

    def test_weights_changed_in_place_count_at_once(self) -> None:
        model, inputs = packed(), section_inputs(SECTION)
        before = predict(model, inputs)
        plain = build()
        for changed in (model, plain):
            with torch.no_grad():
                changed.single_transformer_blocks[0].attn.to_q.weight.mul_(3)
        assert is_fused(model)
        assert relative_error(predict(model, inputs), before) > 1e-3
        assert relative_error(predict(model, inputs), predict(plain, inputs)) < 1e-6

    def test_weights_that_are_replaced_count_at_once(self) -> None:
        model, plain, inputs = packed(), build(), section_inputs(SECTION)
        for changed in (model, plain):
            attn = changed.single_transformer_blocks[0].attn
            attn.to_k.weight = nn.Parameter(attn.to_k.weight.detach() * 2)
        assert not is_fused(model)
        assert torch.equal(predict(model, inputs), predict(plain, inputs))

    def test_weights_loaded_during_inference_are_packed_too(self) -> None:
        with torch.inference_mode():
            model = packed()
        assert is_fused(model)

    def test_packed_weights_still_learn(self) -> None:
        with torch.inference_mode(False):
            model = build()
        with torch.inference_mode():
            pack_projections(model)
        inputs = section_inputs(SECTION)
        predict(model, inputs)
        model(**inputs).sample.square().mean().backward()
        plain = build()
        plain(**inputs).sample.square().mean().backward()
        expected = dict(plain.named_parameters())
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter.grad, expected[name].grad), name

    def test_a_copy_is_independent(self) -> None:
        model, inputs = packed(), section_inputs(SECTION)
        expected = predict(model, inputs)
        twin = copy.deepcopy(model)
        randomize(twin, seed=5)
        assert torch.equal(predict(model, inputs), expected)


class TestNumbers:
    @pytest.mark.parametrize("most", [1, 7, 40])
    def test_a_feed_forward_in_parts_gives_the_same(
        self, most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, inputs = packed(), section_inputs(SECTION)
        expected = predict(model, inputs)
        products: list[int] = []

        def noted(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            products.append(len(x))
            return linear(x, weight, bias)

        monkeypatch.setattr(fused, "linear", noted)
        predict(model, inputs)
        at_once = len(products)
        monkeypatch.setattr(fused, "_MOST_ROWS", most)
        assert relative_error(predict(model, inputs), expected) < 1e-6
        assert len(products) - at_once > at_once

    @pytest.mark.parametrize(
        "config",
        [{}, {"num_layers": 0}, {"num_single_layers": 0}, {"num_layers": 1, "mlp_ratio": 2.5}],
        ids=str,
    )
    @pytest.mark.parametrize("without", [(), ("image_embeds",)], ids=str)
    def test_result_is_that_of_the_modules(
        self, config: dict[str, Any], without: tuple[str, ...]
    ) -> None:
        inputs = section_inputs(SECTION)
        inputs = {name: value for name, value in inputs.items() if name not in without}
        model = packed(**config)
        assert is_fused(model)
        assert relative_error(predict(model, inputs), predict(build(**config), inputs)) < 2e-6

    def test_bf16_is_as_near_to_fp32_as_the_modules(self) -> None:
        inputs = section_inputs(SECTION)
        exact = predict(build(), inputs)
        plain = nn.Module.to(build(), torch.bfloat16)
        model = copy.deepcopy(plain)
        model.pack_projections()
        assert is_fused(model, torch.bfloat16)
        rounded = in_bf16(inputs)
        error = relative_error(predict(model, rounded), exact)
        assert error <= 1.1 * relative_error(predict(plain, rounded), exact)

    def test_without_onednn_the_result_is_the_same_within_rounding(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from framepack.models import linear

        model, inputs = packed(), section_inputs(SECTION)
        expected = predict(model, inputs)
        monkeypatch.setattr(linear, "prefers_onednn", lambda: False)
        assert relative_error(predict(model, inputs), expected) < 2e-6

    def test_arguments_are_left_alone(self) -> None:
        model, inputs = packed(), section_inputs(SECTION)
        before = {name: value.clone() for name, value in inputs.items()}
        kept = Reuse()
        predict(model, {**inputs, "reuse": kept})
        held = copy.deepcopy(kept)
        predict(model, {**inputs, "reuse": kept})
        assert all(torch.equal(inputs[name], value) for name, value in before.items())
        assert all(map(torch.equal, _tensors(kept), _tensors(held)))


class TestWhenModulesAreCalled:
    """Whatever is attached to a layer must take part; the result is then the modules' own."""

    @pytest.mark.parametrize(
        "name",
        [
            "transformer_blocks.0",
            "transformer_blocks.1.attn.add_v_proj",
            "transformer_blocks.0.ff.net.0.proj",
            "transformer_blocks.0.norm1.linear",
            "single_transformer_blocks.1.attn",
            "single_transformer_blocks.0.attn.norm_q",
            "single_transformer_blocks.1.proj_out",
        ],
    )
    def test_a_hook_is_called(self, name: str) -> None:
        model, plain, inputs = packed(), build(), section_inputs(SECTION)
        for hooked in (model, plain):
            hooked.get_submodule(name).register_forward_hook(_scaled)
        found = predict(model, inputs)
        assert torch.equal(found, predict(plain, inputs))
        assert relative_error(found, predict(build(), inputs)) > 1e-4

    def test_compiled_blocks_are_called(self) -> None:
        model = packed()
        model.single_transformer_blocks[1].compile(backend="eager")
        assert not is_fused(model)

    def test_a_lora_takes_part(self) -> None:
        inputs = section_inputs(SECTION)
        targets = ["to_q", "add_v_proj", "proj_mlp"]

        def adapted(model: FramePackTransformer3DModel) -> FramePackTransformer3DModel:
            torch.manual_seed(0)
            model.add_adapter(LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
            return model

        found = predict(adapted(packed()), inputs)
        assert torch.equal(found, predict(adapted(build()), inputs))
        assert relative_error(found, predict(build(), inputs)) > 0.01

    def test_layerwise_casting_takes_part(self) -> None:
        inputs = section_inputs(SECTION)
        models = packed(), build()
        for model in models:
            model.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
        stored = models[0].single_transformer_blocks[0].attn.to_q.weight.dtype
        assert stored == torch.float8_e4m3fn
        assert torch.equal(predict(models[0], inputs), predict(models[1], inputs))

    def test_quantised_layers_are_left_alone(self) -> None:
        class Quantised(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                step = self.weight.abs().max() / 7
                return nn.functional.linear(x, (self.weight / step).round() * step, self.bias)

        inputs = section_inputs(SECTION)
        models = build(), build()
        for model in models:
            for module in list(model.modules()):
                if type(module) is nn.Linear and module.out_features == module.in_features:
                    module.__class__ = Quantised
        models[0].pack_projections()
        assert not is_fused(models[0])
        found = predict(models[0], inputs)
        assert torch.equal(found, predict(models[1], inputs))
        assert relative_error(found, predict(build(), inputs)) > 1e-3

    def test_a_step_cache_of_diffusers_takes_part(self) -> None:
        model, inputs = packed(), section_inputs(SECTION)
        calls: list[int] = []
        model.single_transformer_blocks[-1].proj_mlp.register_forward_hook(
            lambda *_: calls.append(1)
        )
        model.enable_cache(FirstBlockCacheConfig(threshold=0.5))
        with model.cache_context("cond"):
            for step in range(3):
                predict(model, {**inputs, "timestep": torch.tensor([900.0 - step])})
        assert len(calls) == 1

    def test_a_batch_a_mask_and_gradients_go_by_the_modules(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object) -> None:
            raise AssertionError("the blocks were fused")

        monkeypatch.setattr(transformer, "run_fused", refused)
        model = packed()
        predict(model, section_inputs(SECTION, prompt_lengths=(23, 30)))
        gap = section_inputs(SECTION)
        gap["encoder_attention_mask"][0, 3] = False
        predict(model, gap)
        model(**section_inputs(SECTION)).sample.mean().backward()
        with torch.autocast("cpu", torch.bfloat16):
            predict(model, section_inputs(SECTION))
        with pytest.raises(AssertionError, match="were fused"):
            predict(model, section_inputs(SECTION))


class TestReuse:
    @pytest.mark.parametrize("make", [packed, build], ids=["fused", "modules"])
    def test_what_is_kept_changes_no_bit(
        self, make: Callable[[], FramePackTransformer3DModel]
    ) -> None:
        model = make()
        section: dict[Any, Any] = {}
        steps: dict[float, dict[Any, Any]] = {}
        for round_ in range(2):
            for timestep in (900.0, 500.0):
                inputs = section_inputs(SECTION, seed=1)
                inputs["hidden_states"] = inputs["hidden_states"] * (1 + round_)
                inputs["timestep"] = torch.tensor([timestep])
                kept = Reuse(section, steps.setdefault(timestep, {}))
                assert torch.equal(
                    predict(model, {**inputs, "reuse": kept}), predict(model, inputs)
                )

    def test_what_is_kept_is_not_computed_again(self) -> None:
        model, inputs, kept = packed(), section_inputs(SECTION), Reuse()
        predict(model, {**inputs, "reuse": kept})
        ran: list[str] = []
        for name, module in model.named_modules():
            if not name.startswith(("transformer_blocks", "single_transformer_blocks")):
                module.register_forward_hook(lambda *_, name=name: ran.append(name))
        predict(model, {**inputs, "reuse": kept})
        assert ran == ["x_embedder.proj", "x_embedder", "proj_out", ""]

    def test_tables_last_while_prompt_and_all_else_stay(self) -> None:
        tables = RunTables()
        prompt = (torch.ones(1, 3, 2), torch.ones(1, 3, dtype=torch.bool))
        first = tables.of("cond", prompt, 10.0)
        assert tables.of("cond", [each.clone() for each in prompt], 10.0) is first
        assert tables.of("uncond", prompt, 10.0) is not first
        assert tables.of("cond", prompt, 10.0) is first
        assert tables.of("cond", prompt, 6.0) is not first
        second = tables.of("cond", prompt, 6.0)
        assert tables.of("cond", (prompt[0] * 2, prompt[1]), 6.0) is not second

    def test_tables_end_with_other_weights(self) -> None:
        tables, prompt = RunTables(), (torch.ones(1, 3, 2),)
        tables.suit((1.0,))
        first = tables.of("cond", prompt, 10.0)
        tables.suit((1.0,))
        assert tables.of("cond", prompt, 10.0) is first
        tables.suit((0.5,))
        assert tables.of("cond", prompt, 10.0) is not first


def test_rows_that_lie_apart_are_not_joined() -> None:
    buffer = torch.zeros(6, 4)
    assert fused._joined([buffer[:2], buffer[2:]]) is not None
    assert fused._joined([buffer[2:], buffer[:2]]) is None
    assert fused._joined([buffer[:2], buffer[3:]]) is None
    assert fused._joined([buffer[:2], torch.zeros(4, 4)]) is None


def _scaled(_: nn.Module, __: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(each * 1.5 for each in output)
    return output * 1.5


def _tensors(kept: Reuse) -> list[Tensor]:
    def walk(value: Any) -> list[Tensor]:
        if isinstance(value, Tensor):
            return [value]
        if isinstance(value, dict):
            value = list(value.values())
        return [t for each in value for t in walk(each)] if isinstance(value, list | tuple) else []

    return walk([kept.section, kept.step])
