"""What a form has to know of a field, made from the field itself: nothing is written twice."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from framepack.domain.loras import LoraRef
from framepack.domain.timeline import SectionCue

__all__ = ["FieldKind", "form_field"]

FieldKind = Literal[
    "text",
    "longtext",
    "integer",
    "number",
    "boolean",
    "choice",
    "list",
    "file",
    "sections",
    "loras",
    "json",
]
"""What a form needs: one line or several, a number, a switch, a choice, a list of texts, a file,
cues of sections, LoRAs with weights, or an object."""

_LONG = 2000
"""A text that may have so many characters gets several lines."""
_FINE_STEPS = ((2.0, 0.05), (40.0, 0.1))
_COARSE_STEP = 0.5


def form_field(name: str, field: FieldInfo, *, group: str = "", common: bool = False) -> Any:
    """A field as JSON-able values.

    Args:
        name: of the field.
        field: made with ``described``, or with a title and a description.
        group: id of the part of the form that it is in.
        common: whether it is in view.

    Returns:
        ``name``, ``title``, ``help``, ``unit``, ``rule``, ``option`` (of the command line),
        ``group``, ``common``, ``kind``, ``choices``, ``min``, ``max``, ``exclusive_min``, ``step``
        (a handy one, no limit), ``default`` and ``unset`` (what None stands for). What a field
        does not have is None, False or "".
    """
    facts: Mapping[str, Any] = field.json_schema_extra  # type: ignore[assignment]
    facts = facts if isinstance(facts, dict) else {}
    inner = _without_none(field.annotation)
    limits = _limits(field.metadata)
    kind = _kind(inner, limits.get("max_length"))
    return {
        "name": name,
        "title": field.title or name,
        "help": facts.get("help") or field.description or "",
        "unit": facts.get("unit", ""),
        "rule": facts.get("rule", ""),
        "option": facts.get("option", ""),
        "group": group,
        "common": common,
        "kind": kind,
        "choices": list(get_args(inner)) if kind == "choice" else None,
        "min": limits.get("min"),
        "max": limits.get("max"),
        "exclusive_min": limits.get("exclusive_min", False),
        "step": facts.get("step") or _step(kind, limits),
        "default": to_jsonable_python(field.get_default(call_default_factory=True)),
        "unset": facts.get("unset", ""),
    }


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kinds = [each for each in get_args(kind) if each is not NoneType]
        return kinds[0]
    return kind


def _kind(kind: Any, max_length: int | None) -> FieldKind:
    if get_origin(kind) is Literal:
        return "choice"
    if get_origin(kind) in (tuple, list):
        item = get_args(kind)[0]
        return "sections" if item is SectionCue else "loras" if item is LoraRef else "list"
    if get_origin(kind) is dict or kind is dict:
        return "json"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "json"
    if kind is str and (max_length or 0) >= _LONG:
        return "longtext"
    plain: dict[Any, FieldKind] = {bool: "boolean", int: "integer", float: "number", Path: "file"}
    return plain.get(kind, "text")


def _limits(metadata: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in metadata:
        for name, limit in (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max")):
            if getattr(each, name, None) is not None:
                found[limit] = getattr(each, name)
        if getattr(each, "gt", None) is not None:
            found["exclusive_min"] = True
        if getattr(each, "max_length", None) is not None:
            found["max_length"] = each.max_length
    return found


def _step(kind: FieldKind, limits: Mapping[str, Any]) -> float | None:
    if kind == "integer":
        return 1
    if kind != "number":
        return None
    span = limits.get("max", float("inf")) - limits.get("min", 0)
    return next((step for most, step in _FINE_STEPS if span <= most), _COARSE_STEP)
