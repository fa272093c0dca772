"""What a command line asks for, checked as far as that goes without torch."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from framepack.cli.hardware import may_run_published
from framepack.cli.options import given
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.models.spec import (
    PRESETS,
    ModelChoice,
    ModelSpec,
    checkpoint_for,
    choose_model,
    resolve_spec,
)

__all__ = ["Asked", "new_output", "new_run_dir"]


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
        choice = _choose(request, settings, ask_torch=ask_torch)
        spec = resolve_spec(choice.model, request.variant)
        named = GenerationRequest.parse(**{**dict(request), "model": choice.model})
        return cls(named, settings, spec, choice.line)

    def plan(self, *, allow_empty: bool = False) -> Plan:
        """Decide everything about the video; a damaged picture is found here.

        Raises:
            InvalidRequest: request, pictures and model do not fit together.
        """
        return make_plan(
            self.request,
            model=self.spec.key,
            geometry=self.spec.geometry,
            defaults=self.spec.defaults,
            variants=self.spec.variants,
            image_size=_image_size(self.request.image),
            end_image_size=_image_size(self.request.end_image),
            allow_empty=allow_empty,
        )


def new_output(settings: Settings) -> Path:
    """A name, not used before, for a video that was given none."""
    folder, stamp = settings.outputs_dir, time.strftime("%Y%m%d-%H%M%S")
    names = (f"framepack-{stamp}-{i}.mp4" if i else f"framepack-{stamp}.mp4" for i in count())
    return next(folder / name for name in names if not (folder / name).exists())


def new_run_dir(settings: Settings, output: Path) -> Path:
    """A name, not used before, for the directory of a run."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return settings.outputs_dir / "runs" / f"{stamp}-{output.stem[:40]}-{secrets.token_hex(3)}"


def _choose(request: GenerationRequest, settings: Settings, *, ask_torch: bool) -> ModelChoice:
    from framepack.weights.locate import are_weights_present

    large = PRESETS[checkpoint_for(request.variant)]
    weights_present = are_weights_present(large, settings)
    has_accelerator = may_run_published(settings)
    if ask_torch and has_accelerator and weights_present:
        from framepack.pipeline.device import choose_device

        has_accelerator = choose_device(settings.device).type != "cpu"
    return choose_model(
        request.variant, has_accelerator=has_accelerator, weights_present=weights_present
    )


def _image_size(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    from framepack.media.images import image_size

    return image_size(path)
