"""Recipes that commands write."""

from pathlib import Path
from typing import TYPE_CHECKING

from framepack.cli.console import write

if TYPE_CHECKING:
    from framepack.models.spec import ModelSpec

__all__ = ["save_recipe"]


def save_recipe(spec: "ModelSpec", output: str) -> None:
    """Write a model as a recipe, and the name of the file.

    Raises:
        InvalidRequest: the file has another suffix or cannot be written.
        WorkspaceError: the disk refused.
    """
    from framepack.media.files import atomic_file, check_output_writable
    from framepack.models.spec import recipe_text

    path = Path(output)
    check_output_writable(path, suffixes=(".toml",))
    text = recipe_text(spec, path.absolute().parent)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")
    write(output)
