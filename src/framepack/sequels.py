"""Videos made of runs that are there: a section made again, or more of the same.

A run that was kept (``keep_run``) holds the latents of every section. ``redo`` makes one section
anew with what depends on it, in a run of its own; ``extend`` goes on after the last one. The run
they start from stays as it is, so any number of takes can branch off it. Each take's request,
made from nothing, gives the very same video.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from framepack.api import Result, StrPath, begin, drain
from framepack.domain.errors import InvalidRequest
from framepack.domain.events import Event
from framepack.domain.plan import Plan
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
    count = source.plan.num_sections
    if not -count <= section < count:
        raise InvalidRequest(
            f"section {section} is not in the run in {source.directory}, which has sections 0 to "
            f"{count - 1}"
        )
    index = section % count
    if prompt is None and image is None and seed is None:
        seed = secrets.randbelow(2**32)
    cue = SectionCue(
        section=index,
        until_section=index + 1,
        prompt=prompt,
        image=Path(image) if image is not None else None,
        seed=seed,
    )
    request = source.request
    request = request.updated(section_prompts=(*request.section_prompts, cue))
    place = next(each.render_index for each in source.plan.sections if each.index == index)
    return begin(
        request,
        _take(output),
        run_dir=take_dir,
        settings=settings or Settings.load(),
        components=components,
        prepare=lambda target: _keep(source, target, place),
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
    request = source.request
    count = plan.num_sections
    cues = request.section_prompts
    if prompt is not None:
        # Where the kept sections suffice for the new length there is none to say it to.
        cues = (*cues, SectionCue(section=count, prompt=prompt))
    return begin(
        request.updated(
            duration_s=plan.duration_s + by_s, official_length=False, section_prompts=cues
        ),
        _take(output),
        run_dir=take_dir,
        settings=settings or Settings.load(),
        components=components,
        prepare=lambda target: _keep(source, target, count),
    )


def _open(run_dir: StrPath) -> "Workspace":
    directory = Path(run_dir)
    if not (directory / "run.json").is_file():  # found before torch is imported
        raise InvalidRequest(
            f"{directory} holds no run (no run.json); runs are kept with --keep-run, else they "
            "are removed when their video is finished"
        )
    from framepack.pipeline.workspace import Workspace

    return Workspace.open(directory)


def _take(output: StrPath) -> "Delivery":
    from framepack.media.outputs import Outputs
    from framepack.pipeline.delivery import Delivery

    return Delivery(Outputs.of(output), keep_run=True)


def _keep(source: "Workspace", target: "Workspace", num_sections: int) -> None:
    """Let a new run have the first sections of another, which its own plan has too."""
    from framepack.pipeline.takes import keep_sections

    _check_same(source.plan, target.plan, num_sections)
    if num_sections:
        keep_sections(source, target, num_sections)


def _check_same(old: Plan, new: Plan, num_sections: int) -> None:
    """Refuse a plan whose first sections are others than those that are kept.

    Raises:
        InvalidRequest: names what differs.
    """
    found = [name for name in _OF_ALL if getattr(old, name) != getattr(new, name)]
    for one, other in zip(old.sections[:num_sections], new.sections, strict=False):
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
_OF_SECTIONS = ("index", "indices", "texts", "seed", "loras", "start_frame")
