"""``framepack plan``: what would be computed, without torch and without weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import one_line, say, write, write_json
from framepack.cli.machine_options import machine_options
from framepack.cli.options import (
    AudioFile,
    FramesDir,
    FramesFormat,
    FromVideo,
    JsonFlag,
    KeepPartial,
    KeepRun,
    NoMetadata,
    NoThumbnail,
    Output,
    Quiet,
    RawFile,
    RunDir,
    request_options,
)

if TYPE_CHECKING:
    from framepack.domain.plan import Plan, Section

__all__ = ["command", "plan_facts", "plan_table"]


@request_options
@machine_options
def command(
    *,
    source: FromVideo = None,
    output: Output = None,
    frames_dir: FramesDir = None,
    frames_format: FramesFormat = "png",
    raw: RawFile = None,
    audio: AudioFile = None,
    no_metadata: NoMetadata = False,
    no_thumbnail: NoThumbnail = False,
    run_dir: RunDir = None,
    keep_run: KeepRun = False,
    keep_partial: KeepPartial = False,
    machine: Mapping[str, Any],
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", show_default=False, help="Show each section's context as well."
        ),
    ] = False,
    **fields: Any,
) -> None:
    """Show what would be computed: size, frames, every section.

    Takes the options of `generate`, loads nothing and writes nothing. Prompt and picture may
    be missing. Without a seed a random one is shown, and `generate` will take another.
    """
    from framepack.cli.asked import asked_request
    from framepack.decisions import decide_with_outputs
    from framepack.domain.settings import Settings
    from framepack.media.outputs import Outputs

    settings = Settings.load(**machine)
    outputs = Outputs.of(
        output or _ANY_VIDEO,
        frames_dir=frames_dir,
        frames_format=frames_format,
        raw=raw,
        audio=audio,
    )
    with asked_request(fields, source, output) as request:
        if output is not None:
            outputs.check(request.codec, one_frame=request.one_frame)
        plan, _ = decide_with_outputs(request, settings, outputs.video, allow_empty=True)
    plan = _as_enhanced(plan)
    if as_json:
        write_json(plan.to_dict(), indent=2)
    else:
        _print(plan, verbose=verbose, quiet=quiet)


def _as_enhanced(plan: "Plan") -> "Plan":
    """The plan with the longer texts that are known; a note where `generate` will ask for more."""
    request = plan.request
    texts = {text for section in plan.sections for text, _ in section.texts if text.strip()}
    known = request.enhanced_prompts
    longer = plan.with_texts(known)
    if request.enhance == "off" or texts <= known.keys():
        return longer
    note = f"`framepack generate` expands the prompts first (--enhance {request.enhance})."
    return longer.model_copy(update={"notes": (*longer.notes, note)})


def plan_facts(plan: "Plan") -> dict[str, str]:
    """What holds for the whole video, by name."""
    request = plan.request
    trimmed = plan.num_generated_frames - plan.num_kept_frames
    factor = max(request.interpolate, 1)
    steps = request.num_inference_steps - plan.num_spared_steps
    few = f", {factor} of each of {plan.num_kept_frames} generated ones" if factor > 1 else ""
    mode = _MODES[plan.mode]
    length = {
        "length": f"{plan.num_frames} frames, {plan.duration_s:.2f} s at {plan.fps:g} fps{few}"
        + (f" ({trimmed} more are made and trimmed)" if trimmed else ""),
        "sections": f"{plan.num_sections - plan.num_given_sections} of {plan.latent_window_size} "
        f"latent frames, {steps} steps each ({request.solver})",
    }
    if request.one_frame:
        mode = mode.replace("to video", "to one picture")
        length = {"steps": f"{steps} ({request.solver})"}
        if request.control_index is not None:
            length["end"] = f"end picture at index {request.control_index}"
    return {
        "model": f"{plan.model}, {plan.variant}, {mode}",
        "size": f"{plan.width}x{plan.height} px",
        **length,
        "guidance": f"distilled {request.guidance_scale:g}, true {request.true_cfg_scale:g}",
        "seed": str(plan.seed),
    }


def plan_table(plan: "Plan", *, verbose: bool = False) -> list[str]:
    """The sections in rendering order, as lines of columns under a heading."""
    names = ["order", "section", "seconds", "frames", "padding"]
    names += ["start", "noisy", "1x", "2x", "4x"] if verbose else []
    made = [section for section in plan.sections if section.index >= plan.num_given_sections]
    rows = [_row(section, plan, verbose=verbose) for section in made]
    for name, own in _own_columns(plan).items():
        names.append(name)
        for row, value in zip(rows, own[plan.num_given_sections :], strict=True):
            shown = value.name if isinstance(value, Path) else str(value)
            row.append(_shortened(shown) if value is not None else "-")
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = []
    for row, prompt in zip([names, *rows], ["prompt", *map(_prompt, made)], strict=True):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([*cells, _shortened(prompt, _PROMPTS_LENGTH)]).rstrip())
    return lines


_ANY_VIDEO = "video.mp4"
_PROMPT_LENGTH = 40
_PROMPTS_LENGTH = 90
_MODES = {
    "t2v": "text to video",
    "i2v": "start picture to video",
    "flf2v": "start and end picture to video",
    "lf2v": "text to end picture",
}


def _row(section: "Section", plan: "Plan", *, verbose: bool) -> list[str]:
    """Sections are numbered from the first one made, frames from the start of the file."""
    fps, given = plan.generated_fps, plan.num_given_sections
    first = section.start_frame + plan.num_prefix_frames
    end = section.end_frame + plan.num_prefix_frames
    cells = [
        str(section.render_index + 1 - given),
        str(section.index - given),
        f"{first / fps:.2f}-{end / fps:.2f}",
        f"{first}-{end - 1}" if end > first else "none",
        str(section.padding),
    ]
    if verbose:
        indices = section.indices
        tiers = (
            indices.start,
            indices.noisy,
            indices.clean_1x,
            indices.history_2x,
            indices.history_4x,
        )
        cells += [_span(tier) for tier in tiers]
    return cells


def _own_columns(plan: "Plan") -> dict[str, list[Any]]:
    """What single sections have of their own, by the name of its column, in rendering order.

    Weights of LoRAs are shown where they vary, a column for each.
    """
    columns: dict[str, list[Any]] = {
        name: [getattr(section, name) for section in plan.sections] for name in ("seed", "image")
    }
    for index, lora in enumerate(plan.request.loras):
        weights = [section.loras[index] for section in plan.sections if section.loras]
        if len(set(weights)) > 1:
            columns[_shortened(lora.path.stem)] = [f"{weight:g}" for weight in weights]
    return {name: own for name, own in columns.items() if any(value is not None for value in own)}


def _prompt(section: "Section") -> str:
    """The text of a section, or the texts that blend in it with their shares."""
    if not section.mixture:
        return section.prompt
    return " + ".join(f"{share:.0%} {_shortened(text)}" for text, share in section.mixture)


def _span(indices: tuple[int, ...]) -> str:
    """Positions on the time axis, consecutive ones as a range."""
    if not indices:
        return "-"
    return str(indices[0]) if len(indices) == 1 else f"{indices[0]}-{indices[-1]}"


def _shortened(prompt: str, length: int = _PROMPT_LENGTH) -> str:
    text = one_line(prompt)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _print(plan: "Plan", *, verbose: bool, quiet: bool) -> None:
    write(plan.target)
    for name, value in plan_facts(plan).items():
        write(f"{name:<9}{value}")
    if not plan.request.one_frame or verbose:
        write("")
        for line in plan_table(plan, verbose=verbose):
            write(line)
    for note in () if quiet else plan.notes:
        say(note)
