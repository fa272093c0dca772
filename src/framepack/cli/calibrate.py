"""``framepack models calibrate``: measure what the step cache MagCache goes by."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import say, write
from framepack.cli.options import (
    Device,
    DtypeName,
    ModelName,
    ModelsDir,
    OffloadMode,
    Quantize,
    Quiet,
    VramBudget,
    VramReserve,
)
from framepack.cli.recipe_files import save_recipe
from framepack.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from framepack.domain.plan import Plan
    from framepack.models.spec import ModelSpec
    from framepack.pipeline.conditions import Pictures

__all__ = ["command"]

_DURATION_S = 2.4
"""Two sections of the usual length: one without history, one with."""


def command(
    model: ModelName,
    *,
    prompt: Annotated[
        str,
        typer.Option("--prompt", metavar="TEXT", show_default=False, help="What happens."),
    ] = "",
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="PATH", show_default=False, help="The start picture."),
    ] = None,
    steps: Annotated[
        list[str] | None,
        typer.Option(
            "--steps",
            metavar="N",
            show_default=False,
            help="Steps of a run; may be given several times. Other numbers take the nearest; "
            "default: the model's own.",
        ),
    ] = None,
    seed: Annotated[
        str,
        typer.Option("--seed", metavar="N", show_default=False, help="Of the noise; default: 1."),
    ] = "1",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RECIPE.toml",
            show_default=False,
            help="Recipe to write, the model with these ratios; default: print their lines.",
        ),
    ] = None,
    device: Device = None,
    dtype: DtypeName = None,
    models_dir: ModelsDir = None,
    offload: OffloadMode = None,
    vram_budget: VramBudget = None,
    vram_reserve: VramReserve = None,
    quantize: Quantize = None,
    quiet: Quiet = False,
) -> None:
    """Measure a model's magnitude ratios, which --step-cache magcache goes by.

    Renders two sections exactly, for each number of steps. One prompt or picture is enough, of
    the kind that the model is used for; ratios hardly depend on it.
    """
    from framepack.domain.settings import Settings
    from framepack.media.files import check_output_writable
    from framepack.models.spec import resolve_spec
    from framepack.pipeline.calibrate import measure_magnitude_ratios
    from framepack.pipeline.components import load_components

    spec = resolve_spec(model)
    settings = Settings.load(
        device=device,
        dtype=dtype,
        models_dir=models_dir,
        offload=offload,
        vram_budget=vram_budget,
        vram_reserve=vram_reserve,
        quantize=quantize or None,
    )
    if output is not None:
        check_output_writable(Path(output), suffixes=(".toml",))
    asked = {"prompt": prompt, "image": image, "seed": seed, "duration_s": _DURATION_S}
    numbers: Sequence[str | None] = steps or [None]
    plans = [_plan(spec, asked, number) for number in numbers]
    pictures = [_pictures(plan) for plan in plans]
    components = load_components(spec, settings)
    ratios = []
    for plan, shown in zip(plans, pictures, strict=True):
        if not quiet:
            say(f"{plan.num_sections} sections of {plan.request.num_inference_steps} steps")
        ratios.append(measure_magnitude_ratios(plan, components, shown))
    _tell(replace(spec, defaults=replace(spec.defaults, magcache_ratios=tuple(ratios))), output)


def _plan(spec: "ModelSpec", asked: Mapping[str, object], steps: str | None) -> "Plan":
    from framepack.decisions import decide
    from framepack.domain.request import GenerationRequest

    wanted: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if steps is not None:
        wanted["num_inference_steps"] = steps
    plan = decide(GenerationRequest.parse(model=spec.key, **wanted), spec)
    if plan.request.num_inference_steps < 2:
        raise InvalidRequest("num_inference_steps (--steps) is 1; ratios need at least 2 steps")
    return plan


def _pictures(plan: "Plan") -> "Pictures":
    from framepack.media.images import fit_image, load_image
    from framepack.pipeline.conditions import Pictures

    path = plan.request.image
    if path is None:
        return Pictures()
    return Pictures(fit_image(load_image(path), plan.width, plan.height))


def _tell(spec: "ModelSpec", output: str | None) -> None:
    """Print the lines of the recipe that are new, or write all of it."""
    if output is not None:
        save_recipe(spec, output)
        return
    rows = "".join(f"  {list(row)},\n" for row in spec.defaults.magcache_ratios)
    write(f"[defaults]\nmagcache_ratios = [\n{rows}]")
