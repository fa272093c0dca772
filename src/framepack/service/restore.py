"""Settings of videos that were made, ready to be asked for again: their files become uploads.

They come from a job, as it was asked, or from a video file, in which the whole request travels
with its pictures. Sent back as they are, the settings make the same video again.
"""

import base64
import binascii
import io
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.media.inspection import Inspection, inspect
from framepack.models.spec import PRESETS
from framepack.service.files import JobFolder
from framepack.service.inputs import PICTURES, SECTION_FILES, VIDEOS, Input, store_inputs
from framepack.service.intake import check_file, kinds_of
from framepack.service.options import JobOptions
from framepack.service.recipes import model_name
from framepack.service.records import Job
from framepack.service.requests import in_words, lora_names
from framepack.service.uploads import Uploads

__all__ = ["Found", "Restored", "input_file", "inspected", "reused"]

_OF_THE_SERVER = ("vae_weights", "rife_weights")
"""Files that a server's settings choose."""
_OF_ONE_JOB = ("video", "group", "label", "audio")
"""Options that another job does not take over as they are."""

Keep = Callable[[str, Path], str | None]
"""Makes an upload of the file of a field; None if that is gone."""


@dataclass(frozen=True)
class Restored:
    """Settings to ask for a video with.

    Attributes:
        request: fields of ``GenerationRequest`` that were given; files are ids of uploads.
        options: those of ``JobOptions`` that differ from none given; ``audio`` is an upload.
        notes: lines that people should see, such as what could not be restored.
    """

    request: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a video file says about itself.

    Attributes:
        settings: to make it again.
        version: of the program that made it.
        hashes: SHA-256 of the weights that it was made with, by component.
        inspection: of the file.
    """

    settings: Restored
    version: str
    hashes: Mapping[str, str]
    inspection: Inspection


def reused(job: Job, folder: JobFolder, uploads: Uploads, *, owner: str) -> Restored:
    """The settings of a job as it was asked, with the seed that it got.

    Args:
        job: in any state.
        folder: its files.
        uploads: take copies of its inputs.
        owner: whose these are.
    """
    notes: list[str] = []

    def keep(name: str, path: Path) -> str | None:
        try:
            return uploads.keep_copy(path, name=path.name, owner=owner).id
        except FileNotFoundError:
            notes.append(f"{name} was removed with the video's files; give it again.")
            return None

    asked = JobOptions.model_validate(job.options)
    options = asked.model_dump(mode="json", exclude_defaults=True, exclude=set(_OF_ONE_JOB))
    if asked.audio:
        sound = keep("audio", folder.inputs / asked.audio)
        options |= {} if sound is None else {"audio": sound}
    return Restored(_with_uploads(job.request, keep), options, tuple(notes))


def inspected(
    given: Input,
    uploads: Uploads,
    *,
    owner: str,
    max_pixels: int,
    settings: Settings,
    recipes: Collection[str] = (),
) -> Found:
    """The settings that travel in a video or picture file.

    Args:
        given: the file; nothing is known of it.
        uploads: take the pictures that travel in it.
        owner: whose these are.
        max_pixels: of its frames, and of all its pictures together.
        settings: of this machine.
        recipes: names of those that stand for models here.

    Raises:
        InvalidRequest: it is no video or picture, damaged, or none of ours.
        QuotaExceeded, StoreFull: there is no room for its pictures.
    """
    with tempfile.TemporaryDirectory(prefix="request-", dir=uploads.folder) as name:
        folder = Path(name)
        path = store_inputs({"file": given}, folder)["file"]
        try:
            found = _read(path, max_pixels)
            request = found.restore(folder / "pictures")
        except InvalidRequest as error:
            raise in_words(error, {path: given.name}, settings) from error
        models = (*PRESETS, *recipes)
        notes = _missing(request, settings, models)

        def keep(word: str, picture: Path) -> str | None:
            if word in VIDEOS:
                notes.append(
                    f"{word} was {picture.name}, which does not travel in the file; give it again."
                )
                return None
            kept = f"{word}{picture.suffix}"
            return uploads.keep_copy(picture, name=kept, owner=owner).id

        restored = Restored(_with_uploads(_given(request, models), keep), notes=tuple(notes))
    document = found.document
    return Found(restored, str(document.get("version", "")), _hashes(document), found)


def input_file(job: Job, folder: JobFolder, name: str) -> Path | None:
    """The stored file of a field of a job's request; None if there is none, or none any more.

    Args:
        job: the job.
        folder: its files.
        name: ``image``, ``end_image``, ``extend``, ``video``, ``audio``, or with the place of an
            entry ``section_images-0``.
    """
    found = None
    word, _, number = name.partition("-")
    if name in (*PICTURES, *VIDEOS):
        found = job.request.get(name)
    elif name == "audio" and job.options.get("audio"):
        found = folder.inputs / str(job.options["audio"])
    elif word in SECTION_FILES and number.isascii() and number.isdecimal() and len(number) < 6:
        entries = list(job.request.get(word) or ())
        found = entries[int(number)].get("image") if int(number) < len(entries) else None
    path = Path(found) if found is not None else None
    is_ours = path is not None and path.resolve().is_relative_to(folder.inputs.resolve())
    return path if is_ours and path is not None and path.is_file() else None


def _read(path: Path, max_pixels: int) -> Inspection:
    """Look into a stranger's file once a process of its own has."""
    kinds = kinds_of(path)
    check_file(path, "picture" if "picture" in kinds else "video", max_pixels=max_pixels)
    found = inspect(path)
    if found.request is None:
        what = "picture" if found.is_picture else "video"
        raise InvalidRequest(
            f"{what} {path} carries no request of FramePack Studio: another program made or "
            "changed it, or it was made without; give a file as this program wrote it"
        )
    _check_pictures(found.document.get("pictures"), max_pixels)
    return found


def _check_pictures(encoded: Any, max_pixels: int) -> None:
    """Refuse pictures that are too large together, before any is decoded."""
    total = 0
    for name, text in (encoded if isinstance(encoded, dict) else {}).items():
        try:
            data = base64.b64decode(str(text).partition(",")[2], validate=True)
            with Image.open(io.BytesIO(data)) as picture:
                total += picture.width * picture.height
        except (OSError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
            raise InvalidRequest(
                f"picture {str(name)[:40]} in the file is damaged; give its request anew"
            ) from error
    if total > max_pixels:
        raise InvalidRequest(
            f"the pictures in the file have {total / 1e6:.0f} million pixels; this server reads at "
            f"most {max_pixels / 1e6:.0f} million"
        )


def _missing(request: GenerationRequest, settings: Settings, models: Collection[str]) -> list[str]:
    """Lines about what a request needs and this server does not have."""
    lines = [
        f"{name} was {getattr(request, name).name}; this server's settings choose these weights."
        for name in _OF_THE_SERVER
        if getattr(request, name) is not None
    ]
    if request.model is not None and model_name(request.model) not in models:
        name = Path(request.model).name
        lines.append(f"model was {name}, which this server does not have; choose another one.")
    offered = lora_names(settings)
    lines += [
        f"LoRA {lora.path.stem} is not on this server; take it out, or have it put there."
        for lora in request.loras
        if lora.path.stem not in offered
    ]
    return lines


def _given(request: GenerationRequest, models: Collection[str]) -> dict[str, Any]:
    """The fields that differ from a request that says nothing.

    The duration stays in any case: left out beside a video, it is the video's.
    """
    values = request.model_dump(mode="json", exclude_defaults=True)
    is_elsewhere = request.model is not None and model_name(request.model) not in models
    left_out = (*_OF_THE_SERVER, *(("model",) if is_elsewhere else ()))
    known = {name: value for name, value in values.items() if name not in left_out}
    return known | {"duration_s": request.duration_s}


def _with_uploads(fields: Mapping[str, Any], keep: Keep) -> dict[str, Any]:
    """Fields of a request with ids of uploads in the place of paths."""
    found = {name: value for name, value in fields.items() if value is not None}
    if "model" in found:
        found["model"] = model_name(found["model"])
    for name in (*PICTURES, *VIDEOS):
        if name in found:
            found[name] = keep(name, Path(found[name]))
    for name in SECTION_FILES:
        if name in found:
            cues = (_cue(name, cue, keep) for cue in found[name])
            found[name] = [cue for cue in cues if cue]
    for name in ("section_seeds", "section_loras"):
        if name in found:
            found[name] = [_said(cue) for cue in found[name]]
    if "loras" in found:
        found["loras"] = [{**lora, "path": Path(lora["path"]).name} for lora in found["loras"]]
    return {name: value for name, value in found.items() if value not in (None, [])}


def _cue(name: str, cue: Mapping[str, Any], keep: Keep) -> dict[str, Any]:
    """An entry for a section; {} if nothing is left of it."""
    said = _said(cue)
    if "image" in said:
        image = keep(name, Path(said.pop("image")))
        said |= {} if image is None else {"image": image}
    return said if {"prompt", "image", "seed", "loras"} & set(said) else {}


def _said(cue: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cue.items() if value is not None}


def _hashes(document: Mapping[str, Any]) -> dict[str, str]:
    known = document.get("components")
    return {str(k): str(v) for k, v in known.items()} if isinstance(known, Mapping) else {}
