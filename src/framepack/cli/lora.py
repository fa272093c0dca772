"""``framepack lora``: what a LoRA file is and which models it fits."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import one_line, write, write_json
from framepack.cli.options import JsonFlag
from framepack.cli.usage import Command, Group
from framepack.weights.lora_facts import stated_bases, trigger_words

if TYPE_CHECKING:
    from framepack.models.spec import ModelSpec
    from framepack.weights.lora import LoraFile

__all__ = ["app", "lora_document", "lora_lines"]

_WORTH_KNOWING = (
    "modelspec.title",
    "modelspec.author",
    "modelspec.license",
    "modelspec.description",
    "modelspec.usage_hint",
    "ss_output_name",
    "ss_training_comment",
    "ss_network_module",
    "ss_steps",
    "ss_num_epochs",
)
_PARTS = (
    ("double_blocks", "Double blocks", "transformer_blocks."),
    ("single_blocks", "Single blocks", "single_transformer_blocks."),
)
_LAST_BLOCKS_OF_FLUX = (18, 37)
_NUM_TAGS = 8
_MOST_LETTERS = 200

app = typer.Typer(cls=Group)


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Look into LoRA files."""
    if context.invoked_subcommand is None:
        write(context.get_help())


@app.command("inspect", cls=Command)
def inspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="The .safetensors file, or the name of one in the settings' LoRA folder.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            show_default=False,
            help="Model to hold it against: tiny, i2v, f1, a model folder or a RECIPE.toml; "
            "default: the first three.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a LoRA changes and which models it fits.

    That is the layout of its keys, ranks and alphas, the parts of the network it changes, and
    what it says about its training. Models are compared by the shapes of their layers; their
    weights are not read.
    """
    from framepack.domain.settings import Settings
    from framepack.models.spec import PRESETS, resolve_spec
    from framepack.weights.lora import read_lora
    from framepack.weights.lora_paths import find_lora

    specs = list(PRESETS.values()) if model is None else [resolve_spec(model)]
    lora = read_lora(find_lora(Path(file), Settings.load()))
    document = lora_document(lora) | {"models": [_fit(lora, spec) for spec in specs]}
    if as_json:
        write_json(document | {"metadata": dict(lora.metadata)}, indent=2)
    else:
        for line in lora_lines(document):
            write(line)


def lora_document(lora: "LoraFile") -> dict[str, Any]:
    """What the file itself tells, without the models it may fit."""
    deltas = lora.deltas.values()
    alphas = sorted({delta.alpha for delta in deltas if delta.alpha is not None})
    scales = sorted({delta.scale for delta in deltas})
    parts = _parts(lora)
    return {
        "path": str(lora.path),
        "layout": lora.layout,
        "num_layers": len(lora.deltas),
        "ranks": _range(sorted({delta.rank for delta in deltas})),
        "alphas": _range(alphas),
        "scales": _range(scales),
        "dtypes": sorted({str(delta.up.dtype).removeprefix("torch.") for delta in deltas}),
        "parts": parts,
        "unknown_keys": list(lora.unknown),
        "trigger_words": trigger_words(lora.metadata),
        "frequent_tags": _frequent_tags(lora.metadata),
        "about": {key: lora.metadata[key] for key in _WORTH_KNOWING if lora.metadata.get(key)},
        "trained_for": _hints(lora, parts),
    }


def lora_lines(document: Mapping[str, Any]) -> list[str]:
    """The same for people: one fact per line, grouped."""
    facts = {
        "Layout": document["layout"],
        "Rank": _span(document["ranks"]),
        "Alpha": _span(document["alphas"]) or "none, so the scale is 1",
        "Scale": _span(document["scales"]),
        "Numbers": ", ".join(document["dtypes"]),
        "Trigger words": ", ".join(document["trigger_words"]),
        "Frequent tags": ", ".join(document["frequent_tags"]),
    }
    titles = {key: title for key, title, _ in _PARTS} | {"others": "Other layers"}
    parts = {titles[key]: _part_text(part) for key, part in document["parts"].items()}
    lines = [one_line(f"{document['path']}: a LoRA of {document['num_layers']} layers")]
    lines += _table("File", facts)
    lines += _table("Changes", parts)
    if unknown := document["unknown_keys"]:
        lines += ["", f"{len(unknown)} keys that no model here has, such as {_text(unknown[0])}"]
    lines += _table("What it says about itself", document["about"])
    lines += ["", "Trained for", *(f"  {_text(hint)}" for hint in document["trained_for"])]
    fits = {
        entry["model"]: "yes" if entry["fits"] else one_line(f"no: {entry['problem']}")
        for entry in document.get("models", ())
    }
    return lines + _table("Fits", fits, cut=False)


def _fit(lora: "LoraFile", spec: "ModelSpec") -> dict[str, Any]:
    from framepack.domain.errors import InvalidRequest
    from framepack.domain.settings import Settings
    from framepack.weights.lora import check_lora, model_shapes

    shapes = model_shapes(spec, Settings.load())
    try:
        check_lora(lora, shapes)
    except InvalidRequest as error:
        return {"model": spec.key, "fits": False, "problem": str(error)}
    return {"model": spec.key, "fits": True, "problem": None}


def _parts(lora: "LoraFile") -> dict[str, dict[str, Any]]:
    """How many layers of each part of the network it changes, and in which blocks."""
    parts: dict[str, dict[str, Any]] = {}
    left = set(lora.deltas)
    for key, _, prefix in _PARTS:
        names = {name for name in left if name.startswith(prefix)}
        left -= names
        blocks = sorted({int(name.removeprefix(prefix).split(".")[0]) for name in names})
        parts[key] = {"num_layers": len(names), "blocks": blocks}
    parts["others"] = {"num_layers": len(left), "names": sorted(left)}
    return parts


def _part_text(part: Mapping[str, Any]) -> str:
    if not part["num_layers"]:
        return "none"
    if "names" in part:
        return f"{part['num_layers']}: {', '.join(part['names'])}"
    blocks = part["blocks"]
    return f"{part['num_layers']} in {len(blocks)} blocks, from {blocks[0]} to {blocks[-1]}"


def _hints(lora: "LoraFile", parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What speaks for the model that it was trained for; names and shapes alone do not prove it."""
    stated = [f"{base} ({key})" for key, base in stated_bases(lora.metadata).items()]
    if "HunyuanVideo" in lora.layout:
        hint = "HunyuanVideo by its names, the network that FramePack was made from"
    elif "kohya" in lora.layout:
        hint = "FramePack by its names"
    else:
        hint = "a network with diffusers' names: FramePack, HunyuanVideo or FLUX.1"
    last = tuple(max(parts[key]["blocks"], default=0) for key, _, _ in _PARTS)
    if last == _LAST_BLOCKS_OF_FLUX:
        hint += (
            "; perhaps FLUX.1, whose last blocks are 18 and 37 as here (FramePack's: 19 and 39) "
            "and whose layers have the same shapes"
        )
    return [*stated, hint]


def _frequent_tags(metadata: Mapping[str, str]) -> list[str]:
    """The captions' most frequent tags, counted by kohya's trainers."""
    counted = _parsed(metadata.get("ss_tag_frequency", ""))
    total: Counter[str] = Counter()
    for tags in counted.values() if isinstance(counted, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            total[tag.strip()] += count if isinstance(count, int) else 0
    return [tag for tag, count in total.most_common(_NUM_TAGS) if count > 0]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _range(ordered: list[Any]) -> list[Any] | None:
    """Smallest and largest of sorted values."""
    return [ordered[0], ordered[-1]] if ordered else None


def _span(limits: list[Any] | None) -> str:
    if limits is None:
        return ""
    low, high = limits
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _table(title: str, values: Mapping[str, Any], *, cut: bool = True) -> list[str]:
    shown = {name: value for name, value in values.items() if value}
    if not shown:
        return []
    width = max(map(len, shown))
    texts = {name: _text(value) if cut else value for name, value in shown.items()}
    return ["", title, *(f"  {name:<{width}}  {text}" for name, text in texts.items())]


def _text(value: Any) -> str:
    """A value of the file as one short line without markup."""
    text = one_line(re.sub(r"<[^<>]*>", " ", str(value)))
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."
