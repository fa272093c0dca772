"""Files of words: styles in TOML, and wildcards with one choice per line."""

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.wording import Style
from framepack.media.files import shown

__all__ = ["read_styles", "wildcard_lines"]

_TEXTS = ("prompt", "negative_prompt")
# Pictures belong to one video, the codec to one file; styles of styles would have no end.
_NO_STYLE = ("image", "end_image", "codec", "styles")


def read_styles(path: Path, names: Sequence[str]) -> list[Style]:
    """The styles of these names.

    Args:
        path: a TOML file with one table per style.
        names: as asked for.

    Raises:
        InvalidRequest: no such file or style, or a style with fields that no request has.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InvalidRequest(
            f"style {names[0]!r} was asked for, but there is no style file {shown(path)}; write "
            "one, or set styles_file"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"style file {shown(path)} cannot be read: {error}") from error
    return [_style(path, tables, name) for name in names]


@cache
def wildcard_lines(folder: Path, name: str) -> tuple[str, ...]:
    """The choices behind ``__name__``: the lines of ``NAME.txt``, without empty and # lines.

    Raises:
        InvalidRequest: there is no such file, or nothing in it.
    """
    path = folder / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"wildcard __{name}__ in the prompt needs a text file {shown(path)}: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from error
    lines = (line.strip() for line in text.splitlines())
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise InvalidRequest(f"wildcard file {shown(path)} has no line to choose from")
    return found


def _style(path: Path, tables: dict[str, Any], name: str) -> Style:
    table = tables.get(name)
    if not isinstance(table, dict):
        near = get_close_matches(name, tables, 1)
        hint = f"did you mean {near[0]!r}" if near else f"it has {', '.join(tables) or 'none'}"
        raise InvalidRequest(f"there is no style {name!r} in {shown(path)}; {hint}")
    texts = {key: value for key, value in table.items() if key in _TEXTS}
    if not all(isinstance(text, str) for text in texts.values()):
        raise InvalidRequest(f"style {name!r} in {shown(path)} has a prompt that is no text")
    names = _field_names()
    values = {}
    for key, value in table.items():
        field = names.get(key.replace("-", "_"))
        if key in _TEXTS:
            continue
        if field is None:
            raise InvalidRequest(
                f"style {name!r} in {shown(path)} sets {key!r}, which no request has; take the "
                "name of an option of `framepack generate`"
            )
        values[field] = value
    GenerationRequest.parse(**values)
    return Style(name, **texts, values=values)


@cache
def _field_names() -> dict[str, str]:
    """The fields that a style may set, by their own names and by those of their options."""
    names = {}
    for name, field in GenerationRequest.model_fields.items():
        if name in _NO_STYLE:
            continue
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        names[str(extra["option"]).removeprefix("--").replace("-", "_")] = name
        names[name] = name
    return names
