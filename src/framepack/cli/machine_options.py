"""Options that say where and how to compute, the same for every command that makes videos."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from framepack.cli.options import (
    AttentionBackend,
    CompileMode,
    Device,
    DtypeName,
    ModelsDir,
    OffloadMode,
    Quantize,
    VramBudget,
    VramReserve,
)

__all__ = ["machine_options"]

_OPTIONS = {
    "device": Device,
    "dtype": DtypeName,
    "attention": AttentionBackend,
    "compile": CompileMode,
    "models_dir": ModelsDir,
    "offload": OffloadMode,
    "vram_budget": VramBudget,
    "vram_reserve": VramReserve,
    "quantize": Quantize,
}
"""By the names of the settings that they stand before."""


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options where it takes ``machine``.

    What it gets there are flags for ``Settings.load``; those left out are None.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += _in_place_of(parameter) if parameter.name == "machine" else [parameter]

    @functools.wraps(command)
    def with_machine(*args: Any, **values: Any) -> Any:
        machine = {name: values.pop(name, None) for name in _OPTIONS}
        if not machine["quantize"]:  # an option that may be repeated is left out as an empty list
            machine["quantize"] = None
        return command(*args, machine=machine, **values)

    with_machine.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_machine.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_machine


def _in_place_of(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(name, parameter.kind, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
