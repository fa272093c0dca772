"""LoRA files of every layout mean the same change of the network, and leave no trace."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_hunyuan_video_lora_to_diffusers
from diffusers.loaders.single_file_utils import convert_hunyuan_video_transformer_to_diffusers
from peft import LoraConfig
from safetensors.torch import save_file
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
from framepack.weights.lora_names import ORIGINAL_NAMES

WIDTH, HIDDEN, RANK, ALPHA = 64, 256, 4, 2.0
Tensors = dict[str, Tensor]
Save = Callable[..., Path]


@pytest.fixture
def model() -> FramePackTransformer3DModel:
    return build()


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write tensors as a LoRA file."""

    def write(tensors: Tensors, name: str = "it.safetensors", **metadata: str) -> Path:
        path = tmp_path / name
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, path, metadata or None
        )
        return path

    return write


def _pair(rows: int, columns: int, rank: int = RANK) -> tuple[Tensor, Tensor]:
    return torch.randn(rank, columns), torch.randn(rows, rank) * 0.1


def _peft(modules: Mapping[str, tuple[int, int]], prefix: str = "transformer.") -> Tensors:
    tensors = {}
    for module, (rows, columns) in modules.items():
        down, up = _pair(rows, columns)
        tensors |= {f"{prefix}{module}.lora_A.weight": down, f"{prefix}{module}.lora_B.weight": up}
    return tensors


def _kohya(modules: Mapping[str, tuple[int, int]]) -> Tensors:
    tensors = {}
    for module, (rows, columns) in modules.items():
        name = f"lora_unet_{module.replace('.', '_')}"
        down, up = _pair(rows, columns)
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


OURS = {
    "transformer_blocks.0.attn.to_q": (WIDTH, WIDTH),
    "transformer_blocks.1.attn.add_v_proj": (WIDTH, WIDTH),
    "transformer_blocks.1.attn.to_out.0": (WIDTH, WIDTH),
    "transformer_blocks.1.attn.to_add_out": (WIDTH, WIDTH),
    "transformer_blocks.0.ff.net.0.proj": (HIDDEN, WIDTH),
    "transformer_blocks.0.ff_context.net.2": (WIDTH, HIDDEN),
    "single_transformer_blocks.1.attn.to_k": (WIDTH, WIDTH),
    "single_transformer_blocks.1.proj_mlp": (HIDDEN, WIDTH),
    "single_transformer_blocks.0.proj_out": (WIDTH, WIDTH + HIDDEN),
    "context_embedder.token_refiner.refiner_blocks.0.attn.to_q": (WIDTH, WIDTH),
}
ORIGINAL = {
    "double_blocks.0.img_attn_qkv": (3 * WIDTH, WIDTH),
    "double_blocks.1.txt_attn_qkv": (3 * WIDTH, WIDTH),
    "double_blocks.0.txt_mod.linear": (6 * WIDTH, WIDTH),
    "double_blocks.0.img_mlp.fc1": (HIDDEN, WIDTH),
    "single_blocks.1.linear1": (3 * WIDTH + HIDDEN, WIDTH),
    "single_blocks.1.linear2": (WIDTH, WIDTH + HIDDEN),
    "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
}


def _by_hand(module: str, delta: Tensor) -> Tensors:
    """What a change of an original HunyuanVideo layer is to our layers."""
    number = module.split(".")[1]
    double, single = f"transformer_blocks.{number}", f"single_transformer_blocks.{number}"
    q, k, v = delta[:WIDTH], delta[WIDTH : 2 * WIDTH], delta[2 * WIDTH : 3 * WIDTH]
    if "img_attn_qkv" in module:
        return {f"{double}.attn.to_q": q, f"{double}.attn.to_k": k, f"{double}.attn.to_v": v}
    if "txt_attn_qkv" in module:
        names = (f"{double}.attn.add_{letter}_proj" for letter in "qkv")
        return dict(zip(names, (q, k, v), strict=True))
    if "linear1" in module:
        parts = {
            f"{single}.attn.to_{letter}": part
            for letter, part in zip("qkv", (q, k, v), strict=True)
        }
        return parts | {f"{single}.proj_mlp": delta[3 * WIDTH :]}
    if module.startswith("final_layer"):
        return {"norm_out.linear": torch.cat([delta[WIDTH:], delta[:WIDTH]])}
    names = {
        "txt_mod.linear": f"{double}.norm1_context.linear",
        "img_mlp.fc1": f"{double}.ff.net.0.proj",
        "linear2": f"{single}.proj_out",
    }
    return {names[module.split(".", 2)[2]]: delta}


def _deltas_by_hand(tensors: Tensors, modules: Mapping[str, Any], kohya: bool) -> Tensors:
    deltas: Tensors = {}
    for module in modules:
        name = f"lora_unet_{module.replace('.', '_')}" if kohya else f"transformer.{module}"
        down, up = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
        delta = tensors[f"{name}.{up}.weight"] @ tensors[f"{name}.{down}.weight"]
        delta = delta * (ALPHA / RANK if kohya else 1.0)
        deltas |= {module: delta} if module in OURS else _by_hand(module, delta)
    return deltas


def _fingerprint(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# --- merging ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kohya", [False, True], ids=["peft", "kohya"])
@pytest.mark.parametrize("modules", [OURS, ORIGINAL], ids=["framepack", "hunyuan"])
def test_the_output_is_that_of_weights_merged_by_hand(
    model: FramePackTransformer3DModel, save: Save, modules: dict[str, Any], kohya: bool
) -> None:
    tensors = _kohya(modules) if kohya else _peft(modules)
    expected = copy.deepcopy(model)
    with torch.no_grad():
        for name, delta in _deltas_by_hand(tensors, modules, kohya).items():
            expected.get_submodule(name).weight += 0.7 * delta
    before = _fingerprint(model)
    inputs = section_inputs(inverted_indices(1, 9), height=4, width=4)
    plain = predict(model, inputs)

    merged = apply_loras(model, [(read_lora(save(tensors)), 0.7)])
    found = predict(model, inputs)
    torch.testing.assert_close(found, predict(expected, inputs), rtol=1e-4, atol=1e-4)
    assert (found - plain).abs().max() > 1e-2
    merged.remove()
    assert _fingerprint(model) == before
    assert torch.equal(predict(model, inputs), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_removing_restores_every_byte(save: Save, dtype: torch.dtype) -> None:
    model = build().to(dtype)
    model.transformer_blocks[0].attn.to_q.weight.data[0, :2] = torch.tensor([-0.0, torch.nan])
    before = _fingerprint(model)
    merged = apply_loras(model, [(read_lora(save(_peft(OURS))), 1.3)])
    assert _fingerprint(model) != before
    merged.remove()
    assert _fingerprint(model) == before
    merged.remove()
    assert _fingerprint(model) == before


def test_weights_that_are_slices_of_one_buffer_stay_slices(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    attention = model.transformer_blocks[0].attn
    layers = (attention.to_q, attention.to_k, attention.to_v)
    packed = torch.cat([layer.weight.detach() for layer in layers])
    original = packed.clone()
    for layer, part in zip(layers, packed.split(WIDTH), strict=True):
        layer.weight = nn.Parameter(part)
    lora = read_lora(save(_peft({"double_blocks.0.img_attn_qkv": (3 * WIDTH, WIDTH)})))
    merged = apply_loras(model, [(lora, 1.0)])
    delta = torch.cat([merged_delta([(lora, 1.0)], name) for name in merged.touched])
    assert torch.equal(packed, original + delta)
    merged.remove()
    assert torch.equal(packed, original)


def test_the_new_weight_is_rounded_once(save: Save) -> None:
    model = build().bfloat16()
    name = "transformer_blocks.0.attn.to_q"
    lora = read_lora(save(_peft({name: OURS[name]})))
    weight = model.get_submodule(name).weight
    before = weight.detach().clone()
    apply_loras(model, [(lora, 0.5), (lora, 0.25)])
    exact = before.float() + merged_delta([(lora, 0.5), (lora, 0.25)], name)
    assert torch.equal(weight.detach(), exact.bfloat16())


def test_weight_zero_touches_nothing(model: FramePackTransformer3DModel, save: Save) -> None:
    before = _fingerprint(model)
    merged = apply_loras(model, [(read_lora(save(_peft(OURS))), 0.0)])
    assert merged.touched == ()
    assert _fingerprint(model) == before


def test_loras_add_up_in_any_order(model: FramePackTransformer3DModel, save: Save) -> None:
    first = read_lora(save(_peft(OURS), "first.safetensors"))
    second = read_lora(save(_kohya(ORIGINAL), "second.safetensors"))
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
    lora = read_lora(save(_peft(OURS)))
    merged = apply_loras(model, [(lora, 1.0)])
    before = _fingerprint(model)
    with pytest.raises(InvalidRequest, match="merged already"):
        apply_loras(model, [(lora, 1.0)])
    assert _fingerprint(model) == before
    merged.remove()
    apply_loras(model, [(lora, 1.0)])


def test_a_failure_half_way_changes_nothing(
    model: FramePackTransformer3DModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = read_lora(save(_peft(OURS)))
    before = _fingerprint(model)
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
    assert _fingerprint(model) == before
    assert apply_loras(model, [(lora, 1.0)]).touched


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(
    model: FramePackTransformer3DModel, save: Save, weight: float
) -> None:
    with pytest.raises(InvalidRequest, match="give a finite number"):
        apply_loras(model, [(read_lora(save(_peft(OURS))), weight)])


def test_weights_of_a_quantised_format_are_refused(save: Save) -> None:
    model = build().to(torch.float8_e4m3fn)
    with pytest.raises(InvalidRequest, match="before quantising"):
        apply_loras(model, [(read_lora(save(_peft(OURS))), 1.0)])


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
    lora = read_lora(save(_kohya(shapes)))
    assert lora.layout == "kohya, FramePack names"
    assert lora.unknown == ()
    assert {name: delta.shape for name, delta in lora.deltas.items()} == shapes
    check_lora(lora, model)


def test_layouts_are_told_apart(save: Save) -> None:
    layouts = [
        read_lora(save(tensors)).layout
        for tensors in (_peft(OURS), _peft(ORIGINAL), _kohya(OURS), _kohya(ORIGINAL))
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
    tensors = _peft(FULL)
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
    tensors = _peft(modules)
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

ONE = {"transformer_blocks.0.attn.to_q": (WIDTH, WIDTH)}
[ONE_NAME] = ONE


def _scale(path: Path, name: str = ONE_NAME) -> float:
    return read_lora(path).deltas[name].scale


def test_the_scale_is_alpha_over_rank(save: Save) -> None:
    assert _scale(save(_kohya(ONE))) == ALPHA / RANK


def test_without_alpha_the_scale_is_one(save: Save) -> None:
    assert _scale(save(_peft(ONE))) == 1.0


def test_alpha_comes_from_the_adapters_metadata(save: Save) -> None:
    config = {"transformer.r": RANK, "transformer.lora_alpha": 12}
    assert _scale(save(_peft(ONE), lora_adapter_metadata=json.dumps(config))) == 3.0
    bare = {"lora_alpha": 12, "use_rslora": True}
    assert _scale(save(_peft(ONE), lora_adapter_metadata=json.dumps(bare))) == 6.0


def test_a_modules_own_alpha_wins_over_the_metadata(save: Save) -> None:
    tensors = _peft(ONE) | {f"transformer.{ONE_NAME}.alpha": torch.tensor([8.0])}
    config = json.dumps({"transformer.lora_alpha": 12})
    assert _scale(save(tensors, lora_adapter_metadata=config)) == 2.0


def test_the_pattern_gives_single_modules_their_alpha(save: Save) -> None:
    pattern = {"^transformer_blocks.0.attn.to_q": 4, "to_k": 20}
    config = json.dumps({"transformer.lora_alpha": 12, "transformer.alpha_pattern": pattern})
    other = "transformer_blocks.0.attn.to_k"
    path = save(_peft(ONE | {other: (WIDTH, WIDTH)}), lora_adapter_metadata=config)
    assert (_scale(path), _scale(path, other)) == (1.0, 5.0)


@pytest.mark.parametrize("text", ["{", "[]", '{"alpha_pattern": {"to_.*": 4}}'])
def test_metadata_that_cannot_be_read_is_refused(save: Save, text: str) -> None:
    with pytest.raises(InvalidRequest, match="lora_adapter_metadata"):
        read_lora(save(_peft(ONE), lora_adapter_metadata=text))


# --- what does not fit -----------------------------------------------------------------------


def _refusal(lora: LoraFile, network: nn.Module) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_lora(lora, network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_named_and_counted(
    model: FramePackTransformer3DModel, save: Save
) -> None:
    tensors = _peft(ONE) | _peft({f"transformer_blocks.{i}.attn.to_q": (8, 8) for i in range(2, 9)})
    tensors |= _peft({"transformer_blocks.0.attn.to_v": (WIDTH, 2 * WIDTH)})
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
    lora = read_lora(save(_peft({"transformer_blocks.9.attn.to_q": (WIDTH, WIDTH)})))
    before = _fingerprint(model)
    for weight in (0.0, 1.0):
        with pytest.raises(InvalidRequest, match=r"transformer_blocks\.9\.attn\.to_q"):
            apply_loras(model, [(lora, weight)])
    assert _fingerprint(model) == before


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
    lora = read_lora(save(_peft(ONE) | {key: torch.ones(1)}))
    assert lora.unknown == (key,)
    assert key in _refusal(lora, model)


def test_the_published_models_take_loras_of_their_size_only() -> None:
    with torch.device("meta"):
        published = FramePackTransformer3DModel(**PUBLISHED)
    settings = Settings()
    shapes = {key: model_shapes(PRESETS[key], settings) for key in ("tiny", "i2v", "f1")}
    assert shapes["i2v"] == shapes["f1"] == linear_shapes(published)
    assert shapes["tiny"]["transformer_blocks.0.attn.to_q"][0] < 3072


# --- files -----------------------------------------------------------------------------------


def _error(path: Path) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_lora(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "does not exist" in _error(tmp_path / "none.safetensors")
    assert "is a folder" in _error(tmp_path)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, save: Save) -> None:
    path = tmp_path / "empty.safetensors"
    path.touch()
    assert "empty file" in _error(path)
    assert "holds no tensor" in _error(save({}))


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".PTH", ".bin"])
def test_pickles_are_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"lora{suffix}"
    path.write_bytes(b"\x80\x04")
    assert "needed: the same LoRA as .safetensors" in _error(path)


def test_a_damaged_file_is_refused(tmp_path: Path, save: Save) -> None:
    path = save(_peft(ONE))
    path.write_bytes(path.read_bytes()[:-50])
    assert "damaged or not a safetensors file" in _error(path)
    path.write_bytes(b"not a LoRA at all, rather some text that is long enough to be read")
    assert "damaged or not a safetensors file" in _error(path)


def test_an_unknown_layout_is_named(save: Save) -> None:
    keys = [f"lora_unet_down_blocks_{i}_attn.lora_down.weight" for i in range(9)]
    text = _error(save({key: torch.ones(1) for key in keys}))
    assert f"{keys[0]}, {keys[1]}" in text
    assert "and 4 more" in text
    assert "lora_A.weight" in text


@pytest.mark.parametrize("kept", ["lora_A", "lora_B"])
def test_a_missing_partner_is_named(save: Save, kept: str) -> None:
    tensors = {key: value for key, value in _peft(ONE).items() if kept in key}
    gone = "up" if kept == "lora_A" else "down"
    assert f"no {gone} matrix of transformer.{ONE_NAME}" in _error(save(tensors))


def test_an_alpha_alone_is_incomplete(save: Save) -> None:
    path = save({"lora_unet_single_blocks_0_linear2.alpha": torch.tensor(1.0)})
    assert "no down and no up matrix" in _error(path)


@pytest.mark.parametrize(
    ("down", "up"),
    [((4, 64), (64, 3)), ((64,), (64, 4)), ((4, 64, 1, 1), (64, 4, 1, 1)), ((0, 64), (64, 0))],
)
def test_matrices_that_cannot_be_multiplied_are_refused(
    save: Save, down: tuple[int, ...], up: tuple[int, ...]
) -> None:
    name = f"transformer.{ONE_NAME}"
    tensors = {f"{name}.lora_A.weight": torch.ones(down), f"{name}.lora_B.weight": torch.ones(up)}
    assert "of one rank" in _error(save(tensors))


def test_rows_that_cannot_be_shared_out_are_refused(save: Save) -> None:
    for module, rows in (("double_blocks.0.img_attn_qkv", 100), ("single_blocks.0.linear1", 192)):
        assert "cannot be shared out" in _error(save(_peft({module: (rows, WIDTH)})))


@pytest.mark.parametrize("key", ["lora_down.weight", "alpha"])
def test_numbers_that_are_not_finite_are_refused(save: Save, key: str) -> None:
    tensors = _kohya(ONE)
    [name] = [name for name in tensors if name.endswith(key)]
    tensors[name].view(-1)[0] = torch.nan
    assert "not finite" in _error(save(tensors))


def test_one_layer_under_two_names_is_refused(save: Save) -> None:
    tensors = _peft(ONE) | _peft({"double_blocks.0.img_attn_qkv": (3 * WIDTH, WIDTH)})
    assert f"changes {ONE_NAME} twice" in _error(save(tensors))


def test_two_adapters_in_one_file_are_refused(save: Save) -> None:
    tensors = _peft(ONE)
    tensors |= {k.replace(".weight", ".second.weight"): v.clone() for k, v in tensors.items()}
    assert "two adapters in one file" in _error(save(tensors))
