"""LoRA files of every layout name the same layers with the same scale."""

import copy
import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_hunyuan_video_lora_to_diffusers
from diffusers.loaders.single_file_utils import convert_hunyuan_video_transformer_to_diffusers
from peft import LoraConfig
from tests.helpers.loras import (
    ALPHA,
    ONE,
    ONE_NAME,
    ORIGINAL,
    OURS,
    RANK,
    WIDTH,
    Save,
    kohya_lora,
    peft_lora,
)
from tests.helpers.networks import build, predict, section_inputs

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import inverted_indices
from framepack.domain.settings import Settings
from framepack.models.spec import PRESETS
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.lora import (
    apply_loras,
    check_lora,
    linear_shapes,
    merged_delta,
    model_shapes,
    read_lora,
)
from framepack.weights.lora_names import ORIGINAL_NAMES

# --- names -----------------------------------------------------------------------------------


def test_original_names_cover_every_layer_but_those_that_framepack_added() -> None:
    network = build(num_layers=1, num_single_layers=1, num_refiner_layers=1)
    named = {part.format(0) for target in ORIGINAL_NAMES.values() for part in target.modules}
    assert linear_shapes(network).keys() - named == {"image_projection.up", "image_projection.down"}
    assert named <= linear_shapes(network).keys()


@pytest.mark.parametrize(
    ("prefix", "down", "up"),
    [
        ("", "lora_A", "lora_B"),
        ("transformer.", "lora_A.default", "lora_B.default"),
        ("diffusion_model.", "lora_A", "lora_B"),
        ("base_model.model.", "lora_A.face", "lora_B.face"),
        ("transformer.", "lora.down", "lora.up"),
        ("diffusion_model.", "lora_down", "lora_up"),
    ],
)
def test_every_spelling_of_a_pair_is_read(save: Save, prefix: str, down: str, up: str) -> None:
    tensors = {}
    for module in ("transformer_blocks.1.attn.to_out.0", "double_blocks.0.img_attn.proj"):
        tensors[f"{prefix}{module}.{down}.weight"] = torch.ones(RANK, WIDTH)
        tensors[f"{prefix}{module}.{up}.weight"] = torch.ones(WIDTH, RANK)
    lora = read_lora(save(tensors))
    assert lora.unknown == ()
    assert set(lora.deltas) == {
        "transformer_blocks.1.attn.to_out.0",
        "transformer_blocks.0.attn.to_out.0",
    }


def test_every_linear_layer_is_found_under_its_underscored_name(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    shapes = linear_shapes(model)
    lora = read_lora(save(kohya_lora(shapes)))
    assert lora.layout == "kohya, FramePack names"
    assert lora.unknown == ()
    assert {name: delta.shape for name, delta in lora.deltas.items()} == shapes
    check_lora(lora, model)


def test_layouts_are_told_apart(save: Save) -> None:
    layouts = [
        read_lora(save(tensors)).layout
        for tensors in (
            peft_lora(OURS),
            peft_lora(ORIGINAL),
            kohya_lora(OURS),
            kohya_lora(ORIGINAL),
        )
    ]
    assert layouts == [
        "diffusers",
        "HunyuanVideo",
        "kohya, FramePack names",
        "kohya, HunyuanVideo names",
    ]


# --- against diffusers' own conversion -------------------------------------------------------

FULL = {
    "double_blocks.0.img_attn_qkv": (9216, 3072),
    "double_blocks.3.txt_attn_qkv": (9216, 3072),
    "double_blocks.3.img_attn_proj": (3072, 3072),
    "double_blocks.3.txt_attn_proj": (3072, 3072),
    "double_blocks.19.img_mod.linear": (18432, 3072),
    "double_blocks.19.txt_mod.linear": (18432, 3072),
    "double_blocks.19.img_mlp.fc1": (12288, 3072),
    "double_blocks.19.img_mlp.fc2": (3072, 12288),
    "double_blocks.19.txt_mlp.fc1": (12288, 3072),
    "double_blocks.19.txt_mlp.fc2": (3072, 12288),
    "single_blocks.39.linear1": (21504, 3072),
    "single_blocks.39.linear2": (3072, 15360),
    "single_blocks.39.modulation.linear": (9216, 3072),
    "time_in.mlp.0": (3072, 256),
    "time_in.mlp.2": (3072, 3072),
    "guidance_in.mlp.0": (3072, 256),
    "vector_in.in_layer": (3072, 768),
    "vector_in.out_layer": (3072, 3072),
    "txt_in.input_embedder": (3072, 4096),
    "txt_in.t_embedder.mlp.0": (3072, 256),
    "txt_in.c_embedder.linear_2": (3072, 3072),
    "txt_in.individual_token_refiner.blocks.1.self_attn_proj": (3072, 3072),
    "txt_in.individual_token_refiner.blocks.1.mlp.fc1": (12288, 3072),
    "txt_in.individual_token_refiner.blocks.1.adaLN_modulation.1": (6144, 3072),
    "final_layer.linear": (64, 3072),
}


def test_published_sizes_convert_as_diffusers_converts_them(save: Save) -> None:
    tensors = peft_lora(FULL)
    lora = read_lora(save(tensors))
    theirs = _convert_hunyuan_video_lora_to_diffusers(dict(tensors))
    ours = {}
    for name, delta in lora.deltas.items():
        ours[f"transformer.{name}.lora_A.weight"] = delta.down
        ours[f"transformer.{name}.lora_B.weight"] = delta.up
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    check_lora(lora, model_shapes(PRESETS["i2v"], Settings()))


def test_products_convert_as_diffusers_converts_the_networks_weights(save: Save) -> None:
    """The two layers whose rows diffusers' LoRA conversion cuts in the down matrix as well."""
    modules = {
        "txt_in.individual_token_refiner.blocks.1.self_attn_qkv": (3 * WIDTH, WIDTH),
        "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
        "double_blocks.1.txt_attn_qkv": (3 * WIDTH, WIDTH),
    }
    tensors = peft_lora(modules)
    full = {
        f"{module}.weight": tensors[f"transformer.{module}.lora_B.weight"]
        @ tensors[f"transformer.{module}.lora_A.weight"]
        for module in modules
    }
    theirs = convert_hunyuan_video_transformer_to_diffusers(full)
    lora = read_lora(save(tensors))
    assert {f"{name}.weight" for name in lora.deltas} == theirs.keys()
    for name in lora.deltas:
        found = merged_delta([(lora, 1.0)], name)
        torch.testing.assert_close(found, theirs[f"{name}.weight"])


def test_what_diffusers_saves_gives_the_output_that_peft_gives(
    model: FramePackTransformer3DModel, tmp_path: Path
) -> None:
    with_peft = copy.deepcopy(model)
    targets = ["to_q", "add_k_proj", "proj_mlp"]
    with_peft.add_adapter(
        LoraConfig(
            r=RANK,
            lora_alpha=6,
            target_modules=targets,
            alpha_pattern={"proj_mlp": 2},
            init_lora_weights=False,
        )
    )
    with_peft.save_lora_adapter(tmp_path, weight_name="it.safetensors")
    lora = read_lora(tmp_path / "it.safetensors")
    assert {delta.scale for delta in lora.deltas.values()} == {1.5, 0.5}
    inputs = section_inputs(inverted_indices(1, 9), height=4, width=4)
    plain = predict(model, inputs)
    apply_loras(model, [(lora, 1.0)])
    found = predict(model, inputs)
    torch.testing.assert_close(found, predict(with_peft, inputs), rtol=1e-3, atol=1e-3)
    assert (found - plain).abs().max() > 1e-2


# --- alphas ----------------------------------------------------------------------------------


def _scale(path: Path, name: str = ONE_NAME) -> float:
    return read_lora(path).deltas[name].scale


def test_the_scale_is_alpha_over_rank(save: Save) -> None:
    assert _scale(save(kohya_lora(ONE))) == ALPHA / RANK


def test_without_alpha_the_scale_is_one(save: Save) -> None:
    assert _scale(save(peft_lora(ONE))) == 1.0


def test_alpha_comes_from_the_adapters_metadata(save: Save) -> None:
    config = {"transformer.r": RANK, "transformer.lora_alpha": 12}
    assert _scale(save(peft_lora(ONE), lora_adapter_metadata=json.dumps(config))) == 3.0
    bare = {"lora_alpha": 12, "use_rslora": True}
    assert _scale(save(peft_lora(ONE), lora_adapter_metadata=json.dumps(bare))) == 6.0


def test_a_modules_own_alpha_wins_over_the_metadata(save: Save) -> None:
    tensors = peft_lora(ONE) | {f"transformer.{ONE_NAME}.alpha": torch.tensor([8.0])}
    config = json.dumps({"transformer.lora_alpha": 12})
    assert _scale(save(tensors, lora_adapter_metadata=config)) == 2.0


def test_the_pattern_gives_single_modules_their_alpha(save: Save) -> None:
    pattern = {"^transformer_blocks.0.attn.to_q": 4, "to_k": 20}
    config = json.dumps({"transformer.lora_alpha": 12, "transformer.alpha_pattern": pattern})
    other = "transformer_blocks.0.attn.to_k"
    path = save(peft_lora(ONE | {other: (WIDTH, WIDTH)}), lora_adapter_metadata=config)
    assert (_scale(path), _scale(path, other)) == (1.0, 5.0)


@pytest.mark.parametrize("text", ["{", "[]", '{"alpha_pattern": {"to_.*": 4}}'])
def test_metadata_that_cannot_be_read_is_refused(save: Save, text: str) -> None:
    with pytest.raises(InvalidRequest, match="lora_adapter_metadata"):
        read_lora(save(peft_lora(ONE), lora_adapter_metadata=text))
