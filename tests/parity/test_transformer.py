"""Our transformer against diffusers' class and the official implementation's outputs, in fp32."""

import copy
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from safetensors import safe_open
from tests.helpers.networks import SMALL, in_bf16, randomize, relative_error, section_inputs
from torch import Tensor

from framepack.domain.packing import FrameIndices, forward_indices, inverted_indices
from framepack.models.transformer import FramePackTransformer3DModel

TOLERANCE = 1e-5

GOLDEN = Path(__file__).parent / "golden"

LAYOUTS = {
    "last inverted section": inverted_indices(0, 9),
    "first inverted section": inverted_indices(3, 9),
    "forward section": forward_indices(9),
    "short forward section": forward_indices(4),
}

# Official argument names, where they differ from diffusers'.
OFFICIAL_NAMES = {
    "clean_latents": "latents_clean",
    "clean_latent_indices": "indices_latents_clean",
    "clean_latents_2x": "latents_history_2x",
    "clean_latent_2x_indices": "indices_latents_history_2x",
    "clean_latents_4x": "latents_history_4x",
    "clean_latent_4x_indices": "indices_latents_history_4x",
    "image_embeddings": "image_embeds",
    "latent_indices": "indices_latents",
}

Pair = tuple[FramePackTransformer3DModel, HunyuanVideoFramepackTransformer3DModel]


def build_pair(**config: Any) -> Pair:
    theirs = HunyuanVideoFramepackTransformer3DModel(**{**SMALL, **config}).eval()
    randomize(theirs)
    ours = FramePackTransformer3DModel(**{**SMALL, **config}).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.fixture(scope="module", params=["modules", "packed"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Both networks; ours as it was loaded, and with its projections packed as for sampling."""
    ours, theirs = build_pair()
    if request.param == "packed":
        ours.pack_projections()
    return ours, theirs


@torch.inference_mode()
def run(model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    sample: Tensor = model(**inputs, return_dict=False)[0]
    return sample


def assert_equal_outputs(pair: Pair, inputs: dict[str, Tensor]) -> None:
    ours, theirs = pair
    expected = run(theirs, inputs)
    found = run(ours, inputs)
    assert found.shape == expected.shape
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("prompt_lengths", [(23,), (23, 30)], ids=str)
@pytest.mark.parametrize("size", [(8, 12), (10, 6), (14, 22), (15, 11), (2, 2)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_equals_diffusers(
    pair: Pair, layout: str, size: tuple[int, int], prompt_lengths: tuple[int, ...]
) -> None:
    height, width = size
    inputs = section_inputs(
        LAYOUTS[layout], height=height, width=width, prompt_lengths=prompt_lengths
    )
    assert_equal_outputs(pair, inputs)


@pytest.mark.parametrize("prompt_lengths", [(30,), (1,), (7, 7), (29, 5), (30, 30, 4)], ids=str)
def test_text_masks_work_as_in_diffusers(pair: Pair, prompt_lengths: tuple[int, ...]) -> None:
    inputs = section_inputs(LAYOUTS["last inverted section"], prompt_lengths=prompt_lengths)
    assert_equal_outputs(pair, inputs)


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 3, "attention_head_dim": 16, "rope_axes_dim": (4, 6, 6)},
        {"num_layers": 1, "num_single_layers": 3, "num_refiner_layers": 1},
        {"num_layers": 0},
        {"num_single_layers": 0},
        {"mlp_ratio": 2.5, "rope_theta": 100.0},
        {"guidance_embeds": False},
        {"in_channels": 8, "out_channels": 8},
    ],
    ids=str,
)
def test_other_configs_equal_diffusers(config: dict[str, Any]) -> None:
    inputs = section_inputs(
        LAYOUTS["forward section"], prompt_lengths=(23, 30), config={**SMALL, **config}
    )
    assert_equal_outputs(build_pair(**config), inputs)


@pytest.mark.parametrize(
    "file", sorted(GOLDEN.glob("transformer-*.safetensors")), ids=lambda f: f.stem
)
@pytest.mark.parametrize("packed", [False, True], ids=["modules", "packed"])
def test_output_equals_the_official_implementation(file: Path, packed: bool) -> None:
    with safe_open(file, "pt") as tensors:
        config = json.loads(tensors.metadata()["config"])
        stored = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    model = FramePackTransformer3DModel(**config).eval()
    model.load_state_dict(_below("weights.", stored))
    if packed:
        model.pack_projections()
    inputs = {
        OFFICIAL_NAMES.get(name, name): value for name, value in _below("inputs.", stored).items()
    }
    assert relative_error(run(model, inputs), stored["output"]) <= TOLERANCE


def test_all_four_official_cases_are_there() -> None:
    assert len(list(GOLDEN.glob("transformer-*.safetensors"))) == 4


def test_samples_may_have_different_layouts(pair: Pair) -> None:
    """A batch of different sections equals diffusers' run of each section alone."""
    ours, theirs = pair
    layouts = [inverted_indices(0, 9), inverted_indices(2, 9)]
    inputs = section_inputs(layouts[0], prompt_lengths=(23, 12))
    together = {**inputs, **_index_arguments(*layouts)}
    found = run(ours, together)
    for row, layout in enumerate(layouts):
        alone = {
            name: value[row : row + 1]
            for name, value in inputs.items()
            if not name.startswith("indices")
        }
        alone |= {name: value[0] for name, value in _index_arguments(layout).items()}
        assert relative_error(found[row : row + 1], run(theirs, alone)) <= TOLERANCE


@pytest.mark.parametrize("prompt_lengths", [(23,), (23, 30)], ids=str)
def test_bf16_is_as_near_to_fp32_as_diffusers(pair: Pair, prompt_lengths: tuple[int, ...]) -> None:
    ours, theirs = pair
    inputs = section_inputs(LAYOUTS["forward section"], prompt_lengths=prompt_lengths)
    exact = run(theirs, inputs)
    rounded = in_bf16(inputs)
    our_error = relative_error(run(copy.deepcopy(ours).bfloat16(), rounded), exact)
    their_error = relative_error(run(copy.deepcopy(theirs).bfloat16(), rounded), exact)
    assert our_error <= 1.25 * their_error


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("prompt_lengths", [(23,), (23, 30)], ids=str)
def test_gradients_equal_diffusers(checkpointing: bool, prompt_lengths: tuple[int, ...]) -> None:
    ours, theirs = build_pair()
    if checkpointing:
        ours.enable_gradient_checkpointing()
    inputs = section_inputs(LAYOUTS["last inverted section"], prompt_lengths=prompt_lengths)
    for model in (ours, theirs):
        model.train()
        model(**inputs).sample.square().mean().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        gradient = expected[name].grad
        assert (parameter.grad is None) == (gradient is None), name
        if gradient is not None and gradient.norm() > 1e-6:
            assert relative_error(parameter.grad, gradient) <= 1e-4, name


def test_state_dict_and_config_are_those_of_diffusers() -> None:
    ours, theirs = build_pair()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    skipped = {"_class_name", "_diffusers_version"}
    assert {k: v for k, v in ours.config.items() if k not in skipped} == {
        k: v for k, v in theirs.config.items() if k not in skipped
    }


@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_arguments_are_named_and_ordered_as_in_diffusers(method: str) -> None:
    ours = inspect.signature(getattr(FramePackTransformer3DModel, method)).parameters
    theirs = inspect.signature(getattr(HunyuanVideoFramepackTransformer3DModel, method)).parameters
    own = [name for name, p in ours.items() if p.kind is p.KEYWORD_ONLY]
    assert own == (["step_cache", "reuse"] if method == "forward" else [])
    assert [name for name in ours if name not in own] == list(theirs)
    if method == "__init__":
        assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]


def test_either_class_loads_what_the_other_saved(tmp_path: Path, pair: Pair) -> None:
    ours, theirs = pair
    inputs = section_inputs(LAYOUTS["forward section"])
    ours.save_pretrained(tmp_path / "ours", max_shard_size="200KB")
    theirs.save_pretrained(tmp_path / "theirs")
    from_theirs = FramePackTransformer3DModel.from_pretrained(tmp_path / "theirs")
    from_ours = HunyuanVideoFramepackTransformer3DModel.from_pretrained(tmp_path / "ours")
    expected = run(ours, inputs)
    # Not to the last bit: matrix products round by the alignment of mapped weights.
    assert relative_error(run(from_theirs, inputs), expected) <= TOLERANCE
    assert relative_error(run(from_ours, inputs), expected) <= TOLERANCE


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _index_arguments(*layouts: FrameIndices) -> dict[str, Tensor]:
    return {
        "indices_latents": torch.tensor([x.noisy for x in layouts]),
        "indices_latents_clean": torch.tensor([x.clean for x in layouts]),
        "indices_latents_history_2x": torch.tensor([x.history_2x for x in layouts]),
        "indices_latents_history_4x": torch.tensor([x.history_4x for x in layouts]),
    }
