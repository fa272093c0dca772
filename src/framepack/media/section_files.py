"""Files that say what changes along a video: YAML, or text as on the command line.

    - {section: 0, prompt: pan left}          0: pan left
    - {time_s: 2, prompt: pan right}          2s: {prompt: pan right, seed: 7}
    - {section: -1, image: last.png}          -1: {image: last.png}

A list holds the fields of ``SectionCue`` or plain texts that share the sections; a mapping
leads from sections or times to texts or fields. Pictures are found from the file's folder.
"""

from pathlib import Path
from typing import Any

import yaml

from framepack.domain.errors import InvalidRequest

__all__ = ["read_section_file", "refuse_other_files"]

_YAML = (".yaml", ".yml")
_SUFFIXES = (*_YAML, ".txt")


def read_section_file(value: str, what: str = "section file") -> object:
    """Return what a file holds if ``value`` names one, else ``value`` itself.

    Args:
        value: the path of a file, or text for sections.
        what: what errors call the file.

    Raises:
        InvalidRequest: the file is missing, not UTF-8, or not YAML.
    """
    path = Path(value).expanduser()
    is_name = "\n" not in value and path.suffix.lower() in _SUFFIXES
    if not is_name:
        return value
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidRequest(f"cannot read {what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{what} {path} is not UTF-8 text ({error.reason})") from error
    if path.suffix.lower() not in _YAML:
        return text
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InvalidRequest(f"{what} {path} is not YAML: {where}") from error
    return _with_pictures_beside(document, path.parent)


def refuse_other_files(option: str, value: str) -> None:
    """Refuse the name of something that is there, but holds no sections, in the place of text.

    Args:
        option: what errors call it.
        value: the path of a file, or text for sections.

    Raises:
        InvalidRequest: a folder, or a file that is no YAML and no text.
    """
    path = Path(value.strip()).expanduser()
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError):
        return  # no name of a file, such as a text that is too long for one
    if not is_there or path.suffix.lower() in _SUFFIXES:
        return
    kind = "a folder" if is_folder else f"a file that is none of {', '.join(_SUFFIXES)}"
    raise InvalidRequest(
        f"{option}: {value} is {kind}; name a YAML or text file, or write `0: {value}` if it is "
        "a prompt"
    )


def _with_pictures_beside(document: Any, folder: Path) -> Any:
    """The document with pictures' paths taken from the folder of the file."""
    if isinstance(document, list):
        return [_with_pictures_beside(entry, folder) for entry in document]
    if not isinstance(document, dict):
        return document
    return {
        key: str(folder / Path(value).expanduser())
        if key == "image" and isinstance(value, str)
        else _with_pictures_beside(value, folder)
        for key, value in document.items()
    }
