"""What a command line asks for, checked as far as that goes without torch."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from framepack.api import decide, find_model
from framepack.cli.options import given
from framepack.domain.plan import Plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.models.parts import ModelSpec
from framepack.models.spec import resolve_spec

__all__ = ["Asked", "new_output"]


@dataclass(frozen=True)
class Asked:
    """A request, the model it means, and the line that says why that model.

    Attributes:
        request: the options, checked one by one.
        settings: of this machine, with the flags that override them.
        spec: the model.
        choice: why it is this model.
    """

    request: GenerationRequest
    settings: Settings
    spec: ModelSpec
    choice: str

    @classmethod
    def read(
        cls, fields: Mapping[str, Any], settings: Settings, *, ask_torch: bool = False
    ) -> "Asked":
        """Check the options of a request and find its model.

        Args:
            fields: values of the options, None where one was not given.
            settings: of this machine.
            ask_torch: let torch confirm that there is an accelerator, where the choice of the
                model hangs on it. Without it, a card that torch cannot use may be believed in.

        Raises:
            InvalidRequest: a wrong value, an unknown model, or a model without that variant.
        """
        request = GenerationRequest.parse(**given(dict(fields)))
        if request.model is not None:
            spec = resolve_spec(request.model, request.variant)
            return cls(request, settings, spec, f"Model {spec.key} ({spec.title}): as asked.")
        spec, line = find_model(request, settings, ask_torch=ask_torch)
        named = GenerationRequest.parse(**{**dict(request), "model": spec.key})
        return cls(named, settings, spec, line or "")

    def plan(self, *, allow_empty: bool = False) -> Plan:
        """Decide everything about the video; a damaged picture is found here.

        Raises:
            InvalidRequest: request, pictures and model do not fit together.
        """
        return decide(self.request, self.spec, allow_empty=allow_empty)


def new_output(settings: Settings) -> Path:
    """A name, not used before, for a video that was given none."""
    folder, stamp = settings.outputs_dir, time.strftime("%Y%m%d-%H%M%S")
    names = (f"framepack-{stamp}-{i}.mp4" if i else f"framepack-{stamp}.mp4" for i in count())
    return next(folder / name for name in names if not (folder / name).exists())
