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
from framepack.decisions import plan_of
from framepack.domain.errors import InvalidRequest
from framepack.domain.events import Event
from framepack.domain.settings import Settings
from framepack.domain.takes import made_longer, steered_anew, with_section_again

if TYPE_CHECKING:
    from framepack.pipeline.components import Components
    from framepack.pipeline.delivery import Delivery
    from framepack.pipeline.workspace import Workspace

__all__ = ["extend", "keep_from", "redo", "stream_extend", "stream_redo"]


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
    if prompt is None and image is None and seed is None:
        seed = secrets.randbelow(2**32)
    picture = Path(image) if image is not None else None
    request, num_kept = with_section_again(
        source.plan, source.request, section=section, prompt=prompt, image=picture, seed=seed
    )
    return begin(
        request,
        _take(output),
        run_dir=take_dir,
        settings=settings or Settings.load(),
        components=components,
        prepare=lambda target: keep_from(source, target, num_kept),
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
    count = plan.num_sections
    longer = made_longer(plan, source.request, by_s=by_s)
    if prompt is not None:
        if plan_of(longer, settings)[0].num_sections == count:
            raise InvalidRequest(
                f"the run in {source.directory} has made enough for {by_s:g} s more, so there is "
                "no new section that a prompt could steer; ask for more, or leave the prompt out"
            )
        longer = steered_anew(plan, longer, prompt=prompt)
    return begin(
        longer,
        _take(output),
        run_dir=take_dir,
        settings=settings,
        components=components,
        prepare=lambda target: keep_from(source, target, count),
    )


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


def keep_from(source: "Workspace", target: "Workspace", num_sections: int) -> None:
    """Let a new run have the first sections of another, which its own plan has too.

    Args:
        source: the run that has rendered them; it is only read.
        target: a run that has not begun.
        num_sections: how many, in rendering order.

    Raises:
        InvalidRequest: the plans have others in these places.
        WorkspaceError: the source lacks one of them, or a file cannot be copied.
    """
    from framepack.pipeline.takes import keep_sections

    _check_same(source, target, num_sections)
    if num_sections:
        keep_sections(source, target, num_sections)


def _check_same(source: "Workspace", target: "Workspace", num_sections: int) -> None:
    """Refuse a run whose first sections are others than those that are kept.

    Raises:
        InvalidRequest: names what differs.
    """
    old, new = source.plan, target.plan
    found = [name for name in _OF_ALL if getattr(old, name) != getattr(new, name)]
    pictures, others = _pictures(source), _pictures(target)
    for kept, other in zip(old.sections[:num_sections], new.sections, strict=False):
        found += [
            f"{name} of section {kept.index}"
            for name in _OF_SECTIONS
            if getattr(kept, name) != getattr(other, name)
        ]
        if pictures[kept.image] != others[other.image]:
            found.append(f"image of section {kept.index}")
    if found or new.num_sections < num_sections:
        raise InvalidRequest(
            f"the new video would not begin as the old one ({', '.join(found) or 'length'}); "
            "generate it anew"
        )


def _pictures(workspace: "Workspace") -> dict[Path | None, bytes]:
    """The pixels of a run's section pictures by the paths in its plan; none has none."""
    paths = workspace.plan.request.section_pictures
    fitted = workspace.pictures().sections
    return {None: b""} | {
        path: picture.tobytes() for path, picture in zip(paths, fitted, strict=True)
    }


_OF_ALL = ("model", "variant", "width", "height", "latent_window_size", "generated_fps", "seed")
_OF_SECTIONS = ("index", "indices", "texts", "seed", "loras", "start_frame")
