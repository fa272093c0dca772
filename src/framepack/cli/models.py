"""``framepack models``: which models there are, their terms, getting their weights."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli import calibrate, download, licence, quantize
from framepack.cli.console import write, write_json
from framepack.cli.options import JsonFlag, ModelName, ModelsDir
from framepack.cli.recipe_files import save_recipe
from framepack.cli.usage import Command, Group
from framepack.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from framepack.domain.settings import Settings
    from framepack.models.spec import ModelSpec

__all__ = ["app"]

app = typer.Typer(cls=Group)


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """List models, show their terms, download their weights."""
    if context.invoked_subcommand is None:
        write(context.get_help())


@app.command("list", cls=Command)
def list_models(models_dir: ModelsDir = None, as_json: JsonFlag = False) -> None:
    """List the models and whether their weights are here."""
    from framepack.domain.settings import Settings
    from framepack.models.spec import PRESETS

    settings = Settings.load(models_dir=models_dir)
    entries = [_entry(spec, settings) for spec in PRESETS.values()]
    if as_json:
        write_json(entries, indent=2)
        return
    for entry in entries:
        state = "here" if entry["weights_present"] else f"not here; {entry['how_to_get']}"
        write(f"{entry['model']:<6}{entry['title']}")
        write(f"{'':<6}{', '.join(entry['variants'])}; by default {entry['default_size']}")
        write(f"{'':<6}weights {state}")


app.command("licence", cls=Command)(licence.command)
app.command("download", cls=Command)(download.command)
app.command("calibrate", cls=Command)(calibrate.command)
app.command("quantize", cls=Command)(quantize.command)


@app.command("recipe", cls=Command)
def recipe(
    model: ModelName,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RECIPE.toml",
            show_default=False,
            help="File to write; default: standard output.",
        ),
    ] = None,
    exchanged: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=SOURCE",
            show_default=False,
            help="Take a component from elsewhere: owner/repo/subfolder, or a folder that starts "
            "with ./; pipeline stands for all components.",
        ),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            metavar="NAME",
            show_default=False,
            help="Take a component from the recipe's base again.",
        ),
    ] = None,
) -> None:
    """Write a model as a recipe: a text to edit and give to --model.

    With --set and --reset its components are exchanged; write it to the file it was read from to
    change that.
    """
    from framepack.models.recipe import with_components, without_components
    from framepack.models.spec import PRESETS, recipe_text, resolve_spec

    spec = resolve_spec(model)
    spec = without_components(spec, PRESETS[spec.base], reset or ())
    spec = with_components(spec, dict(map(_assignment, exchanged or ())))
    if output is None:
        write(recipe_text(spec).rstrip())
        return
    save_recipe(spec, output)


def _assignment(text: str) -> tuple[str, str]:
    name, separator, source = text.partition("=")
    if not separator or not source.strip():
        raise InvalidRequest(f"--set {text} names no source; write NAME=SOURCE, such as vae=./vae")
    return name.strip(), source.strip()


def _entry(spec: "ModelSpec", settings: "Settings") -> dict[str, Any]:
    """What there is to know about a model without loading it."""
    from framepack.weights.locate import are_weights_present

    pages = [f"https://huggingface.co/{repo}" for repo in spec.repos]
    how = f"`framepack models download {spec.key}` gets them from {', '.join(pages)}"
    return {
        "model": spec.key,
        "title": spec.title,
        "variants": list(spec.variants),
        "default_size": f"{spec.defaults.resolution} px, {spec.defaults.num_inference_steps} steps",
        "weights_present": are_weights_present(spec, settings),
        "how_to_get": how if pages else "part of the package; install framepack-studio again",
        "licence": spec.licence.name if spec.licence else None,
        "sources": {name: str(source) for name, source in spec.sources.items()},
    }
