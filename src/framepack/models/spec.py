"""Which models there are, and how ``--model`` and ``--variant`` become a ModelSpec. No torch.

``tiny`` is embedded in the package; ``i2v`` and ``f1`` are the published 13B checkpoints. A
folder or a recipe file stands for any other combination of components.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelDefaults, ModelGeometry
from framepack.domain.request import VARIANTS, Variant
from framepack.models import magnitudes
from framepack.models.parts import (
    COMPONENTS,
    ComponentSource,
    Licence,
    ModelSpec,
    PromptTemplate,
)
from framepack.models.recipe import RECIPE_NAME, load_recipe, recipe_text

__all__ = [
    "COMPONENTS",
    "HUNYUAN_LICENCE",
    "PRESETS",
    "RECIPE_NAME",
    "ComponentSource",
    "Licence",
    "ModelChoice",
    "ModelSpec",
    "PromptTemplate",
    "check_variant",
    "checkpoint_for",
    "choose_model",
    "recipe_text",
    "resolve_spec",
]

HUNYUAN_LICENCE = Licence(
    name="Tencent Hunyuan Community License Agreement (HunyuanVideo, 3 December 2024)",
    url="https://github.com/Tencent-Hunyuan/HunyuanVideo/blob/main/LICENSE.txt",
    facts=(
        "It grants nothing in the European Union, the United Kingdom and South Korea: neither "
        "use of the weights nor use of what they make.",
        "Products with more than 100 million monthly active users need a licence from Tencent.",
        "The weights and their output may not be used to improve other AI models.",
        "Whoever passes the weights on adds the licence text and Tencent's notice.",
        "Output shown in public must be labelled as made by a machine.",
        "The acceptable use policy in its Exhibit A applies.",
        "FramePack's weights derive from HunyuanVideo, so the same terms are taken to apply.",
    ),
)

_HUNYUAN_VIDEO = ComponentSource("hunyuanvideo-community/HunyuanVideo")
_SIGLIP = ComponentSource("lllyasviel/flux_redux_bfl")
_PUBLISHED_GEOMETRY = ModelGeometry(min_size=128, max_size=2160)
# The instruction text that HunyuanVideo and both FramePack checkpoints were trained with: any
# other wording changes the embeddings, and crop_start counts its tokens.
_PUBLISHED_TEMPLATE = PromptTemplate(
    template=(
        "<|start_header_id|>system<|end_header_id|>\n\n"
        "Describe the video by detailing the following aspects: "
        "1. The main content and theme of the video."
        "2. The color, shape, size, texture, quantity, text, and spatial relationships of the "
        "objects."
        "3. Actions, events, behaviors temporal relationships, physical movement changes of the "
        "objects."
        "4. background environment, light, style and atmosphere."
        "5. camera angles, movements, and transitions used in the video:<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    ),
    crop_start=95,
    max_length=351,
    pad_to=512,
)
# Fitted to these weights by the official program.
_PUBLISHED_TEACACHE = (733.226126, -401.131952, 67.5869174, -3.14987800, 0.0961237896)
TINY = Path(__file__).resolve().parent.parent / "assets" / "tiny"
"""Folder of the embedded model."""


def _published(
    key: str,
    title: str,
    variant: Variant,
    transformer: str,
    ratios: tuple[tuple[float, ...], ...],
) -> ModelSpec:
    sources = {
        "transformer": ComponentSource.parse(transformer),
        "image_encoder": _SIGLIP.child("image_encoder"),
        "feature_extractor": _SIGLIP.child("feature_extractor"),
    }
    sources |= {name: _HUNYUAN_VIDEO.child(name) for name in COMPONENTS if name not in sources}
    return ModelSpec(
        key=key,
        base=key,
        title=title,
        variants=(variant,),
        sources=sources,
        geometry=_PUBLISHED_GEOMETRY,
        defaults=ModelDefaults(
            resolution=640,
            num_inference_steps=25,
            guidance_scale=10.0,
            true_cfg_scale=1.0,
            solver="unipc",
            variant=variant,
            teacache_threshold=0.15,
            teacache_coefficients=_PUBLISHED_TEACACHE,
            first_block_threshold=0.06,
            # As the authors of MagCache have them for FramePack, and those of TeaCache and
            # EasyCache for HunyuanVideo; not measured here.
            magcache_threshold=0.1,
            magcache_ratios=ratios,
            magcache_max_skips=2,
            easycache_threshold=0.025,
            speed_balanced=("teacache", 0.1),
            speed_fast=("magcache", 0.1),
        ),
        prompt_template=_PUBLISHED_TEMPLATE,
        licence=HUNYUAN_LICENCE,
    )


PRESETS: Mapping[str, ModelSpec] = {
    "tiny": ModelSpec(
        key="tiny",
        base="tiny",
        title="embedded tiny model, runs on any CPU, no download",
        variants=("bi-directional", "forward-only"),
        sources={name: ComponentSource(path=TINY / name) for name in COMPONENTS},
        geometry=ModelGeometry(min_size=64, max_size=192, trained_padding=4),
        defaults=ModelDefaults(
            resolution=128,
            num_inference_steps=10,
            guidance_scale=10.0,
            true_cfg_scale=1.0,
            solver="unipc",
            variant="forward-only",
            teacache_threshold=0.2,
            first_block_threshold=0.2,
            magcache_threshold=0.3,
            magcache_ratios=magnitudes.TINY,
            easycache_threshold=0.2,
            # What came nearest to the exact video at this speed; see benchmarks/step_cache.py.
            speed_balanced=("magcache", 0.3),
            speed_fast=("magcache", 0.4),
        ),
        prompt_template=PromptTemplate(template="{}", crop_start=0, max_length=96, pad_to=96),
    ),
    "i2v": _published(
        "i2v",
        "FramePack 13B, bi-directional",
        "bi-directional",
        "lllyasviel/FramePackI2V_HY",
        magnitudes.I2V,
    ),
    "f1": _published(
        "f1",
        "FramePack-F1 13B, forward-only",
        "forward-only",
        "lllyasviel/FramePack_F1_I2V_HY_20250503",
        magnitudes.F1,
    ),
}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model taken when none was named, and the line that tells people so."""

    model: str
    line: str


def checkpoint_for(variant: str | None) -> str:
    """Preset of the published checkpoint for a variant; None means bi-directional.

    Raises:
        InvalidRequest: there is no such variant.
    """
    return "f1" if check_variant(variant) == "forward-only" else "i2v"


def choose_model(
    variant: str | None, *, has_accelerator: bool, weights_present: bool
) -> ModelChoice:
    """Choose a model for a request that names none.

    Args:
        variant: as asked, or None.
        has_accelerator: this machine can run the 13B.
        weights_present: the files of ``checkpoint_for(variant)`` are all on this machine.

    Raises:
        InvalidRequest: there is no such variant.
    """
    large = checkpoint_for(variant)
    title = PRESETS[large].title
    if has_accelerator and weights_present:
        return ModelChoice(large, f"Model {large} ({title}): accelerator and weights are here.")
    if has_accelerator:
        return ModelChoice(
            "tiny",
            f"Model tiny (embedded): this machine could run {large} ({title}); "
            f"`framepack models download {large}` gets its weights, over 40 GB.",
        )
    return ModelChoice(
        "tiny",
        f"Model tiny (embedded): no accelerator was found that could run {large} ({title}).",
    )


def resolve_spec(
    model: str | None,
    variant: str | None = None,
    *,
    has_accelerator: bool = False,
    weights_present: bool = False,
) -> ModelSpec:
    """Find the model that a request means. Reads at most a recipe file; never the network.

    Args:
        model: preset, model folder, transformer folder, recipe file, or None to choose.
        variant: rendering order asked for, or None for the model's own.
        has_accelerator: see ``choose_model``; used only when no model is named.
        weights_present: see ``choose_model``; used only when no model is named.

    Returns:
        The spec; its default variant is the one asked for.

    Raises:
        InvalidRequest: unknown model or variant, a damaged recipe, a folder that holds no
            model, or a model that does not serve the variant.
    """
    asked = check_variant(variant)
    if model is None:
        choice = choose_model(
            asked, has_accelerator=has_accelerator, weights_present=weights_present
        )
        model = choice.model
    spec = _find(model, asked)
    if asked is None:
        return spec
    if asked not in spec.variants:
        matching = checkpoint_for(asked)
        raise InvalidRequest(
            f"model {spec.key} is {' and '.join(spec.variants)} only, but variant {asked} was "
            f"asked for; leave --variant out, or use --model {matching} or --model tiny"
        )
    return replace(spec, defaults=replace(spec.defaults, variant=asked))


def check_variant(variant: str | None) -> Variant | None:
    """Narrow a variant's name.

    Raises:
        InvalidRequest: there is no such variant.
    """
    for known in VARIANTS:
        if variant == known:
            return known
    if variant is None:
        return None
    raise InvalidRequest(f"unknown variant {variant!r}; choose {' or '.join(VARIANTS)}")


def _find(model: str, variant: Variant | None) -> ModelSpec:
    if model in PRESETS:
        return PRESETS[model]
    path = Path(model).expanduser()
    fallback = PRESETS[checkpoint_for(variant)]
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError:  # a name that is too long for the file system
        is_folder = is_file = False
    if is_folder:
        return _from_folder(path.resolve(), fallback)
    if is_file:
        return load_recipe(path.resolve(), PRESETS, fallback)
    near = get_close_matches(model, PRESETS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InvalidRequest(
        f"unknown model {model!r}; {hint}choose {', '.join(PRESETS)}, "
        "an existing model folder or a recipe file"
    )


def _from_folder(folder: Path, fallback: ModelSpec) -> ModelSpec:
    """A folder with a recipe, one in the diffusers pipeline layout, or a transformer alone."""
    if (folder / RECIPE_NAME).is_file():
        return replace(load_recipe(folder / RECIPE_NAME, PRESETS, fallback), key=str(folder))
    if (folder / "transformer" / "config.json").is_file():
        local = {name: folder / name for name in COMPONENTS if (folder / name).is_dir()}
    elif (folder / "config.json").is_file():
        local = {"transformer": folder}
    else:
        raise InvalidRequest(
            f"folder {folder} holds no model; needed: {RECIPE_NAME}, or transformer/config.json, "
            "or the config.json of a FramePack transformer"
        )
    sources = dict(fallback.sources)
    sources |= {name: ComponentSource(path=path) for name, path in local.items()}
    return replace(fallback, key=str(folder), title=f"model folder {folder.name}", sources=sources)
