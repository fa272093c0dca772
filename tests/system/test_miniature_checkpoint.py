"""A whole model in the published layout goes through the real loader, encoders and decoder."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.helpers.miniature import LATENT_CHANNELS, WIDTH, Miniature, write_miniature

import framepack
from framepack.domain.errors import CheckpointError, MissingWeights
from framepack.domain.settings import Settings
from framepack.models.autoencoder import encode_image
from framepack.models.encoders import encode_prompt, zero_prompt
from framepack.models.spec import COMPONENTS, ModelSpec, resolve_spec
from framepack.pipeline import networks as networks_module
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.device import DeviceMemoryError


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return write_miniature(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def copy(tmp_path: Path) -> Miniature:
    """One of its own, for a test that damages it."""
    return write_miniature(tmp_path / "miniature")


@pytest.fixture(scope="module")
def spec(miniature: Miniature) -> ModelSpec:
    return resolve_spec(str(miniature.recipe))


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def components(spec: ModelSpec, settings: Settings) -> Components:
    return load_components(spec, settings)


def test_no_network_is_touched_while_loading(
    spec: ModelSpec, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the loader opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    loaded = load_components(spec, settings)
    assert all(getattr(loaded, name) is not None for name in COMPONENTS)


def test_every_tensor_is_what_the_files_say(components: Components, miniature: Miniature) -> None:
    stored: dict[str, torch.Tensor] = {}
    for path in miniature.transformer.glob("*.safetensors"):
        stored |= load_file(path)
    assert len(list(miniature.transformer.glob("*.safetensors"))) > 1
    loaded = components.transformer.state_dict()
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)


def test_prefixed_encoder_files_load(components: Components, miniature: Miniature) -> None:
    folder = miniature.siglip / "image_encoder"
    stored = load_file(folder / "model.safetensors")
    assert all(name.startswith("vision_model.") for name in stored)
    loaded = components.image_encoder.state_dict()
    assert all(
        torch.equal(value, stored[f"vision_model.{name}"].float()) for name, value in loaded.items()
    )


def test_components_of_repositories_are_found_in_the_models_folder(miniature: Miniature) -> None:
    spec = resolve_spec(str(miniature.hub_recipe))
    settings = Settings(device="cpu", dtype="float32", models_dir=miniature.models_dir)
    loaded = load_components(spec, settings, preload=())
    assert loaded.folders["vae"] == miniature.pipeline / "vae"
    assert set(loaded.hashes) == set(COMPONENTS)


def test_missing_weights_are_one_clear_line(miniature: Miniature, tmp_path: Path) -> None:
    spec = resolve_spec(str(miniature.hub_recipe))
    settings = Settings(device="cpu", models_dir=tmp_path, hf_home=tmp_path)
    with pytest.raises(MissingWeights) as raised:
        load_components(spec, settings)
    line = str(raised.value)
    assert "\n" not in line
    assert "https://huggingface.co/miniature/HunyuanVideo" in line
    assert "framepack models download" in line


def test_prompt_embeds_equal_the_padded_reference(components: Components, spec: ModelSpec) -> None:
    """The released code pads to the template's length and masks; we leave the padding out."""
    prompt, template = "the camera pans left", spec.prompt_template
    tokenizer: Any = components.tokenizer
    batch = tokenizer(
        template.apply(prompt),
        padding="max_length",
        max_length=template.max_length,
        truncation=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        hidden = components.text_encoder(**batch, output_hidden_states=True).hidden_states[-3]
    length = int(batch["attention_mask"].sum())
    expected = hidden[:, template.crop_start : length]

    embeds = components.encode_prompt(prompt)
    kept = length - template.crop_start
    assert embeds.prompt_embeds.shape == (1, template.pad_to, WIDTH)
    torch.testing.assert_close(embeds.prompt_embeds[:, :kept], expected, rtol=1e-5, atol=1e-5)
    assert embeds.prompt_embeds[:, kept:].abs().max() == 0
    assert embeds.prompt_mask.dtype == torch.bool
    assert embeds.prompt_mask.sum() == kept
    assert 3 < kept < template.pad_to


def test_pooled_prompt_equals_the_padded_reference(components: Components) -> None:
    prompt = "the camera pans left"
    tokenizer: Any = components.tokenizer_2
    batch = tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt")
    with torch.inference_mode():
        expected = components.text_encoder_2(input_ids=batch["input_ids"]).pooler_output
    pooled = components.encode_prompt(prompt).pooled
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)


def test_pooled_prompt_depends_on_every_word(components: Components) -> None:
    left = components.encode_prompt("the camera pans left").pooled
    right = components.encode_prompt("the camera pans right").pooled
    assert not torch.allclose(left, right, atol=1e-4)


def test_the_empty_prompt_has_embeddings(components: Components) -> None:
    embeds = components.encode_prompt("")
    assert embeds.prompt_mask.any()
    assert embeds.pooled.isfinite().all()


def test_a_prompt_longer_than_the_encoders_is_cut(components: Components, spec: ModelSpec) -> None:
    template = spec.prompt_template
    embeds = components.encode_prompt("a cat " * 200)
    assert embeds.prompt_mask.sum() == template.max_length - template.crop_start


def test_braces_in_a_prompt_are_kept(components: Components, spec: ModelSpec) -> None:
    plain = components.encode_prompt("left").prompt_embeds
    braces = components.encode_prompt("{left}").prompt_embeds
    assert not torch.equal(plain, braces)


SYSTEMS = ("Describe what moves.", "Braces {} and {x} are text.", "Two\n\nparagraphs.")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_prompt_is_seen_and_cut_off_exactly(
    components: Components, spec: ModelSpec, system: str
) -> None:
    prompt, own = "the camera pans left", spec.prompt_template
    head = f"<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
    tokenizer: Any = components.tokenizer
    ids = tokenizer(head + own.apply(prompt), return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        hidden = components.text_encoder(input_ids=ids, output_hidden_states=True)
    plain = components.encode_prompt(prompt)
    kept = int(plain.prompt_mask.sum())
    expected = hidden.hidden_states[-3][:, -kept:]

    embeds = components.encode_prompt(prompt, system)
    assert torch.equal(embeds.prompt_mask, plain.prompt_mask), "as many tokens are kept"
    torch.testing.assert_close(embeds.prompt_embeds[:, :kept], expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(embeds.prompt_embeds, plain.prompt_embeds, atol=1e-3)
    assert torch.equal(embeds.pooled, plain.pooled)


def test_the_models_own_crop_is_counted_alike(components: Components, spec: ModelSpec) -> None:
    template = spec.prompt_template
    own = template.with_system("x", components._num_tokens)
    assert own.max_length - own.crop_start == template.max_length - template.crop_start
    assert components._num_tokens(template.template.split("{}")[0]) == template.crop_start


def test_the_stand_in_for_a_negative_prompt_is_zero(components: Components) -> None:
    embeds = components.encode_prompt("left")
    zero = zero_prompt(embeds)
    assert zero.prompt_embeds.shape == embeds.prompt_embeds.shape
    assert zero.prompt_embeds.abs().max() == zero.pooled.abs().max() == 0
    assert torch.equal(zero.prompt_mask, embeds.prompt_mask)


def test_vision_is_the_encoders_last_hidden_state(components: Components) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    features = components.encode_vision(picture)
    side = 32
    resized = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    by_hand = torch.from_numpy(resized / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = components.image_encoder(pixel_values=by_hand).last_hidden_state
    assert features.shape == (1, 16, WIDTH)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_the_image_processor_needs_no_torchvision(components: Components) -> None:
    assert type(components.feature_extractor).__name__ == "SiglipImageProcessorPil"


def test_an_encoded_picture_depends_on_the_seed_only(components: Components) -> None:
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1

    def encode(seed: int) -> torch.Tensor:
        torch.manual_seed(seed * 7)  # the global generator must not matter
        return encode_image(components.vae, pixels, torch.Generator().manual_seed(seed))

    assert encode(1).shape == (1, LATENT_CHANNELS, 1, 4, 6)
    assert encode(1).dtype == torch.float32
    assert torch.equal(encode(1), encode(1))
    assert not torch.equal(encode(1), encode(2))


def test_an_encoded_picture_is_mean_plus_scaled_noise(components: Components) -> None:
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        posterior = components.vae.encode(pixels[:, :, None]).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(5))
    scaling = components.vae.config.scaling_factor
    expected = (posterior.mean + posterior.std * noise) * scaling
    found = encode_image(components.vae, pixels, torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, expected)


def test_decoding_gives_frames(components: Components) -> None:
    pixels = components.decode(torch.randn(1, LATENT_CHANNELS, 9, 4, 4))
    assert pixels.shape == (1, 3, 33, 32, 32)
    assert pixels.dtype == torch.float32


def test_without_a_preview_file_there_is_no_preview(components: Components) -> None:
    assert components.preview is None


def test_hashes_follow_the_content(copy: Miniature, settings: Settings) -> None:
    spec = resolve_spec(str(copy.recipe))
    before = load_components(spec, settings, preload=()).hashes
    path = copy.pipeline / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_out.conv.bias"] += 1
    save_file(tensors, path)
    after = load_components(spec, settings, preload=()).hashes
    assert {name for name in before if before[name] != after[name]} == {"vae"}


def test_components_of_different_models_are_refused(copy: Miniature, settings: Settings) -> None:
    config = copy.pipeline / "text_encoder" / "config.json"
    document = json.loads(config.read_text())
    config.write_text(json.dumps(document | {"hidden_size": 4096}))
    with pytest.raises(CheckpointError, match=r"hidden_size 4096.*needs 32 \(text_embed_dim\)"):
        load_components(resolve_spec(str(copy.recipe)), settings)


@pytest.mark.parametrize(
    ("component", "other", "said"),
    [
        ("transformer", "vae", "is AutoencoderKLHunyuanVideo, but Transformer3DModel is needed"),
        ("vae", "text_encoder", "is llama, but AutoencoderKLHunyuanVideo is needed"),
        ("text_encoder", "text_encoder_2", "is clip_text_model, but Llama is needed"),
        ("image_encoder", "text_encoder_2", "is clip_text_model, but SigLIP is needed"),
    ],
)
def test_a_component_of_another_kind_is_named_before_a_run_is_made(
    tmp_path: Path, component: str, other: str, said: str
) -> None:
    recipe = tmp_path / "recipe.toml"
    source = (framepack.TINY / other).as_posix()
    recipe.write_text(f'base = "tiny"\n[components]\n{component} = "{source}"\n')
    with pytest.raises(CheckpointError, match=f"^{component} in .* {said}") as caught:
        framepack.stream(
            prompt="x", model=str(recipe), output=tmp_path / "x.mp4", run_dir=tmp_path / "run"
        )
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_with_tokens_that_its_encoder_does_not_know_is_refused(
    tmp_path: Path, settings: Settings
) -> None:
    recipe = tmp_path / "recipe.toml"
    source = (framepack.TINY / "tokenizer_2").as_posix()
    recipe.write_text(f'base = "tiny"\n[components]\ntokenizer = "{source}"\n')
    with pytest.raises(CheckpointError, match=r"^tokenizer has \d+ tokens, but the encoder in"):
        load_components(resolve_spec(str(recipe)), settings, preload=("tokenizer",))


def test_an_encoder_with_a_missing_tensor_is_refused(copy: Miniature, settings: Settings) -> None:
    path = copy.pipeline / "text_encoder_2" / "model.safetensors"
    tensors = load_file(path)
    gone = "text_model.final_layer_norm.weight"
    del tensors[gone]
    save_file(tensors | {"text_model.junk": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing final_layer_norm.weight.*unexpected junk"):
        load_components(resolve_spec(str(copy.recipe)), settings)


def test_networks_make_room_for_each_other(
    spec: ModelSpec, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one group only, every network still can be used, one after the other."""
    loaded = load_components(spec, settings, preload=())
    largest = max(loaded.networks._needed_bytes(group) for group in networks_module._GROUPS)

    def used() -> int:
        slots = loaded.networks.slots.items()
        return sum(loaded.networks._needed_bytes(group) for group, slot in slots if slot.on_device)

    monkeypatch.setattr(networks_module, "memory_bytes", lambda _: (largest - used(), 10**12))
    for name in ("text_encoder", "image_encoder", "vae", "transformer", "vae", "transformer"):
        assert getattr(loaded, name) is not None
        assert used() <= largest
    assert loaded.networks.slots["transformer"].on_device
    assert not loaded.networks.slots["text"].modules


def test_networks_move_away_sooner_where_less_memory_is_reckoned_with(
    spec: ModelSpec, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All would fit; with a twentieth of the device each is there alone, however large it is."""

    def read_all(share: float) -> list[str]:
        loaded = load_components(spec, settings, memory_share=share, preload=())
        total = 2 * sum(loaded.networks._needed_bytes(group) for group in networks_module._GROUPS)

        def free(_: object) -> tuple[int, int]:
            slots = loaded.networks.slots.items()
            used = sum(
                loaded.networks._needed_bytes(group) for group, slot in slots if slot.on_device
            )
            return total - used, total

        monkeypatch.setattr(networks_module, "memory_bytes", free)
        for name in ("text_encoder", "image_encoder", "vae", "transformer"):
            assert getattr(loaded, name) is not None
        return [group for group, slot in loaded.networks.slots.items() if slot.on_device]

    assert read_all(1.0) == ["text", "vision", "vae", "transformer"]
    assert read_all(0.05) == ["transformer"]


def test_a_transformer_that_does_not_fit_is_said_so(
    spec: ModelSpec, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks_module, "memory_bytes", lambda _: (1000, 2000))
    loaded = load_components(spec, settings)
    with pytest.raises(DeviceMemoryError, match="transformer of miniature needs"):
        _ = loaded.transformer


def test_modules_in_memory_can_be_wrapped(components: Components, spec: ModelSpec) -> None:
    modules = {name: getattr(components, name) for name in COMPONENTS}
    wrapped = Components.from_modules(replace(spec, title="wrapped"), modules)
    assert wrapped.dtype == torch.float32
    assert wrapped.hashes == {}
    embeds = encode_prompt(
        "left",
        text_encoder=wrapped.text_encoder,
        tokenizer=wrapped.tokenizer,
        text_encoder_2=wrapped.text_encoder_2,
        tokenizer_2=wrapped.tokenizer_2,
        template=spec.prompt_template,
    )
    assert torch.equal(embeds.pooled, components.encode_prompt("left").pooled)
