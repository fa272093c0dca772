"""Recipes: files that say which components make up a model.

Two forms are read. TOML, where only what differs from the base preset is written::

    base = "i2v"
    title = "my fine-tune"
    variants = ["bi-directional"]

    [components]                       # owner/repo/subfolder, or a folder that starts with ./
    transformer = "./transformer"

    [defaults]                         # fields of ModelDefaults
    num_inference_steps = 20

and lines ``key: owner/repo/subfolder``, the form of SD.Next. In both, the key ``pipeline`` stands
for all components as folders of one repository.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    ValidationError,
)

from framepack.domain.choices import StepCacheMethod
from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import PackingLayout
from framepack.domain.request import Solver, Variant
from framepack.models.parts import COMPONENTS, ComponentSource, ModelSpec

__all__ = [
    "RECIPE_NAME",
    "load_recipe",
    "parse_lines",
    "recipe_text",
    "with_components",
    "without_components",
]

RECIPE_NAME = "recipe.toml"
"""Name of the recipe inside a model folder."""


_TIERS = ("1x", "2x", "4x")  # those with a patch embedder of their own
_Ratios = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Only what the recipe says."""
        return self.model_dump(exclude_unset=True)


class _Defaults(_Table):
    resolution: int = Field(0, ge=16)
    num_inference_steps: int = Field(0, ge=1)
    guidance_scale: float = Field(0, ge=0)
    true_cfg_scale: float = Field(0, ge=1)
    solver: Solver = "unipc"
    variant: Variant = "bi-directional"
    shift: float = Field(0, ge=0)
    teacache_threshold: float = Field(0, ge=0)
    teacache_coefficients: tuple[float, ...] = Field((), min_length=1)
    first_block_threshold: float = Field(0, ge=0)
    magcache_threshold: float = Field(0, ge=0)
    magcache_ratios: tuple[_Ratios, ...] = ()
    magcache_max_skips: int = Field(0, ge=1)
    magcache_retention: float = Field(0, ge=0, le=1)
    taylorseer_threshold: float = Field(0, ge=0)
    taylorseer_order: int = Field(0, ge=0, le=4)
    easycache_threshold: float = Field(0, ge=0)
    speed_balanced: tuple[StepCacheMethod, NonNegativeFloat] = ("off", 0.0)
    speed_fast: tuple[StepCacheMethod, NonNegativeFloat] = ("off", 0.0)


class _Geometry(_Table):
    min_size: int = Field(0, ge=16)
    max_size: int = Field(0, ge=16)
    size_multiple: int = Field(0, ge=1)
    layout: str = ""
    trained_padding: int | None = Field(None, ge=0)


class _Prompt(_Table):
    template: str = ""
    crop_start: int = Field(0, ge=0)
    max_length: int = Field(0, ge=1)
    pad_to: int = Field(0, ge=1)


class _Recipe(_Table):
    base: str | None = None
    title: str | None = None
    variants: tuple[Variant, ...] = Field((), min_length=1)
    components: dict[str, str] = {}
    defaults: _Defaults = _Defaults()
    geometry: _Geometry = _Geometry()
    prompt: _Prompt = _Prompt()


def load_recipe(path: Path, presets: Mapping[str, ModelSpec], fallback: ModelSpec) -> ModelSpec:
    """Read a recipe file.

    Args:
        path: a ``.toml`` file, or any other text file with ``key: source`` lines.
        presets: what ``base`` may name.
        fallback: base of a recipe that names none.

    Raises:
        InvalidRequest: unreadable file, unknown key or component, or a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() != ".toml":
            return _compose(path, _Recipe(components=parse_lines(text)), fallback)
        recipe = _Recipe.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise InvalidRequest(f"recipe {path}: {_explain(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"recipe {path} cannot be read: {error}") from error
    if recipe.base is not None and recipe.base not in presets:
        raise InvalidRequest(
            f"recipe {path}: unknown base {recipe.base!r}; choose {', '.join(presets)}"
        )
    return _compose(path, recipe, presets[recipe.base] if recipe.base else fallback)


def parse_lines(text: str) -> dict[str, str]:
    """Read ``key: owner/repo/subfolder`` lines; ``#`` starts a comment.

    Returns:
        Component name (or ``pipeline``) to the text of its source.

    Raises:
        InvalidRequest: a line without a key or a source, or a key given twice.
    """
    components: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        key, _, source = (part.strip() for part in line.partition(":"))
        if not key or not source:
            raise InvalidRequest(
                f"recipe line {number} is {line!r}; write `component: owner/repo/subfolder`"
            )
        if key in components:
            raise InvalidRequest(f"recipe line {number} gives {key} again; keep one of the lines")
        components[key] = source
    return components


def recipe_text(spec: ModelSpec, folder: Path | None = None) -> str:
    """Write a spec as a recipe that ``load_recipe`` reads back.

    Args:
        spec: the model.
        folder: where the recipe will lie; local components inside it are written relative to it.
    """
    geometry = asdict(spec.geometry) | {"layout": spec.geometry.layout.notation}
    known = _Geometry.model_fields
    geometry = {k: v for k, v in geometry.items() if k in known and v is not None}
    tables: dict[str, Mapping[str, object]] = {
        "components": {name: _written(source, folder) for name, source in spec.sources.items()},
        "defaults": asdict(spec.defaults),
        "geometry": geometry,
        "prompt": {name: getattr(spec.prompt_template, name) for name in _Prompt.model_fields},
    }
    head = {"base": spec.base, "title": spec.title, "variants": list(spec.variants)}
    blocks = [_assignments(head)]
    blocks += [f"[{name}]\n{_assignments(table)}" for name, table in tables.items()]
    return "\n".join(blocks)


def _compose(path: Path, recipe: _Recipe, base: ModelSpec) -> ModelSpec:
    """Lay a recipe over its base."""
    variants = recipe.variants or base.variants
    defaults = recipe.defaults.given()
    if "variant" not in defaults and base.defaults.variant not in variants:
        defaults["variant"] = variants[0]
    geometry = recipe.geometry.given()
    if "layout" in geometry:
        geometry["layout"] = _layout(path, geometry["layout"])
    return replace(
        base,
        key=str(path),
        title=recipe.title or f"recipe {path.name}",
        variants=variants,
        sources=_sources(path, recipe.components, base),
        geometry=replace(base.geometry, **geometry),
        defaults=replace(base.defaults, **defaults),
        prompt_template=replace(base.prompt_template, **recipe.prompt.given()),
    )


def _layout(path: Path, notation: str) -> PackingLayout:
    layout = PackingLayout.parse(notation)
    if foreign := [tier.name for tier in layout.tiers if tier.name not in _TIERS]:
        raise InvalidRequest(
            f"recipe {path}: layout {notation!r} has a tier of {foreign[0]}; the network takes "
            f"{', '.join(_TIERS)}"
        )
    return layout


def _sources(
    path: Path, components: Mapping[str, str], base: ModelSpec
) -> dict[str, ComponentSource]:
    _check_names(f"recipe {path}", components)
    return _exchanged(base.sources, components, relative_to=path.parent)


def with_components(
    spec: ModelSpec, components: Mapping[str, str], *, folder: Path | None = None
) -> ModelSpec:
    """The same model with other sources for some components.

    Args:
        spec: the model.
        components: sources by name, as a recipe has them; ``pipeline`` stands for all.
        folder: where relative folders start.

    Raises:
        InvalidRequest: an unknown component, or a source that cannot be read.
    """
    _check_names(f"model {spec.key}", components)
    return replace(spec, sources=_exchanged(spec.sources, components, relative_to=folder))


def without_components(spec: ModelSpec, base: ModelSpec, names: Sequence[str]) -> ModelSpec:
    """The same model with the components of its base in these places.

    Raises:
        InvalidRequest: an unknown component.
    """
    _check_names(f"model {spec.key}", names)
    chosen = COMPONENTS if "pipeline" in names else names
    return replace(spec, sources={**spec.sources, **{name: base.sources[name] for name in chosen}})


def _check_names(where: str, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in (*COMPONENTS, "pipeline")]
    if unknown:
        raise InvalidRequest(
            f"{where}: unknown component {', '.join(unknown)}; "
            f"choose pipeline, {', '.join(COMPONENTS)}"
        )


def _exchanged(
    given: Mapping[str, ComponentSource], components: Mapping[str, str], relative_to: Path | None
) -> dict[str, ComponentSource]:
    parsed = {
        name: ComponentSource.parse(text, relative_to=relative_to)
        for name, text in components.items()
    }
    sources = dict(given)
    if whole := parsed.pop("pipeline", None):
        sources |= {name: whole.child(name) for name in COMPONENTS}
    return sources | parsed


def _written(source: ComponentSource, folder: Path | None) -> str:
    if source.path is None:
        return str(source)
    if folder is not None and source.path.is_relative_to(folder):
        return f"./{source.path.relative_to(folder).as_posix()}"
    return source.path.absolute().as_posix()


def _assignments(table: Mapping[str, object]) -> str:
    # JSON's strings, numbers, booleans and lists of them are TOML as well.
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items()
    )


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        parts.append(f"{name} is {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return "; ".join(parts)
