"""The transformer's context, text, numbers and training."""

import copy
from typing import Any

import pytest
import torch
from tests.helpers.networks import (
    build,
    in_bf16,
    predict,
    randomize,
    relative_error,
    section_inputs,
)
from torch import Tensor, nn

from framepack.domain.packing import RELEASED, inverted_indices
from framepack.models.transformer import FramePackTransformer3DModel, trim_text

SECTION = inverted_indices(1, 9)


@pytest.fixture(scope="module")
def model() -> FramePackTransformer3DModel:
    return build()


class TestPacking:
    def streams(self, model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}

        def remember(module: nn.Module, args: Any, kwargs: dict[str, Tensor]) -> None:
            seen.update(kwargs)

        handle = model.get_submodule("transformer_blocks.0").register_forward_pre_hook(
            remember, with_kwargs=True
        )
        try:
            predict(model, inputs)
        finally:
            handle.remove()
        return seen

    def test_tokens_are_4x_then_2x_then_clean_then_noisy(
        self, model: FramePackTransformer3DModel
    ) -> None:
        inputs = section_inputs(SECTION)
        found = self.streams(model, inputs)["hidden_states"]
        counts = RELEASED.tokens(8, 12, 9)
        far, middle, clean, noisy = found.split(
            [counts["4x"], counts["2x"], counts["clean"], counts["noisy"]], dim=1
        )
        embed = model.clean_x_embedder
        latents = inputs["latents_clean"]
        patch = latents[0, :, 1, 2:4, 4:6]  # start picture is 0; row 1, column 2 of the 1x frame
        by_hand = (embed.proj.weight[:, :, 0] * patch).sum((1, 2, 3)) + embed.proj.bias
        torch.testing.assert_close(clean[0, 24 + 1 * 6 + 2], by_hand, rtol=1e-4, atol=1e-5)
        corner = inputs["latents_history_2x"][0, :, :2, :4, :4]
        by_hand = (embed.proj_2x.weight * corner).sum((1, 2, 3, 4)) + embed.proj_2x.bias
        torch.testing.assert_close(middle[0, 0], by_hand, rtol=1e-4, atol=1e-5)
        corner = inputs["latents_history_4x"][0, :, :4, :8, :8]
        by_hand = (embed.proj_4x.weight * corner).sum((1, 2, 3, 4)) + embed.proj_4x.bias
        torch.testing.assert_close(far[0, 0], by_hand, rtol=1e-4, atol=1e-5)
        with torch.inference_mode():
            assert torch.equal(noisy, model.x_embedder(inputs["hidden_states"]))

    def test_an_incomplete_coarse_patch_repeats_the_border(
        self, model: FramePackTransformer3DModel
    ) -> None:
        latents = torch.randn(1, 16, 1, 2, 6)
        _, tokens, _ = model.clean_x_embedder(None, latents, None)
        last = latents[0, :, :1, :, 4:].repeat(1, 2, 2, 2)
        last = torch.stack([last[:, :, 0], last[:, :, 1], last[:, :, 1], last[:, :, 1]], dim=2)
        last = torch.stack([last[..., 0], last[..., 1], last[..., 1], last[..., 1]], dim=-1)
        proj = model.clean_x_embedder.proj_2x
        by_hand = (proj.weight * last).sum((1, 2, 3, 4)) + proj.bias
        torch.testing.assert_close(tokens[0, 1], by_hand, rtol=1e-4, atol=1e-5)

    def test_text_is_the_picture_then_the_prompt(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION, prompt_lengths=(23,))
        text = self.streams(model, inputs)["encoder_hidden_states"]
        assert text.shape[1] == 11 + 23
        with torch.inference_mode():
            assert torch.equal(text[:, :11], model.image_projection(inputs["image_embeds"]))

    def test_one_prompt_needs_no_mask(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION, prompt_lengths=(9, 9))
        assert self.streams(model, inputs)["attention_mask"] is None

    def test_tiers_that_are_not_given_leave_no_tokens(
        self, model: FramePackTransformer3DModel
    ) -> None:
        inputs = section_inputs(SECTION)
        for name in ("latents_history_2x", "latents_history_4x"):
            inputs.pop(name)
            inputs.pop(f"indices_{name}")
        counts = RELEASED.tokens(8, 12, 9)
        found = self.streams(model, inputs)["hidden_states"]
        assert found.shape[1] == counts["clean"] + counts["noisy"]

    def test_indices_default_to_counting_from_zero(
        self, model: FramePackTransformer3DModel
    ) -> None:
        inputs = section_inputs(SECTION)
        inputs["indices_latents"] = torch.arange(9)
        expected = predict(model, inputs)
        del inputs["indices_latents"]
        assert torch.equal(predict(model, inputs), expected)

    def test_indices_count_as_one_row_or_one_per_sample(
        self, model: FramePackTransformer3DModel
    ) -> None:
        inputs = section_inputs(SECTION, prompt_lengths=(23, 30))
        expected = predict(model, inputs)
        rows = {k: v.expand(2, -1) if k.startswith("indices") else v for k, v in inputs.items()}
        assert torch.equal(predict(model, rows), expected)


class TestText:
    def test_padding_behind_the_longest_prompt_is_cut(self) -> None:
        embeds = torch.randn(2, 6, 3)
        mask = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
        cut, left = trim_text(embeds, mask)
        assert torch.equal(cut, embeds[:, :4])
        assert left is not None
        assert left.tolist() == [[True, True, False, False], [True, True, True, True]]

    def test_prompts_of_one_length_keep_no_mask(self) -> None:
        embeds = torch.randn(2, 6, 3)
        cut, left = trim_text(embeds, torch.tensor([[1, 1, 1, 0, 0, 0]] * 2))
        assert cut.shape[1] == 3
        assert left is None

    def test_a_gap_in_a_prompt_stays_masked(self) -> None:
        cut, left = trim_text(torch.randn(1, 4, 3), torch.tensor([[1, 0, 1, 0]]))
        assert cut.shape[1] == 3
        assert left is not None
        assert left.tolist() == [[True, False, True]]

    def test_no_mask_means_every_token_is_real(self) -> None:
        embeds = torch.randn(1, 4, 3)
        assert trim_text(embeds, None) == (embeds, None)

    def test_padding_does_not_reach_the_output(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION, prompt_lengths=(5, 30))
        expected = predict(model, inputs)
        inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"].clone()
        inputs["encoder_hidden_states"][0, 5:] = 1e3
        torch.testing.assert_close(predict(model, inputs), expected)

    def test_samples_of_a_batch_do_not_touch(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION, prompt_lengths=(5, 30))
        together = predict(model, inputs)
        for row in range(2):
            alone = {
                k: v if k.startswith("indices") else v[row : row + 1] for k, v in inputs.items()
            }
            assert relative_error(predict(model, alone), together[row : row + 1]) < 1e-5

    @pytest.mark.parametrize("prompt_lengths", [(0,), (0, 3)], ids=str)
    def test_an_empty_prompt_gives_numbers(
        self, model: FramePackTransformer3DModel, prompt_lengths: tuple[int, ...]
    ) -> None:
        assert (
            predict(model, section_inputs(SECTION, prompt_lengths=prompt_lengths)).isfinite().all()
        )

    def test_the_picture_may_be_left_out(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION)
        with_picture = predict(model, inputs)
        without = predict(model, {**inputs, "image_embeds": None})
        assert not torch.allclose(with_picture, without)


class TestErrors:
    def test_missing_guidance(self, model: FramePackTransformer3DModel) -> None:
        with pytest.raises(ValueError, match="guidance is missing"):
            predict(model, {**section_inputs(SECTION), "guidance": None})

    def test_history_without_indices(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION)
        del inputs["indices_latents_clean"]
        with pytest.raises(ValueError, match="2 latent frames came with no indices"):
            predict(model, inputs)

    def test_too_few_indices(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION)
        inputs["indices_latents"] = torch.arange(8)
        with pytest.raises(ValueError, match="9 latent frames came with 8 indices"):
            predict(model, inputs)

    def test_latents_that_do_not_divide_into_patches(
        self, model: FramePackTransformer3DModel
    ) -> None:
        with pytest.raises(ValueError, match="odd height or width"):
            predict(model, section_inputs(SECTION, height=13))

    def test_history_for_a_model_without_history(self) -> None:
        with pytest.raises(ValueError, match="has_clean_x_embedder"):
            predict(build(has_clean_x_embedder=False), section_inputs(SECTION))

    def test_picture_for_a_model_without_vision(self) -> None:
        with pytest.raises(ValueError, match="has_image_proj"):
            predict(build(has_image_proj=False), section_inputs(SECTION))

    @pytest.mark.parametrize(
        "config",
        [{"patch_size": 4}, {"patch_size_t": 2}, {"rope_axes_dim": (8, 8, 8)}, {"qk_norm": "none"}],
        ids=str,
    )
    def test_configs_that_no_checkpoint_has(self, config: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"needed|needs|use"):
            build(**config)


class TestNumbers:
    def test_the_same_call_gives_the_same_bits(self, model: FramePackTransformer3DModel) -> None:
        inputs = section_inputs(SECTION)
        assert torch.equal(predict(model, inputs), predict(model, inputs))

    def test_the_output_is_fp32_from_a_bf16_model(self, model: FramePackTransformer3DModel) -> None:
        small = copy.deepcopy(model).bfloat16()
        head_inputs: list[Tensor] = []
        small.proj_out.register_forward_pre_hook(lambda _, args: head_inputs.append(args[0]))
        found = predict(small, in_bf16(section_inputs(SECTION)))
        weight, bias = small.proj_out.weight.float(), small.proj_out.bias.float()
        in_fp32 = head_inputs[0].float() @ weight.T + bias
        assert found.dtype == torch.float32
        # [T, h, w, C, 2, 2] patches back to latents, by hand for the first token.
        torch.testing.assert_close(
            found[0, :, 0, :2, :2].flatten(), in_fp32[0, 0], rtol=1e-5, atol=1e-5
        )

    def test_the_output_is_fp32_under_autocast(self, model: FramePackTransformer3DModel) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            found = predict(model, section_inputs(SECTION))
        assert found.dtype == torch.float32

    def test_scalar_timestep_and_guidance_serve_a_batch(
        self, model: FramePackTransformer3DModel
    ) -> None:
        inputs = section_inputs(SECTION, prompt_lengths=(23, 30))
        inputs["timestep"] = torch.tensor([700.0, 700.0])
        expected = predict(model, inputs)
        inputs |= {"timestep": torch.tensor(700.0), "guidance": torch.tensor(10_000.0)}
        assert torch.equal(predict(model, inputs), expected)


class TestTraining:
    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_every_parameter_learns_under_autocast(self, checkpointing: bool) -> None:
        model = build().train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        inputs = section_inputs(SECTION, prompt_lengths=(23, 30))
        with torch.autocast("cpu", torch.bfloat16):
            sample = model(**inputs).sample
        sample.square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name

    def test_training_works_after_inference(self) -> None:
        model = build()
        inputs = section_inputs(SECTION)
        predict(model, inputs)
        model(**inputs).sample.mean().backward()
        assert model.proj_out.weight.grad is not None

    def test_copies_are_independent(self) -> None:
        model = build()
        inputs = section_inputs(SECTION)
        expected = predict(model, inputs)
        twin = copy.deepcopy(model)
        randomize(twin, seed=5)
        assert torch.equal(predict(model, inputs), expected)
