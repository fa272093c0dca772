"""Options made from the request's schema, so that names, help and limits are written once."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from framepack.domain.errors import InvalidRequest
from framepack.domain.groups import GROUPS, group_of
from framepack.domain.loras import LoraRef
from framepack.domain.request import SECTION_FIELDS, GenerationRequest

__all__ = [
    "AttentionBackend",
    "AudioFile",
    "CompileMode",
    "Device",
    "DtypeName",
    "FramesDir",
    "FramesFormat",
    "FromVideo",
    "JsonFlag",
    "KeepPartial",
    "KeepRun",
    "ModelName",
    "ModelsDir",
    "NoMetadata",
    "NoThumbnail",
    "OffloadMode",
    "Output",
    "Quantize",
    "Quiet",
    "RawFile",
    "RunDir",
    "VramBudget",
    "VramReserve",
    "check_at_least",
    "given",
    "request_options",
    "whole_number",
]

_FILE = group_of("codec").title
_MACHINE = "This machine"
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
_SECTIONS_METAVAR = "FILE|TEXT"
_LORA_METAVAR = "PATH:WEIGHT"
_REPEATED = ("filters", "loras", "styles")
_LONGEST_CHOICE = 30

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.mp4",
        show_default=False,
        rich_help_panel=_FILE,
        help="The file to write: .mp4, .mkv, .mov, .webm, .gif or .webp, for one frame .png, .jpg "
        "or .webp; an existing one is replaced; default: a new .mp4 or .png in the settings' "
        "outputs folder.",
    ),
]
FromVideo = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="VIDEO",
        show_default=False,
        rich_help_panel=group_of("prompt").title,
        help="Make the video again that this file carries the request of, with its pictures; "
        "other options override it.",
    ),
]
FramesDir = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="DIR",
        show_default=False,
        rich_help_panel=_FILE,
        help="Folder for every frame as a numbered picture, NAME-00000.png; default: none.",
    ),
]
FramesFormat = Annotated[
    str,
    typer.Option(
        "--frames-format",
        metavar="png|jpg",
        show_default=False,
        rich_help_panel=_FILE,
        help="Kind of those pictures: png is exact, jpg smaller; default: png.",
    ),
]
RawFile = Annotated[
    str | None,
    typer.Option(
        "--raw",
        metavar="FILE",
        show_default=False,
        rich_help_panel=_FILE,
        help="Safetensors file for the raw frames, uint8 [frames, height, width, 3], which "
        "`encode` reads; default: none.",
    ),
]
AudioFile = Annotated[
    str | None,
    typer.Option(
        "--audio",
        metavar="FILE",
        show_default=False,
        rich_help_panel=_FILE,
        help="File whose sound the video gets, cut to its length; default: none.",
    ),
]
NoMetadata = Annotated[
    bool,
    typer.Option(
        "--no-metadata",
        show_default=False,
        rich_help_panel=_FILE,
        help="Leave request, model hashes and pictures out of the file.",
    ),
]
NoThumbnail = Annotated[
    bool,
    typer.Option(
        "--no-thumbnail",
        show_default=False,
        rich_help_panel=_FILE,
        help="Write no NAME.thumb.jpg beside the video.",
    ),
]
RunDir = Annotated[
    str | None,
    typer.Option(
        "--run-dir",
        metavar="DIR",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="New directory for what a stopped run needs to be resumed; default: one in the "
        "settings' outputs folder.",
    ),
]
KeepRun = Annotated[
    bool,
    typer.Option(
        "--keep-run",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Keep that directory after the video is written.",
    ),
]
KeepPartial = Annotated[
    bool,
    typer.Option(
        "--keep-partial",
        show_default=False,
        rich_help_panel=_FILE,
        help="When stopped, write the frames of the finished sections to the video file; "
        "`resume` replaces it.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Where to compute: auto, cpu, mps, cuda, xpu, or one of several such as cuda:1; "
        "default: the settings' device, auto unless set.",
    ),
]
DtypeName = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Number format of the weights: auto, bfloat16, float16 or float32; default: the "
        "settings' dtype, auto unless set.",
    ),
]
AttentionBackend = Annotated[
    str | None,
    typer.Option(
        "--attention",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Who computes attention: auto, sdpa, onednn, cudnn, flash3, flash, xformers, or sage, "
        "which is approximate; default: the settings' attention, auto unless set, which takes the "
        "fastest exact one.",
    ),
]
CompileMode = Annotated[
    str | None,
    typer.Option(
        "--compile",
        metavar="off|blocks",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Compile the transformer's blocks for this machine in the first step; default: the "
        "settings' compile, off unless set.",
    ),
]
ModelsDir = Annotated[
    str | None,
    typer.Option(
        "--models-dir",
        metavar="DIR",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Folder with weights as <owner>/<repo>/..., searched before the hub cache; default: "
        "the settings' models folder, or LOCAL_MODELS_DIR.",
    ),
]
OffloadMode = Annotated[
    str | None,
    typer.Option(
        "--offload",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Where networks lie while they work: auto, none, model, balanced, group, sequential "
        "or disk; default: the settings' offload, auto unless set, which takes what fits.",
    ),
]
VramBudget = Annotated[
    str | None,
    typer.Option(
        "--vram-budget",
        metavar="SIZE",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Memory of the device that may be used, such as 6GB; default: the settings' "
        "vram_budget, all of it unless set.",
    ),
]
VramReserve = Annotated[
    str | None,
    typer.Option(
        "--vram-reserve",
        metavar="SIZE",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Memory of the device that is left alone, such as 2GB; default: the settings' "
        "vram_reserve, none unless set.",
    ),
]
Quantize = Annotated[
    list[str] | None,
    typer.Option(
        "--quantize",
        metavar="PART=FORMAT",
        show_default=False,
        rich_help_panel=_MACHINE,
        help="Keep the weights of transformer, text, vision or all in fp8, fp8-dynamic, int8, "
        "int8-dynamic, nf4, sdnq-int8 or sdnq-uint4; a lone format is for the transformer; may be "
        "repeated; default: the settings' quantize, none unless set.",
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", show_default=False, help="tiny, i2v, f1, a model folder or a RECIPE.toml."
    ),
]
JsonFlag = Annotated[
    bool,
    typer.Option("--json", show_default=False, help="Write JSON to standard output."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", show_default=False, help="Say nothing but results and errors."),
]


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option per field of the request, before the options it has itself.

    The command takes them as ``**fields`` and passes them to ``given``. Values stay text, so
    that the schema checks them and words the errors.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    made = [_parameter(name, field) for name, field in GenerationRequest.model_fields.items()]
    order = [name for group in GROUPS for name in group.names]
    made.sort(key=lambda parameter: order.index(parameter.name))
    command.__signature__ = signature.replace(parameters=[*made, *own])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*made, *own]}
    return command


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; those left out keep the schema's defaults.

    Where a field takes cues of sections, the name of a file stands for what is in it.

    Raises:
        InvalidRequest: such a file cannot be read, or prompts are the name of another one.
    """
    from framepack.media.section_files import read_section_file, refuse_other_files

    values = {name: value for name, value in fields.items() if value is not None}
    if "section_prompts" in values:
        refuse_other_files("section_prompts (--section-prompts)", values["section_prompts"])
    for name in SECTION_FIELDS & values.keys():
        values[name] = read_section_file(values[name])
    if "enhanced_prompts" in values:
        values["enhanced_prompts"] = read_section_file(
            values["enhanced_prompts"], "file of enhanced prompts"
        )
    return values


def check_at_least(option: str, value: float | None, minimum: float) -> None:
    """Refuse a number that is too small; None, not given, passes.

    Raises:
        InvalidRequest: the value is below the minimum.
    """
    if value is not None and not value >= minimum:
        raise InvalidRequest(f"{option} is {value:g}; it must be at least {minimum:g}")


def whole_number(
    option: str, text: str, needed: str, *, lowest: int | None = None, highest: int | None = None
) -> int:
    """Read a whole number, such as ``-1``.

    Args:
        option: what errors call it.
        text: as typed.
        needed: which numbers there are, as the end of "it must be ...".
        lowest, highest: limits, or None.

    Raises:
        InvalidRequest: the text is no whole number, or is beyond a limit.
    """
    try:
        number = int(text)
    except ValueError:
        number = None
    too_low = number is not None and lowest is not None and number < lowest
    too_high = number is not None and highest is not None and number > highest
    if number is None or too_low or too_high:
        raise InvalidRequest(f"{option} is {text!r}; it must be {needed}")
    return number


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    is_flag = field.annotation is bool
    kind: Any = bool if is_flag else list[str] if name in _REPEATED else str
    option = typer.Option(
        str(extra["option"]),
        help=field.description,
        metavar=None if is_flag else _metavar(field, str(extra["unit"])),
        show_default=False,
        rich_help_panel=group_of(name).title,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _metavar(field: FieldInfo, unit: str) -> str:
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    kind = kinds[0] if NoneType in get_args(field.annotation) else field.annotation
    if get_origin(kind) is dict:
        return "FILE"
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return {LoraRef: _LORA_METAVAR, str: unit.upper() or "NAME"}.get(item, _SECTIONS_METAVAR)
    if get_origin(kind) is Literal:
        choices = "|".join(get_args(kind))
        return choices if len(choices) <= _LONGEST_CHOICE else "NAME"
    return unit.upper() if unit in ("s", "px") else _METAVARS[kind]  # type: ignore[index]
