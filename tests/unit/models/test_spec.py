"""Which model a request means, decided without torch, files or network."""

import ast
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

import framepack
from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import RELEASED
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.models.spec import (
    COMPONENTS,
    HUNYUAN_LICENCE,
    PRESETS,
    ComponentSource,
    ModelSpec,
    PromptTemplate,
    checkpoint_for,
    choose_model,
    recipe_text,
    resolve_spec,
)


def sources(spec: ModelSpec) -> Mapping[str, str]:
    return {name: str(source) for name, source in spec.sources.items()}


def plan_of(spec: ModelSpec, picture: tuple[int, int] | None = None, **request: object) -> Plan:
    return make_plan(
        GenerationRequest.parse(**({"prompt": "a cat"} | request)),
        model=spec.key,
        geometry=spec.geometry,
        defaults=spec.defaults,
        variants=spec.variants,
        image_size=picture,
    )


# --- presets ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", PRESETS)
def test_a_preset_is_found_under_its_key(key: str) -> None:
    assert resolve_spec(key).key == PRESETS[key].base == key


@pytest.mark.parametrize(
    ("key", "transformer"),
    [("i2v", "lllyasviel/FramePackI2V_HY"), ("f1", "lllyasviel/FramePack_F1_I2V_HY_20250503")],
)
def test_published_components_come_from_their_repositories(key: str, transformer: str) -> None:
    assert sources(PRESETS[key]) == {
        "transformer": transformer,
        "vae": "hunyuanvideo-community/HunyuanVideo/vae",
        "text_encoder": "hunyuanvideo-community/HunyuanVideo/text_encoder",
        "tokenizer": "hunyuanvideo-community/HunyuanVideo/tokenizer",
        "text_encoder_2": "hunyuanvideo-community/HunyuanVideo/text_encoder_2",
        "tokenizer_2": "hunyuanvideo-community/HunyuanVideo/tokenizer_2",
        "image_encoder": "lllyasviel/flux_redux_bfl/image_encoder",
        "feature_extractor": "lllyasviel/flux_redux_bfl/feature_extractor",
    }


def test_published_weights_have_a_licence_and_the_embedded_ones_do_not() -> None:
    assert PRESETS["i2v"].licence is PRESETS["f1"].licence is HUNYUAN_LICENCE
    assert PRESETS["tiny"].licence is None


def test_the_embedded_components_lie_in_the_package() -> None:
    package = Path(__file__).parents[3] / "src" / "framepack"
    for name in COMPONENTS:
        assert PRESETS["tiny"].sources[name].path == package / "assets" / "tiny" / name


def test_every_preset_has_the_released_packing() -> None:
    assert {spec.geometry.layout for spec in PRESETS.values()} == {RELEASED}


def test_the_published_prompt_template_is_the_one_of_diffusers() -> None:
    package = find_spec("diffusers")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent.joinpath(
        "pipelines", "hunyuan_video", "pipeline_hunyuan_video_framepack.py"
    )
    assigned = {
        target.id: node.value
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    template = PRESETS["i2v"].prompt_template
    assert ast.literal_eval(assigned["DEFAULT_PROMPT_TEMPLATE"]) == {
        "template": template.template,
        "crop_start": template.crop_start,
    }


@pytest.mark.parametrize("key", PRESETS)
def test_every_preset_plans_with_no_options(key: str) -> None:
    spec = PRESETS[key]
    plan = plan_of(spec)
    assert plan.num_frames == 120
    assert plan.request.num_inference_steps == spec.defaults.num_inference_steps


@pytest.mark.parametrize("bucket", [(960, 416), (832, 480), (608, 640), (416, 960)])
def test_the_embedded_default_size_fits_every_shape(bucket: tuple[int, int]) -> None:
    plan = plan_of(PRESETS["tiny"], bucket)
    assert 64 <= min(plan.width, plan.height) <= max(plan.width, plan.height) <= 192


@pytest.mark.parametrize("resolution", range(240, 1089, 16))
def test_published_models_take_every_size_class_of_the_peers(resolution: int) -> None:
    for picture in ((960, 416), (1, 1), (416, 960)):
        plan = plan_of(PRESETS["i2v"], picture, resolution=resolution)
        # A class keeps about the area of its square, whatever the shape.
        assert plan.width * plan.height == pytest.approx(resolution**2, rel=0.15)


def test_a_minute_on_the_published_model_is_1800_frames() -> None:
    plan = plan_of(PRESETS["i2v"], (832, 480), duration_s=60)
    assert (plan.num_frames, plan.num_sections) == (1800, 50)


# --- model and variant --------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["bi-directional", "forward-only"])
def test_the_embedded_model_serves_both_variants(variant: str) -> None:
    assert resolve_spec("tiny", variant).defaults.variant == variant


@pytest.mark.parametrize(
    ("model", "variant", "other"),
    [("i2v", "forward-only", "f1"), ("f1", "bi-directional", "i2v")],
)
def test_a_contradiction_of_model_and_variant_names_both(
    model: str, variant: str, other: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"model {model} .* {variant} .*--model {other} "):
        resolve_spec(model, variant)


@pytest.mark.parametrize(
    ("variant", "key"), [(None, "i2v"), ("bi-directional", "i2v"), ("forward-only", "f1")]
)
def test_a_variant_alone_picks_the_matching_checkpoint(variant: str | None, key: str) -> None:
    assert checkpoint_for(variant) == key
    spec = resolve_spec(None, variant, has_accelerator=True, weights_present=True)
    assert spec.key == key


@pytest.mark.parametrize(("accelerator", "weights"), [(False, False), (False, True), (True, False)])
def test_without_accelerator_or_weights_the_embedded_model_is_taken(
    accelerator: bool, weights: bool
) -> None:
    spec = resolve_spec(None, "forward-only", has_accelerator=accelerator, weights_present=weights)
    assert (spec.key, spec.defaults.variant) == ("tiny", "forward-only")


def test_the_choice_offers_the_download_where_only_weights_are_missing() -> None:
    choice = choose_model("forward-only", has_accelerator=True, weights_present=False)
    assert choice.model == "tiny"
    assert "framepack models download f1" in choice.line


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("accelerator", [True, False])
def test_the_choice_is_told_in_one_line(accelerator: bool, weights: bool) -> None:
    choice = choose_model(None, has_accelerator=accelerator, weights_present=weights)
    assert choice.line.startswith(f"Model {choice.model} (")
    assert "\n" not in choice.line
    assert ("download" in choice.line) == (accelerator and not weights)


def test_an_unknown_model_is_refused_with_the_choices() -> None:
    with pytest.raises(InvalidRequest, match=r"unknown model 'i2w'; did you mean 'i2v'\? .*tiny"):
        resolve_spec("i2w")


def test_a_name_too_long_for_the_file_system_is_an_unknown_model() -> None:
    with pytest.raises(InvalidRequest, match="unknown model"):
        resolve_spec("x" * 5000)


@pytest.mark.parametrize("model", [None, "tiny", "i2v"])
def test_an_unknown_variant_is_refused_with_the_choices(model: str | None) -> None:
    with pytest.raises(InvalidRequest, match="'backward'; choose bi-directional or forward-only"):
        resolve_spec(model, "backward")


# --- folders ------------------------------------------------------------------------------


def test_a_pipeline_folder_gives_what_it_holds_and_the_preset_the_rest(tmp_path: Path) -> None:
    for name in ("transformer", "vae"):
        (tmp_path / name).mkdir()
    (tmp_path / "transformer" / "config.json").touch()
    spec = resolve_spec(str(tmp_path))
    assert spec.sources["transformer"].path == tmp_path / "transformer"
    assert spec.sources["vae"].path == tmp_path / "vae"
    assert spec.sources["tokenizer"] == PRESETS["i2v"].sources["tokenizer"]


def test_a_transformer_folder_takes_the_place_of_the_transformer(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    spec = resolve_spec(str(tmp_path), "forward-only")
    assert spec.sources["transformer"].path == tmp_path
    assert spec.variants == ("forward-only",)
    assert spec.sources["vae"] == PRESETS["f1"].sources["vae"]


def test_the_key_of_a_folder_finds_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    spec = resolve_spec("./here")
    monkeypatch.chdir("/")
    assert resolve_spec(spec.key) == spec


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"holds no model; needed: recipe.toml"):
        resolve_spec(str(tmp_path))


# --- recipes ------------------------------------------------------------------------------


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_recipe_changes_only_what_it_says(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "mine.toml",
        """
        base = "f1"
        title = "mine"
        [components]
        transformer = "./weights"
        vae = "someone/vae"
        [defaults]
        num_inference_steps = 8
        [geometry]
        layout = "f16k4f4k2f1k1"
        """,
    )
    spec, base = resolve_spec(recipe), PRESETS["f1"]
    assert (spec.title, spec.key, spec.base) == ("mine", recipe, "f1")
    assert spec.sources["transformer"].path == tmp_path / "weights"
    assert spec.sources["vae"] == ComponentSource("someone/vae")
    assert spec.sources["tokenizer"] == base.sources["tokenizer"]
    assert (spec.defaults.num_inference_steps, spec.defaults.resolution) == (8, 640)
    assert spec.geometry.layout.history_frames == 21
    assert spec.licence is HUNYUAN_LICENCE


def test_a_recipe_without_base_follows_the_variant(tmp_path: Path) -> None:
    recipe = write(tmp_path / "a.toml", 'title = "a"')
    assert resolve_spec(recipe).base == "i2v"
    assert resolve_spec(recipe, "forward-only").base == "f1"


def test_a_recipe_can_narrow_the_variants(tmp_path: Path) -> None:
    recipe = write(tmp_path / "a.toml", 'base = "tiny"\nvariants = ["forward-only"]')
    assert resolve_spec(recipe).defaults.variant == "forward-only"
    with pytest.raises(InvalidRequest, match="forward-only only, but variant bi-directional"):
        resolve_spec(recipe, "bi-directional")


def test_recipe_lines_name_repositories(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "recipe.txt",
        "# parts\npipeline: a/whole\ntransformer: b/net/sub/deep # mine\n\ntokenizer_2:c/tok\n",
    )
    spec = resolve_spec(recipe)
    assert sources(spec) == {name: f"a/whole/{name}" for name in COMPONENTS} | {
        "transformer": "b/net/sub/deep",
        "tokenizer_2": "c/tok",
    }


@pytest.mark.parametrize("key", PRESETS)
def test_a_written_recipe_gives_the_same_model(key: str, tmp_path: Path) -> None:
    spec = PRESETS[key]
    back = resolve_spec(write(tmp_path / "a.toml", recipe_text(spec)))
    assert (back.title, back.variants, back.licence) == (spec.title, spec.variants, spec.licence)
    assert (back.geometry, back.defaults) == (spec.geometry, spec.defaults)
    assert back.prompt_template == spec.prompt_template
    assert sources(back) == sources(spec)


def test_a_model_folder_with_its_recipe_can_be_moved(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    local = {name: ComponentSource(path=first / name) for name in COMPONENTS}
    tiny = PRESETS["tiny"]
    spec = ModelSpec(
        "x",
        "tiny",
        "Bär",
        tiny.variants,
        local,
        *(getattr(tiny, field) for field in ("geometry", "defaults", "prompt_template")),
    )
    write(first / "recipe.toml", recipe_text(spec, first))
    moved = resolve_spec(str(first.rename(second)))
    assert (moved.key, moved.title) == (str(second), "Bär")
    assert {source.path for source in moved.sources.values()} == {second / n for n in COMPONENTS}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.toml", "title = ", "cannot be read"),
        ("a.toml", 'titel = "x"', "titel is 'x': extra inputs"),
        ("a.toml", 'base = "huge"', "unknown base 'huge'; choose tiny"),
        ("a.toml", '[components]\nunet = "a/b"', "unknown component unet; choose pipeline"),
        ("a.toml", '[components]\nvae = "ab"', "'ab' is neither a repository nor a folder"),
        ("a.toml", "[defaults]\nresolution = 0", "defaults.resolution is 0: "),
        ("a.toml", "variants = []", "variants is"),
        ("a.toml", "[geometry]\nmin_size = 9000", "9000 to 2160 px per side"),
        ("a.toml", '[geometry]\nlayout = "f16"', "paper's notation"),
        ("a.toml", '[geometry]\nlayout = "f16k8f4k4f2k2f1k1"', "has a tier of 8x"),
        ("a.toml", "[geometry]\ntemporal_stride = 8", "temporal_stride is 8"),
        ("a.toml", '[prompt]\ntemplate = "no place"', "0 places for the prompt"),
        ("a.txt", "just text", "recipe line 1 is 'just text'"),
        ("a.txt", "vae: a/b\nvae: a/c", "recipe line 2 gives vae again"),
        ("a.txt", "unet: a/b", "unknown component unet"),
    ],
)
def test_a_bad_recipe_gives_one_line(tmp_path: Path, name: str, text: str, line: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve_spec(write(tmp_path / name, text))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_whose_default_is_out_of_range_gives_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", "[defaults]\nnum_inference_steps = 500")
    with pytest.raises(InvalidRequest, match=r"a\.toml: .*steps.* is 500") as caught:
        framepack.plan(prompt="x", model=path)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        resolve_spec(str(tmp_path / "a.bin"))


# --- parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repo", "subfolder"),
    [("a/b", "a/b", ""), (" a/b/c ", "a/b", "c"), ("a/b/c/d", "a/b", "c/d")],
)
def test_a_source_is_owner_repo_subfolder(text: str, repo: str, subfolder: str) -> None:
    source = ComponentSource.parse(text)
    assert (source.repo, source.subfolder, source.path) == (repo, subfolder, None)
    assert str(source) == text.strip()


@pytest.mark.parametrize("text", ["", "a", "a/", "a//b", "a/../b", "a/b/..", "a b/c"])
def test_what_is_not_a_source_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="neither a repository nor a folder"):
        ComponentSource.parse(text)


def test_relative_folders_start_at_the_recipe() -> None:
    assert ComponentSource.parse("./x", relative_to=Path("/r")).path == Path("/r/x")
    assert ComponentSource.parse("/x", relative_to=Path("/r")).path == Path("/x")


def test_a_source_is_one_place() -> None:
    with pytest.raises(InvalidRequest, match="exactly one"):
        ComponentSource()


def test_braces_in_a_prompt_survive_the_template() -> None:
    template = PromptTemplate("a {} b", 0, 10, 10)
    assert template.apply("{x} {} {0}") == "a {x} {} {0} b"


@pytest.mark.parametrize("numbers", [(10, 10, 10), (-1, 10, 10), (0, 11, 10)])
def test_a_template_that_cannot_be_cropped_or_padded_is_refused(
    numbers: tuple[int, int, int],
) -> None:
    with pytest.raises(InvalidRequest, match="crop_start < max_length"):
        PromptTemplate("{}", *numbers)


def test_a_system_prompt_stands_in_front_of_the_user() -> None:
    template = PRESETS["i2v"].prompt_template
    assert template.takes_system
    own = template.with_system("Say {} what moves.", lambda text: len(text.split("<|")))
    text = own.apply("a {cat}")
    assert text.startswith("<|start_header_id|>system<|end_header_id|>\n\nSay {} what moves.")
    assert text.endswith("<|start_header_id|>user<|end_header_id|>\n\na {cat}<|eot_id|>")
    assert "Describe the video" not in text
    assert own.max_length - own.crop_start == template.max_length - template.crop_start == 256
    assert not PRESETS["tiny"].prompt_template.takes_system


@pytest.mark.parametrize("key", ["i2v", "f1"])
def test_published_models_have_the_official_teacache(key: str) -> None:
    defaults = PRESETS[key].defaults
    assert defaults.teacache_threshold == 0.15
    # What the official polynomial makes of changes of 5, 10 and 20 %.
    powers = list(enumerate(reversed(defaults.teacache_coefficients)))
    values = [sum(c * change**power for power, c in powers) for change in (0.05, 0.1, 0.2)]
    assert values == pytest.approx([0.062, 0.129, 0.134], abs=0.0005)


def test_the_embedded_model_takes_changes_as_they_are() -> None:
    assert PRESETS["tiny"].defaults.teacache_coefficients == (1.0, 0.0)


def test_a_recipe_may_fit_the_step_caches(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'base = "i2v"\n[defaults]\nteacache_coefficients = [2.0, 0.5]\n'
        "first_block_threshold = 0.1\n"
    )
    found = resolve_spec(str(recipe)).defaults
    assert found.teacache_coefficients == (2.0, 0.5)
    assert (found.teacache_threshold, found.first_block_threshold) == (0.15, 0.1)
    recipe.write_text(recipe_text(resolve_spec(str(recipe))))
    assert resolve_spec(str(recipe)).defaults == found


def test_a_recipe_may_have_ratios_and_speeds_of_its_own(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    lines = 'magcache_ratios = [[1.0, 0.9], [1.0]]\nspeed_fast = ["taylorseer", 2]\n'
    recipe.write_text(f'base = "i2v"\n[defaults]\n{lines}')
    found = resolve_spec(str(recipe)).defaults
    assert found.magcache_ratios == ((1.0, 0.9), (1.0,))
    assert (found.speed_fast, found.speed_balanced) == (("taylorseer", 2.0), ("teacache", 0.1))
    recipe.write_text(recipe_text(resolve_spec(str(recipe))))
    assert resolve_spec(str(recipe)).defaults == found


@pytest.mark.parametrize(
    "line",
    [
        "magcache_ratios = [[]]",
        "magcache_ratios = [[1.0, 0.0]]",
        'speed_fast = ["magicache", 0.1]',
        'speed_balanced = ["teacache", -1]',
    ],
)
def test_ratios_and_speeds_that_make_no_sense_are_refused(tmp_path: Path, line: str) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[defaults]\n{line}\n")
    with pytest.raises(InvalidRequest, match=line.split(" ")[0]):
        resolve_spec(str(recipe))
