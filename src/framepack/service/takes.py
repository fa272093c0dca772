"""Videos made from videos that are there: what is asked, and the run that a worker goes on from.

A take is a job like every other: its request, made from nothing, gives the very same video. Beside
it, in the job's folder, stands whose run has its first sections already. A worker that begins the
job takes them over; if they are gone, or do not fit, it makes all of the video.
"""

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.decisions import plan_of
from framepack.domain.errors import FramePackError, InvalidRequest, is_disk_full
from framepack.domain.plan import Plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.domain.takes import made_longer, steered_anew, with_section_again
from framepack.service.files import JobFolder
from framepack.service.inputs import PICTURES, SECTION_FILES, VIDEOS, Input
from framepack.service.options import JobOptions
from framepack.service.records import Job, StoreFull
from framepack.service.run_reading import read_run

if TYPE_CHECKING:
    from framepack.pipeline.workspace import Workspace

__all__ = [
    "Origin",
    "Take",
    "asked_again",
    "forget_source",
    "longer",
    "note_source",
    "options_again",
    "redone",
    "taken_over",
]

logger = logging.getLogger(__name__)

_STEERS = frozenset({"prompt", "duration_s", "seed"})
"""All that may be said of more of the same video."""


@dataclass(frozen=True)
class Origin:
    """What stands behind a request that was made from a video.

    Attributes:
        said: what the sender said; an idempotency key stands for that, and for ``sent``.
        sent: the files that came with it.
        note: a line for people; "" for none.
        num_sections: first sections, in rendering order, that the parent's run may have.
    """

    said: Mapping[str, Any]
    sent: Mapping[str, Input] = field(default_factory=dict)
    note: str = ""
    num_sections: int = 0


@dataclass(frozen=True)
class Take:
    """A request as ``Service.submit`` takes it, made from a job.

    Attributes:
        fields: of ``GenerationRequest``, with words for files.
        inputs: the files, by word.
        origin: what it was made from.
    """

    fields: dict[str, Any]
    inputs: dict[str, Input]
    origin: Origin


def asked_again(job: Job, folder: JobFolder) -> tuple[dict[str, Any], dict[str, Input]]:
    """Fields and files of a job's request, to be asked once more."""
    return _in_words(job.request, job, folder)


def options_again(job: Job) -> JobOptions:
    """What a job was to leave, for one made from it, which is of no group; sound is a file."""
    return JobOptions.model_validate({**job.options, "audio": "", "group": "", "label": ""})


def redone(
    job: Job,
    folder: JobFolder,
    *,
    section: int,
    prompt: str | None = None,
    image: Input | None = None,
    seed: int | None = None,
) -> Take:
    """A video of which one section is made again, with those rendered after it.

    Args:
        job: in any state.
        folder: its files.
        section: its index in the job's plan; -1 is the last.
        prompt: what happens in it, as a section prompt says it; None for what it was.
        image: picture that stands for the start picture in it.
        seed: of its noise; a fresh one if nothing else changes.

    Raises:
        InvalidRequest: there is no such section.
    """
    plan = Plan.model_validate(dict(job.plan))
    if plan.request.one_frame:
        raise InvalidRequest(f"{job.id} makes one picture, which has no sections; remix it")
    given = plan.num_given_sections
    if 0 <= section < given:
        raise InvalidRequest(
            f"section {section} is of the video that {job.id} goes on from; it made sections "
            f"{given} to {plan.num_sections - 1}"
        )
    said = {"redo": job.id, "section": section, "prompt": prompt, "seed": seed}
    if prompt is None and image is None and seed is None:
        seed = secrets.randbelow(2**32)
    request, num_kept = with_section_again(
        plan,
        GenerationRequest.parse(**job.request),
        section=section - given if section >= 0 else section,
        prompt=prompt,
        image=image.path if image is not None else None,
        seed=seed,
    )
    fields, inputs = _in_words(_settled(request, plan, folder), job, folder)
    if image is not None:
        inputs = {word: image if one.path == image.path else one for word, one in inputs.items()}
    sent = {} if image is None else {"image": image}
    return Take(fields, inputs, Origin(said, sent, num_sections=num_kept))


def longer(job: Job, folder: JobFolder, said: Mapping[str, Any], settings: Settings) -> Take | None:
    """More of a video, from the latents of its run; None where only its frames can be gone on from.

    Args:
        job: completed.
        folder: its files.
        said: fields of a request; ``duration_s`` is what is added.
        settings: of this machine.

    Raises:
        InvalidRequest: bad input.
    """
    asked = GenerationRequest.parse(**said)
    plan = Plan.model_validate(dict(job.plan))
    run = read_run(folder.run)
    if plan.is_inverted or plan.request.one_frame or plan.request.video is not None:
        return None
    if not set(said) <= _STEERS or run is None or not run.is_whole:
        return None
    request = made_longer(plan, GenerationRequest.parse(**job.request), by_s=asked.duration_s)
    prompt, seed = asked.prompt or None, asked.seed
    if prompt is not None or seed is not None:
        if plan_of(request, settings)[0].num_sections == plan.num_sections:
            return None  # the run has made enough, so there is nothing to be steered
        request = steered_anew(plan, request, prompt=prompt, seed=seed)
    fields, inputs = _in_words(_settled(request, plan, folder), job, folder)
    note = f"Goes on from the latents of {job.id}"
    note += "; the prompt is that of the new sections." if prompt is not None else "."
    return Take(fields, inputs, Origin({}, note=note, num_sections=plan.num_sections))


def note_source(folder: JobFolder, source: str, num_sections: int) -> None:
    """Write down whose run has the first sections of a job.

    Raises:
        StoreFull: the disk refused.
    """
    try:
        text = json.dumps({"source": source, "num_sections": num_sections})
        folder.take.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreFull(f"the request cannot be kept: {error.strerror}; free some space") from error


def taken_over(folder: JobFolder) -> "Callable[[Workspace], object] | None":
    """What gives a new run the sections that another one has; None where none has.

    Imports torch when it is called.
    """
    try:
        told = json.loads(folder.take.read_text(encoding="utf-8"))
        source, num_sections = str(told["source"]), int(told["num_sections"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

    def take_over(target: "Workspace") -> None:
        from framepack.pipeline.workspace import Workspace
        from framepack.sequels import keep_from

        try:
            keep_from(Workspace.open(folder.beside(source).run), target, num_sections)
        except FramePackError as error:
            if is_disk_full(error):
                raise
            logger.warning("all of the video is made: %s", error)

    return take_over


def forget_source(folder: JobFolder) -> bool:
    """Have a job that went on from a run begin anew, from nothing; False if it did not go on."""
    from framepack.pipeline.run_files import delete_run_files

    try:
        run = json.loads((folder.run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not run.get("kept") or not folder.take.is_file():
        return False
    folder.take.unlink()
    delete_run_files(folder.run)
    return True


def _settled(request: GenerationRequest, plan: Plan, folder: JobFolder) -> dict[str, Any]:
    """Fields that give the same first sections, whatever the machine's defaults are by now."""
    fields = request.model_dump(mode="json", exclude_unset=True)
    resolved = plan.request
    fields |= {"model": plan.model, "variant": plan.variant, "vae": resolved.vae}
    try:
        run = json.loads((folder.run / "run.json").read_text(encoding="utf-8"))
        prompts = run["plan"]["request"]["enhanced_prompts"]
    except (OSError, ValueError, KeyError, TypeError):
        return fields
    return fields | ({"enhanced_prompts": prompts} if prompts else {})


def _in_words(
    asked: Mapping[str, Any], job: Job, folder: JobFolder
) -> tuple[dict[str, Any], dict[str, Input]]:
    """Fields with words in the place of paths, and the files by word."""
    fields, files = dict(asked), dict[str, Input]()

    def word(name: str, path: str) -> str:
        files[name] = Input(Path(path), name=f"{name} of {job.id}")
        return name

    for name in (*PICTURES, *VIDEOS):
        if fields.get(name) is not None:
            fields[name] = word(name, fields[name])
    for name in SECTION_FILES:
        if name in fields:
            fields[name] = [
                {**cue, "image": word(f"{name}_{number}", cue["image"])}
                if cue.get("image")
                else cue
                for number, cue in enumerate(fields[name])
            ]
    if "loras" in fields:
        fields["loras"] = [{**lora, "path": Path(lora["path"]).name} for lora in fields["loras"]]
    if job.options.get("audio"):
        sound = folder.inputs / str(job.options["audio"])
        files["audio"] = Input(sound, name=f"sound of {job.id}")
    return fields, files
