"""The settings of this machine as a page shows and changes them: the file, checked and rewritten.

Everything follows from ``Settings``: a new field appears by itself. A value that a flag or the
environment fixes cannot be changed in the file, since it would not hold.
"""

import os
import tempfile
import threading
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import tomlkit
from pydantic import SecretStr, ValidationError
from pydantic_core import to_jsonable_python
from tomlkit.exceptions import TOMLKitError

from framepack.domain.errors import InvalidRequest
from framepack.domain.forms import form_field
from framepack.domain.groups import FieldGroup
from framepack.domain.settings import Settings, settings_path
from framepack.service.options import ServiceConfig
from framepack.service.records import StoreFull, WrongState

__all__ = ["MachineSettings", "ValueSource"]

ValueSource = Literal["flag", "environment", "file", "default"]


def _group(group_id: str, title: str, names: str) -> FieldGroup:
    return FieldGroup(group_id, title, tuple(names.split()))


_GROUPS = (
    _group(
        "folders",
        "Folders",
        "outputs_dir models_dir loras_dir wildcards_dir styles_file hf_home hf_hub_cache keep_runs "
        "keep_embeddings",
    ),
    _group(
        "device",
        "Device and memory",
        "device dtype attention compile quantize offload vram_budget vram_reserve",
    ),
    _group(
        "networks",
        "VAE, interpolation and upscaling",
        "vae tiny_vae remote_vae_url remote_vae_api_key remote_vae_timeout_s rife_weights "
        "upscaler_weights",
    ),
    _group(
        "enhancer",
        "Enhancing prompts",
        "enhancer_url enhancer_model enhancer_api_key enhancer_instruction enhancer_timeout_s",
    ),
    _group("downloads", "Downloads", "offline accept_licence"),
    _group("server", "Server", "url api_key service"),
)
_OTHERS = FieldGroup("others", "More", ())
_AT_START = ("service",)
"""What a server reads when it starts, and not later."""


class MachineSettings:
    """The settings of a server, and the file that they come from.

    Args:
        settings: as the server was started with. What differs from file and environment was
            given to the program, and stays.
        on_change: told the new settings after the file was written.
    """

    def __init__(self, settings: Settings, on_change: Callable[[Settings], object]) -> None:
        self._current = settings
        self._on_change = on_change
        self._lock = threading.Lock()
        self._fixed = {name: getattr(settings, name) for name in _given(settings)}

    @property
    def current(self) -> Settings:
        """What holds now."""
        return self._current

    def values(self) -> dict[str, Any]:
        """``file``, ``groups`` and ``fields``, each with its value and where that comes from."""
        in_file = _read()
        fields = [self._field(name, in_file) for name in Settings.model_fields]
        groups = [group for group in (*_GROUPS, _OTHERS) if _has(group, fields)]
        return {
            "object": "settings",
            "file": str(settings_path()),
            "groups": [{"id": group.id, "title": group.title} for group in groups],
            "fields": fields,
        }

    def change(self, changes: Mapping[str, Any]) -> None:
        """Write values to the file, and have them hold from now on.

        Args:
            changes: by field; None takes the value out of the file.

        Raises:
            InvalidRequest: an unknown field, or a wrong value; nothing was written.
            WrongState: a flag or the environment fixes a value; nothing was written.
            StoreFull: the file cannot be written.
        """
        with self._lock:
            changes = {name: _emptied(name, value) for name, value in changes.items()}
            self._refuse_fixed(changes)
            written = self._checked(changes)
            _write(written, [name for name, value in changes.items() if value is None])
            self._current = Settings.load(**self._fixed)
            self._on_change(self._current)

    def source(self, name: str, in_file: Mapping[str, Any]) -> ValueSource:
        """Where a field's value comes from."""
        if name in self._fixed:
            return "flag"
        if Settings.variable_of(name):
            return "environment"
        return "file" if name in in_file else "default"

    def _field(self, name: str, in_file: Mapping[str, Any]) -> dict[str, Any]:
        field = Settings.model_fields[name]
        value = getattr(self._current, name)
        form = form_field(name, field, group=_group_of(name).id)
        is_secret = "SecretStr" in str(field.annotation)
        is_path = form["kind"] == "file"
        return {
            **form,
            "kind": "text" if is_path else form["kind"],  # a place on the server, not a file sent
            "option": "",
            "value": None if is_secret else to_jsonable_python(value),
            "source": self.source(name, in_file),
            "variable": Settings.variable_of(name),
            "secret": is_secret,
            "is_set": value is not None,
            "path": is_path,
            "restart": name in _AT_START,
        }

    def _refuse_fixed(self, changes: Mapping[str, Any]) -> None:
        for name in changes:
            variable = Settings.variable_of(name)
            if name in self._fixed:
                raise WrongState(
                    f"{name} was given to the program when it was started, which wins over the "
                    "file; start it without"
                )
            if variable is not None:
                raise WrongState(
                    f"{name} is set by the environment ({variable}), which wins over the file; "
                    "unset it there and start the program again"
                )

    def _checked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The values to write, as TOML has them."""
        unknown = [name for name in changes if name not in Settings.model_fields]
        if unknown:
            known = ", ".join(Settings.model_fields)
            raise InvalidRequest(f"unknown setting {unknown[0][:60]!r}; known are {known}")
        given = {name: value for name, value in changes.items() if value is not None}
        try:
            checked = Settings.load(**{**self._fixed, **given})
        except InvalidRequest as error:
            text = str(error).removeprefix(f"settings (file {settings_path()}): ")
            raise InvalidRequest(text) from error
        if "service" in given:
            _check_service(given["service"])
        return {name: _as_toml(given[name], getattr(checked, name)) for name in given}


def _emptied(name: str, value: Any) -> Any:
    """None for an empty text where a field may be without a value: forms have no other way."""
    field = Settings.model_fields.get(name)
    may_be_none = field is not None and field.default is None and field.default_factory is None
    return None if may_be_none and value == "" else value


def _given(settings: Settings) -> set[str]:
    """Fields that neither file nor environment explains."""
    plain = Settings.load()
    differing = {n for n in Settings.model_fields if getattr(settings, n) != getattr(plain, n)}
    return differing | set(settings.flags)


def _group_of(name: str) -> FieldGroup:
    return next((group for group in _GROUPS if name in group.names), _OTHERS)


def _has(group: FieldGroup, fields: list[dict[str, Any]]) -> bool:
    return any(field["group"] == group.id for field in fields)


def _check_service(table: Any) -> None:
    try:
        ServiceConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(ServiceConfig.model_fields)
            raise InvalidRequest(f"unknown setting service.{name}; known are {known}") from error
        raise InvalidRequest(f"service.{name} is {first['input']!r}: {first['msg']}") from error


def _as_toml(given: Any, checked: Any) -> Any:
    if isinstance(checked, SecretStr):
        return checked.get_secret_value()
    if isinstance(checked, Path):
        return str(given)  # with its ~, for whoever reads the file
    return to_jsonable_python(checked)


def _read() -> dict[str, Any]:
    try:
        return tomllib.loads(settings_path().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _write(values: Mapping[str, Any], removed: list[str]) -> None:
    """Change a few lines of the file and leave the others, comments included, as they are."""
    path = settings_path().resolve()
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        document = tomlkit.parse(text)
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise InvalidRequest(f"settings file {path} cannot be read: {error}; mend it") from error
    for name in removed:
        document.pop(name, None)
    for name, value in values.items():
        document[name] = value
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise StoreFull(
            f"settings file {path} cannot be written: {error.strerror}; check its folder"
        ) from error


def _replace(path: Path, text: str) -> None:
    """Write a file in one step; it may hold keys, so that a new one is its owner's alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
