"""Videos made of runs that are there: a section made again, or more of the same.

A run that was kept (``keep_run``) holds the latents of every section. ``redo`` makes one section
anew with what depends on it, in a run of its own; ``extend`` goes on after the last one. The run
they start from stays as it is, so any number of takes can branch off it. Each take's request,
made from nothing, gives the very same video.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from framepack.api import Result, StrPath, begin, drain
from framepack.decisions import plan_of
from framepack.domain.errors import InvalidRequest
from framepack.domain.events import Event
from framepack.domain.plan import Plan
from framepack.domain.request import SECTION_FIELDS, GenerationRequest
from framepack.domain.section_settings import pin_cues
from framepack.domain.settings import Settings
from framepack.domain.timeline import SectionCue

if TYPE_CHECKING:
    from framepack.pipeline.components import Components
    from framepack.pipeline.delivery import Delivery
    from framepack.pipeline.workspace import Workspace

__all__ = ["extend", "redo", "stream_extend", "stream_redo"]


def redo(
    run_dir: StrPath,
    *,
    section: int,
    output: StrPath,
    on_event: Callable[[Event], object] | None = None,
    prompt: str | None = None,
    image: StrPath | None = None,
    seed: int | None = None,
    take_dir: StrPath | None = None,
    settings: Settings | None = None,
    components: "Components | None" = None,
) -> Result:
    """Make one section of a run again, and the sections that were rendered after it.

    Those rendered before it are kept as they are: earlier ones in the forward-only variant,
    later ones in the bi-directional one.

    Args:
        run_dir: the directory of a run, finished or not.
        section: 0 is the first of the video, -1 the last.
        output: the video file to write.
        on_event: called with each event.
        prompt: what happens in the section, as a section prompt says it; None for what it was.
        image: picture that stands for the start picture in it.
        seed: of its noise; a fresh random one if nothing else changes.
        take_dir: directory for the new run, which is kept; a new one when None.
        settings: settings of this machine; read from file and environment when None.
        components: networks that are loaded already.

    Raises:
        InvalidRequest: there is no run or no such section, or the output cannot be written.
        WorkspaceError: the sections to keep are not there, or the weights have changed.
    """
    events = stream_redo(
        run_dir,
        section=section,
        output=output,
        prompt=prompt,
        image=image,
        seed=seed,
        take_dir=take_dir,
        settings=settings,
        components=components,
    )
    return drain(events, on_event)


def stream_redo(
    run_dir: StrPath,
    *,
    section: int,
    output: StrPath,
    prompt: str | None = None,
    image: StrPath | None = None,
    seed: int | None = None,
    take_dir: StrPath | None = None,
    settings: Settings | None = None,
    components: "Components | None" = None,
) -> Iterator[Event]:
    """Make one section again while telling what happens; see :func:`redo`."""
    source = _open(run_dir)
    plan = source.plan
    count = plan.num_sections - plan.num_given_sections
    if not -count <= section < count:
        raise InvalidRequest(
            f"section {section} is not in the run in {source.directory}, which has sections 0 to "
            f"{count - 1}"
        )
    index = section % count
    if prompt is None and image is None and seed is None:
        seed = secrets.randbelow(2**32)
    cues = _pinned_cues(plan, source.request)
    for name, kind, value in (
        ("section_prompts", "prompt", prompt),
        ("section_images", "image", image),
        ("section_seeds", "seed", seed),
    ):
        if value is not None:
            place = {"section": index, "until_section": index + 1}
            cues[name] = (*cues[name], SectionCue.model_validate({**place, kind: value}))
    index += plan.num_given_sections
    num_kept = next(each.render_index for each in plan.sections if each.index == index)
    return begin(
        source.request.updated(**cues),
        _take(output),
        run_dir=take_dir,
        settings=settings or Settings.load(),
        components=components,
        prepare=lambda target: _keep(source, target, num_kept),
    )


def extend(
    run_dir: StrPath,
    *,
    by_s: float = 4.0,
    output: StrPath,
    on_event: Callable[[Event], object] | None = None,
    prompt: str | None = None,
    take_dir: StrPath | None = None,
    settings: Settings | None = None,
    components: "Components | None" = None,
) -> Result:
    """Make the video of a forward-only run longer; what is there stays as it is.

    Any other video is extended by ``generate(extend=VIDEO, ...)``.

    Args:
        run_dir: the directory of a finished run.
        by_s: seconds to add.
        output: the video file to write, with all of the video.
        on_event: called with each event.
        prompt: what happens in the new sections, as a section prompt says it; None to go on.
        take_dir: directory for the new run, which is kept; a new one when None.
        settings: settings of this machine; read from file and environment when None.
        components: networks that are loaded already.

    Raises:
        InvalidRequest: there is no run, it is bi-directional, or the output cannot be written.
        WorkspaceError: the run is not finished, or the weights have changed.
    """
    events = stream_extend(
        run_dir,
        by_s=by_s,
        output=output,
        prompt=prompt,
        take_dir=take_dir,
        settings=settings,
        components=components,
    )
    return drain(events, on_event)


def stream_extend(
    run_dir: StrPath,
    *,
    by_s: float = 4.0,
    output: StrPath,
    prompt: str | None = None,
    take_dir: StrPath | None = None,
    settings: Settings | None = None,
    components: "Components | None" = None,
) -> Iterator[Event]:
    """Make a video longer while telling what happens; see :func:`extend`."""
    source = _open(run_dir)
    plan = source.plan
    if plan.is_inverted:
        raise InvalidRequest(
            f"the run in {source.directory} is bi-directional: its end was made first, so nothing "
            f"can follow it; extend its video instead: --extend {source.main_output}"
        )
    if not by_s > 0:
        raise InvalidRequest(f"the video is to grow by {by_s:g} s; it must be more than 0")
    settings = settings or Settings.load()
    request, count = source.request, plan.num_sections
    # The duration of a run that extended a video is what it added.
    there_s = plan.duration_s if request.extend is None else request.duration_s
    cues = _pinned_cues(plan, request)
    longer = request.updated(duration_s=there_s + by_s, official_length=False, **cues)
    if prompt is not None:
        if plan_of(longer, settings)[0].num_sections == count:
            raise InvalidRequest(
                f"the run in {source.directory} has made enough for {by_s:g} s more, so there is "
                "no new section that a prompt could steer; ask for more, or leave the prompt out"
            )
        cue = SectionCue(section=count - plan.num_given_sections, prompt=prompt)
        longer = longer.updated(section_prompts=(*longer.section_prompts, cue))
    return begin(
        longer,
        _take(output),
        run_dir=take_dir,
        settings=settings,
        components=components,
        prepare=lambda target: _keep(source, target, count),
    )


def _pinned_cues(plan: Plan, request: GenerationRequest) -> dict[str, tuple[SectionCue, ...]]:
    """What a run's request says of sections, by the numbers that these have in its plan."""
    given = plan.num_given_sections
    made = sorted(plan.sections, key=lambda each: each.index)[given:]
    starts_s = [
        (section.start_frame - made[0].start_frame) / plan.generated_fps for section in made
    ]
    num_frames = plan.num_kept_frames - made[0].start_frame
    duration_s = num_frames / plan.generated_fps if given else plan.duration_s
    return {
        name: pin_cues(getattr(request, name), starts_s=starts_s, duration_s=duration_s)
        for name in SECTION_FIELDS
    }


def _open(run_dir: StrPath) -> "Workspace":
    directory = Path(run_dir)
    if not (directory / "run.json").is_file():  # found before torch is imported
        raise InvalidRequest(
            f"{directory} holds no run (no run.json); runs are kept with --keep-run, else they "
            "are removed when their video is finished"
        )
    from framepack.pipeline.workspace import Workspace

    source = Workspace.open(directory)
    if source.request.one_frame:
        raise InvalidRequest(
            f"the run in {directory} makes one picture, which has no sections and no length; "
            "make another with `framepack generate --from PICTURE`"
        )
    return source


def _take(output: StrPath) -> "Delivery":
    from framepack.media.outputs import Outputs
    from framepack.pipeline.delivery import Delivery

    return Delivery(Outputs.of(output), keep_run=True)


def _keep(source: "Workspace", target: "Workspace", num_sections: int) -> None:
    """Let a new run have the first sections of another, which its own plan has too."""
    from framepack.pipeline.takes import keep_sections

    _check_same(source, target.plan, num_sections)
    if num_sections:
        keep_sections(source, target, num_sections)


def _check_same(source: "Workspace", new: Plan, num_sections: int) -> None:
    """Refuse a plan whose first sections are others than those that are kept.

    Raises:
        InvalidRequest: names what differs.
    """
    old = source.plan
    found = [name for name in _OF_ALL if getattr(old, name) != getattr(new, name)]
    copies = dict(zip(old.request.section_pictures, source.request.section_pictures, strict=True))
    for kept, other in zip(old.sections[:num_sections], new.sections, strict=False):
        one = replace(kept, image=copies[kept.image]) if kept.image is not None else kept
        found += [
            f"{name} of section {one.index}"
            for name in _OF_SECTIONS
            if getattr(one, name) != getattr(other, name)
        ]
    if found or new.num_sections < num_sections:
        raise InvalidRequest(
            f"the new video would not begin as the old one ({', '.join(found) or 'length'}); "
            "generate it anew"
        )


_OF_ALL = ("model", "variant", "width", "height", "latent_window_size", "generated_fps", "seed")
_OF_SECTIONS = ("index", "indices", "texts", "image", "seed", "loras", "start_frame")
