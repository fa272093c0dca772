"""``framepack inspect``: what a video is and what it says about itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import one_line, write, write_json
from framepack.cli.options import JsonFlag

if TYPE_CHECKING:
    from framepack.media.inspection import Inspection

__all__ = ["command", "inspection_document", "inspection_lines"]


def command(
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", show_default=False, help="The video or picture file.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show what a video or picture is and how it was made.

    That is request, plan, hashes of the weights and statistics. The input pictures that
    travel in the file are named, not printed.
    """
    from framepack.media.inspection import inspect

    found = inspect(video)
    if as_json:
        write_json(inspection_document(found), indent=2)
    else:
        for line in inspection_lines(found):
            write(line)


def inspection_document(found: "Inspection") -> dict[str, Any]:
    """Everything known about the video, with the pictures' names for their contents."""
    document = dict(found.document)
    document["pictures"] = sorted(_mapping(document, "pictures"))
    video = {"path": str(found.path), **found.info.to_dict()}
    return {"video": video, "is_framepack": bool(found.document), **document}


def inspection_lines(found: "Inspection") -> list[str]:
    """The same for people: one fact per line, grouped."""
    info, document = found.info, found.document
    length = f"{info.num_frames} frames, {info.duration_s:.2f} s at {float(info.fps):g} fps"
    lines = [
        f"{found.path}: {info.width}x{info.height} px, "
        f"{'one picture' if found.is_picture else length}, {info.codec} {info.pixel_format}"
    ]
    if not document:
        return [*lines, "It carries no FramePack request: made by another program, or without."]
    lines.append(f"Made by {document.get('program')} {document.get('version')}.")
    lines += _table("Clip", _clip_summary(_mapping(document, "clip")))
    lines += _table("Request", _mapping(document, "request"))
    lines += _table("Plan", _plan_summary(_mapping(document, "plan")))
    lines += _table("Weights (SHA-256)", _mapping(document, "components"))
    lines += _table("Statistics", _flat(_mapping(document, "statistics")))
    pictures = sorted(_mapping(document, "pictures"))
    return lines + _table("Input pictures in the file", dict.fromkeys(pictures, "lossless"))


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    shown = {name: value for name, value in values.items() if value not in (None, "", ())}
    if not shown:
        return []
    width = max(map(len, shown))
    return ["", title, *(f"  {name:<{width}}  {_text(shown[name])}" for name in shown)]


def _clip_summary(clip: Mapping[str, Any]) -> dict[str, Any]:
    """What was done to which videos, where the file is a clip."""
    sources = clip.get("sources")
    names = [each.get("name") for each in sources] if isinstance(sources, list) else []
    upscaler = _mapping(clip, "upscaler").get("weights")
    return {"videos": ", ".join(map(str, names)), "upscaler": upscaler, **_mapping(clip, "edit")}


def _plan_summary(plan: Mapping[str, Any]) -> dict[str, Any]:
    names = ("mode", "num_frames", "num_generated_frames", "latent_window_size")
    summary = {name: plan.get(name) for name in names}
    sections = plan.get("sections")
    if isinstance(sections, list):
        summary["num_sections"] = len(sections)
    return summary | {"notes": " ".join(map(str, plan.get("notes") or ()))}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested figures by joined names: ``stage_s.denoise``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": figure for inner, figure in value.items()}
        else:
            flat[name] = value
    return flat


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else one_line(str(value))
