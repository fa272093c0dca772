"""FramePack Studio: a picture and a sentence become a video.

    import framepack

    result = framepack.generate(
        prompt="the camera pans left", image="photo.jpg", output="out.mp4"
    )

``stream`` gives the same run as typed events, ``plan`` says what would be computed,
``resume`` finishes a stopped run, ``inspect`` reads what a video says about itself.
Importing this package imports no torch; the first call that needs a network does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framepack.api import (
        Result,
        generate,
        plan,
        resume,
        save_partial,
        stream,
        stream_resume,
    )
    from framepack.domain.errors import (
        CheckpointError,
        FramePackError,
        InvalidRequest,
        LicenceNotAccepted,
        MissingWeights,
        WorkspaceError,
    )
    from framepack.domain.events import (
        Event,
        Finished,
        MemoryRanOut,
        Planned,
        SectionDone,
        StageStarted,
        StepDone,
    )
    from framepack.domain.plan import Plan, Section
    from framepack.domain.request import GenerationRequest
    from framepack.domain.settings import Settings
    from framepack.finished import Clip, edit_clip, upscale
    from framepack.media.drift import DriftReport, measure_drift
    from framepack.media.inspection import Inspection, inspect
    from framepack.models.spec import TINY
    from framepack.models.transformer import FramePackTransformer3DModel
    from framepack.pipeline.diffusers_face import FramePackPipeline
    from framepack.sequels import extend, redo, stream_extend, stream_redo

__version__ = "0.1.0"

_HOMES = {
    "framepack.api": (
        "Result",
        "generate",
        "plan",
        "resume",
        "save_partial",
        "stream",
        "stream_resume",
    ),
    "framepack.domain.errors": (
        "CheckpointError",
        "FramePackError",
        "InvalidRequest",
        "LicenceNotAccepted",
        "MissingWeights",
        "WorkspaceError",
    ),
    "framepack.domain.events": (
        "Event",
        "Finished",
        "MemoryRanOut",
        "Planned",
        "SectionDone",
        "StageStarted",
        "StepDone",
    ),
    "framepack.domain.plan": ("Plan", "Section"),
    "framepack.domain.request": ("GenerationRequest",),
    "framepack.domain.settings": ("Settings",),
    "framepack.finished": ("Clip", "edit_clip", "upscale"),
    "framepack.media.drift": ("DriftReport", "measure_drift"),
    "framepack.media.inspection": ("Inspection", "inspect"),
    "framepack.models.spec": ("TINY",),
    "framepack.models.transformer": ("FramePackTransformer3DModel",),
    "framepack.pipeline.diffusers_face": ("FramePackPipeline",),
    "framepack.sequels": ("extend", "redo", "stream_extend", "stream_redo"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "TINY",
    "CheckpointError",
    "Clip",
    "DriftReport",
    "Event",
    "Finished",
    "FramePackError",
    "FramePackPipeline",
    "FramePackTransformer3DModel",
    "GenerationRequest",
    "Inspection",
    "InvalidRequest",
    "LicenceNotAccepted",
    "MemoryRanOut",
    "MissingWeights",
    "Plan",
    "Planned",
    "Result",
    "Section",
    "SectionDone",
    "Settings",
    "StageStarted",
    "StepDone",
    "WorkspaceError",
    "__version__",
    "edit_clip",
    "extend",
    "generate",
    "inspect",
    "measure_drift",
    "plan",
    "redo",
    "resume",
    "save_partial",
    "stream",
    "stream_extend",
    "stream_redo",
    "stream_resume",
    "upscale",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'framepack' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
