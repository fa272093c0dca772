"""Fields whose help text and error message come from the same facts."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

__all__ = ["described", "explain_fields"]

OWN_DEFAULT = "the model's own"

_LIST = re.compile(r"(?!true or )[^ ,]+(,| or )")  # what a rule that begins with values looks like


def described(
    default: object,
    text: str,
    *,
    title: str,
    option: str,
    rule: str,
    unset: str = OWN_DEFAULT,
    unit: str = "",
    step: float | None = None,
    **limits: Any,
) -> Any:
    """A pydantic field whose help text and error message come from the same facts.

    Args:
        default: the default; None means that ``unset`` says what happens.
        text: one sentence on what the field does.
        title: label for forms.
        option: command line option.
        rule: what a valid value is, as the end of "it must be ...".
        unset: what None stands for.
        unit: unit of the value, if it has one.
        step: by how much a form's buttons change a number; from its kind and limits unless given.
        limits: pydantic constraints (ge, gt, le, max_length).
    """
    empty = default in (None, (), {})
    shown = unset if empty else (repr(default) if default == "" else str(default))
    return Field(
        default,
        title=title,
        description=f"{_with_rule(text, rule)}; default: {shown}.",
        json_schema_extra={
            "option": option,
            "unit": unit,
            "rule": rule,
            "help": text,
            "unset": unset if empty else "",
            "step": step,
        },
        **limits,
    )


def _with_rule(text: str, rule: str) -> str:
    """The sentence and the rule; values are typed as they are, so no capital begins a list."""
    if _LIST.match(rule):
        return f"{text.removesuffix('.')}: {rule}"
    return f"{text} {rule[0].upper()}{rule[1:]}"


def explain_fields(error: ValidationError, fields: Mapping[str, FieldInfo]) -> str:
    """Turn pydantic's report into one line: what was found, what is needed.

    Args:
        error: the report.
        fields: of the model at fault, made with :func:`described`.
    """
    items = error.errors(include_url=False)
    return "; ".join(_explain_one(dict(item), fields) for item in items)


def _explain_one(item: dict[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    location = [str(part) for part in item["loc"]]
    if not location:
        cause = item.get("ctx", {}).get("error")
        return str(cause) if cause is not None else str(item["msg"])
    name = location[0]
    if name not in fields:
        near = get_close_matches(name, fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown field {name!r}{hint}"
    extra = fields[name].json_schema_extra
    assert isinstance(extra, dict)
    cause = item.get("ctx", {}).get("error")
    if get_origin(fields[name].annotation) is tuple:
        return f"{name} ({extra['option']}): {cause or _explain_part(item, location[-1])}"
    found = _shorten(item["input"])
    return f"{name} ({extra['option']}) is {found}; it must be {extra['rule']}"


def _explain_part(item: dict[str, Any], name: str) -> str:
    """What is wrong with one value of several, or of an entry that has fields of its own."""
    if item["type"] == "extra_forbidden":
        return f"unknown field {name!r}"
    reason = str(item["msg"]).replace("Input should", "it must")
    return f"{name} is {_shorten(item['input'])}; {reason[:1].lower() + reason[1:]}"


def _shorten(value: object) -> str:
    if isinstance(value, str) and len(value) > 60:
        return f"{value[:40]!r}... ({len(value)} characters)"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
