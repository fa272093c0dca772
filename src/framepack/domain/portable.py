"""Requests and plans that travel: they name pictures without saying where they were kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from framepack.domain.plan import Plan
from framepack.domain.request import SECTION_FIELDS, GenerationRequest
from framepack.domain.timeline import SectionCue

__all__ = ["rename_section_pictures", "without_folders"]

R = TypeVar("R", bound=GenerationRequest)


def rename_section_pictures(request: R, paths: Sequence[Path]) -> R:
    """The same request with other paths for its ``section_pictures``, in their order."""
    renamed = dict(zip(request.section_pictures, paths, strict=True))

    def rename(cues: tuple[SectionCue, ...]) -> tuple[SectionCue, ...]:
        return tuple(
            cue.model_copy(update={"image": renamed[cue.image]}) if cue.image else cue
            for cue in cues
        )

    cues = {name: rename(getattr(request, name)) for name in SECTION_FIELDS}
    return request.model_copy(update=cues)


def without_folders(plan: Plan) -> Plan:
    """The same plan with the names of pictures and weight files in place of their paths.

    Pictures of sections that would share a name are told apart by a number.
    """
    request = plan.request
    renamed = rename_section_pictures(request, _file_names(request.section_pictures))
    names = dict(zip(request.section_pictures, renamed.section_pictures, strict=True))
    start, end = request.image, request.end_image
    vae, rife = request.vae_weights, request.rife_weights
    loras = (lora.model_copy(update={"path": Path(lora.path.name)}) for lora in request.loras)
    named = renamed.model_copy(
        update={
            "image": Path(start.name) if start is not None else None,
            "end_image": Path(end.name) if end is not None else None,
            "loras": tuple(loras),
            "section_loras": tuple(map(_with_names, renamed.section_loras)),
            "vae_weights": Path(vae.name) if vae is not None else None,
            "extend": Path(request.extend.name) if request.extend is not None else None,
            "video": Path(request.video.name) if request.video is not None else None,
            "rife_weights": Path(rife.name) if rife is not None else None,
        }
    )
    sections = tuple(
        replace(section, image=names[section.image]) if section.image is not None else section
        for section in plan.sections
    )
    return plan.model_copy(update={"request": named, "sections": sections})


def _with_names(cue: SectionCue) -> SectionCue:
    """The same cue with the names of LoRAs in place of their paths."""
    if not isinstance(cue.loras, dict):
        return cue
    weights = {Path(name).name: weight for name, weight in cue.loras.items()}
    return cue.model_copy(update={"loras": weights})


def _file_names(paths: Sequence[Path]) -> list[Path]:
    """The last part of each path, with a number in front where two are the same."""
    names: list[Path] = []
    for index, path in enumerate(paths):
        name = Path(path.name)
        names.append(Path(f"{index}-{path.name}") if name in names else name)
    return names
