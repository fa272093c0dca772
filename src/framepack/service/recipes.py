"""Recipes that operators keep on a server, each a model that requests can name."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.models.parts import ModelSpec
from framepack.models.spec import PRESETS, resolve_spec
from framepack.service.records import NoSuchJob, StoreFull

__all__ = ["Recipes", "model_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".toml"
_MOST_CHARS = 100_000


def model_name(model: str) -> str:
    """A model as people name it: a recipe's name instead of its path."""
    return Path(model).stem if model.endswith(_SUFFIX) else model


class Recipes:
    """The recipes in a folder, one file each.

    Args:
        folder: exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def paths(self) -> Mapping[str, Path]:
        """The file of every recipe, by its name."""
        files = sorted(self._folder.glob(f"*{_SUFFIX}"))
        return {path.stem: path for path in files if _NAME.fullmatch(path.stem)}

    def path(self, name: str) -> Path:
        """The file of a recipe.

        Raises:
            NoSuchJob: there is none.
        """
        known = self.paths()
        if name not in known:
            offered = f"there are {', '.join(known)}" if known else "there are none"
            raise NoSuchJob(f"there is no recipe {name[:60]!r}; {offered}")
        return known[name]

    def text(self, name: str) -> str:
        """What a recipe says; see :meth:`path`.

        Raises:
            InvalidRequest: somebody has damaged it.
        """
        try:
            return self.path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise NoSuchJob(f"recipe {name} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"recipe {name} is no text in UTF-8: {error}") from error

    def check(self, text: str) -> ModelSpec:
        """Read a recipe that is not kept yet.

        Raises:
            InvalidRequest: says what is wrong with it.
            StoreFull: the disk refused.
        """
        if len(text) > _MOST_CHARS:
            raise InvalidRequest(
                f"text has {len(text)} characters; a recipe has at most {_MOST_CHARS}"
            )
        try:
            descriptor, name = tempfile.mkstemp(_SUFFIX, ".check-", self._folder)
            os.close(descriptor)
            path = Path(name)
            try:
                path.write_text(text, encoding="utf-8")
                return self._read(path, "recipe")
            finally:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreFull(
                f"the recipe cannot be kept: {error.strerror}; free some space"
            ) from error

    def save(self, name: str, text: str) -> ModelSpec:
        """Keep a recipe under a name, in the place of one that was there.

        Raises:
            InvalidRequest: a wrong name, or a recipe that cannot be read; nothing was kept.
            StoreFull: the disk refused.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"name is {name[:80]!r}; it must be letters, digits, dots, hyphens and "
                "underscores, at most 64, a letter or digit first"
            )
        if name in PRESETS:
            raise InvalidRequest(f"name is {name!r}, which is a model already; take another one")
        self.check(text)
        target = self._folder / f"{name}{_SUFFIX}"
        part = target.with_name(f".{target.name}.part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(target)
        except OSError as error:
            raise StoreFull(
                f"the recipe cannot be kept: {error.strerror}; free some space"
            ) from error
        return self.spec(name)

    def delete(self, name: str) -> None:
        """Remove a recipe; see :meth:`path`."""
        self.path(name).unlink(missing_ok=True)

    def spec(self, name: str) -> ModelSpec:
        """The model that a recipe describes.

        Raises:
            NoSuchJob: there is none.
            InvalidRequest: somebody has damaged it.
        """
        return self._read(self.path(name), name)

    def _read(self, path: Path, name: str) -> ModelSpec:
        try:
            return resolve_spec(str(path))
        except InvalidRequest as error:
            text = str(error).replace(f"recipe {path.resolve()}", name).replace(str(path), name)
            raise InvalidRequest(text) from error
