"""The Python face: from plain values to a video file, with everything checked first.

Bad input is refused before a weight is loaded or a file is written. Importing this module
imports no torch.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.decisions import decide_with_outputs, plan_of
from framepack.domain.errors import FramePackError, InvalidRequest, RunInUse
from framepack.domain.events import Event, Finished, Planned, Statistics
from framepack.domain.plan import Plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.models.parts import COMPONENTS, ModelSpec
from framepack.models.spec import resolve_spec

if TYPE_CHECKING:
    from framepack.pipeline.components import Components
    from framepack.pipeline.conditions import Pictures
    from framepack.pipeline.delivery import Delivery
    from framepack.pipeline.workspace import Workspace

__all__ = [
    "Result",
    "generate",
    "plan",
    "resume",
    "save_partial",
    "stream",
    "stream_resume",
]

logger = logging.getLogger(__name__)

StrPath = str | Path


@dataclass(frozen=True)
class Result:
    """A finished video.

    Attributes:
        path: the video file.
        plan: what was made.
        statistics: seconds by stage, per step, section and frame; peak memory.
        thumbnail: a small picture of it, or None.
    """

    path: Path
    plan: Plan
    statistics: Statistics
    thumbnail: Path | None = None


def plan(
    request: GenerationRequest | None = None, *, settings: Settings | None = None, **fields: Any
) -> Plan:
    """Say what would be computed, without loading anything.

    Args:
        request: a request, or None to build one from ``fields``.
        settings: settings of this machine; read from file and environment when None.
        fields: fields of ``GenerationRequest``; they override those of ``request``.

    Raises:
        InvalidRequest: something is wrong with the request; the message says what.
    """
    return plan_of(_request(request, fields), settings or Settings.load())[0]


def generate(
    request: GenerationRequest | None = None,
    *,
    output: StrPath,
    on_event: Callable[[Event], object] | None = None,
    **options: Any,
) -> Result:
    """Make a video and wait for it.

    Args:
        request: a request, or None to build one from fields in ``options``.
        output: the file to write; its suffix says of what kind.
        on_event: called with each event.
        options: fields of ``GenerationRequest`` and the options of :func:`stream`.

    Raises:
        InvalidRequest: bad input; nothing was written.
        MissingWeights: the model's weights are not on this machine.
        WorkspaceError: the disk is full or cannot be written.
    """
    return drain(stream(request, output=output, **options), on_event)


def stream(
    request: GenerationRequest | None = None,
    *,
    output: StrPath,
    run_dir: StrPath | None = None,
    keep_run: bool | None = None,
    embed: bool = True,
    thumbnail: bool = True,
    frames_dir: StrPath | None = None,
    frames_format: str = "png",
    raw: StrPath | None = None,
    audio: StrPath | None = None,
    settings: Settings | None = None,
    components: "Components | None" = None,
    **fields: Any,
) -> Iterator[Event]:
    """Make a video while telling what happens; pulling the events makes it happen.

    Input is checked at once, before the first event is pulled. Close the iterator to
    cancel; the run directory then stays, and :func:`resume` finishes the video.

    Args:
        request: a request, or None to build one from ``fields``.
        output: the video file to write: mp4, mkv, mov, webm, gif or webp by its suffix; for one
            frame the picture: png, jpg or webp.
        run_dir: directory for the run; a new one in the outputs folder when None.
        keep_run: leave the run directory after success; the settings decide when None.
        embed: put request, hashes, statistics and input pictures into the file.
        thumbnail: write ``NAME.thumb.jpg`` beside the video.
        frames_dir: folder for every frame as ``NAME-00000.png``; made if missing.
        frames_format: "png" or "jpg".
        raw: safetensors file for the raw frames, uint8 [T, H, W, 3].
        audio: file whose sound goes with the video, cut to its length.
        settings: settings of this machine; read from file and environment when None.
        components: networks that are loaded already; the request may leave the model out.
        fields: fields of ``GenerationRequest``; they override those of ``request``.

    Raises:
        InvalidRequest: bad input; nothing was written.
        MissingWeights: the model's weights are not on this machine; nothing was written.
        WorkspaceError: the disk is full or cannot be written.
    """
    from framepack.media.outputs import Outputs
    from framepack.pipeline.delivery import Delivery

    settings = settings or Settings.load()
    outputs = Outputs.of(
        output, frames_dir=frames_dir, frames_format=frames_format, raw=raw, audio=audio
    )
    delivery = Delivery(
        outputs,
        embed=embed,
        thumbnail=thumbnail,
        keep_run=settings.keep_runs if keep_run is None else keep_run,
    )
    asked = _request(request, fields)
    return begin(asked, delivery, run_dir=run_dir, settings=settings, components=components)


def begin(
    asked: GenerationRequest,
    delivery: "Delivery",
    *,
    run_dir: StrPath | None,
    settings: Settings,
    components: "Components | None",
    prepare: "Callable[[Workspace], object] | None" = None,
) -> Iterator[Event]:
    """Check a request, make its run directory and return the events that make the video.

    Args:
        asked: the request.
        delivery: what is to be left.
        run_dir: directory for the run; a new one in the outputs folder when None.
        settings: of this machine.
        components: networks that are loaded already.
        prepare: called with the new run directory before the run begins.

    Raises:
        InvalidRequest: bad input; nothing was written.
        MissingWeights: the model's weights are not on this machine; nothing was written.
        WorkspaceError: the disk is full or cannot be written.
    """
    from framepack.weights.locate import locate_all

    outputs = delivery.outputs
    if components is not None:
        asked = _of_components(asked, components)
    outputs.check(asked.codec, one_frame=asked.one_frame)
    decided, spec = decide_with_outputs(asked, settings, outputs.video, ask_torch=True)
    folders = locate_all(spec, settings) if components is None else {}
    # What takes no torch, whose import takes seconds, is checked before this line.
    from framepack.pipeline.components import check_loading
    from framepack.pipeline.enhance import enhance
    from framepack.pipeline.vae import check_vae
    from framepack.pipeline.workspace import Workspace
    from framepack.weights.ifnet_files import check_rife
    from framepack.weights.lora_request import check_loras

    if folders:
        check_loading(folders, settings)
    check_loras(decided.request.loras, spec, settings)
    check_vae(decided.request, spec, settings, components)
    check_rife(decided.request)
    pictures = _load_pictures(decided)
    decided = enhance(decided, pictures, settings)
    directory = Path(run_dir) if run_dir is not None else new_run_dir(settings, outputs.video)
    workspace = Workspace.create(directory, decided, delivery, pictures)
    if prepare is not None:
        try:
            prepare(workspace)
        except FramePackError:
            workspace.remove()
            raise
    load = _loader(spec, settings, components, workspace)
    return _events(workspace, load, settings, is_new=True)


def resume(
    run_dir: StrPath,
    *,
    on_event: Callable[[Event], object] | None = None,
    settings: Settings | None = None,
    components: "Components | None" = None,
) -> Result:
    """Finish a stopped or killed run and write its video.

    The video is the same, frame by frame, as that of an undisturbed run.

    Args:
        run_dir: the run's directory.
        on_event: called with each event.
        settings: settings of this machine; read from file and environment when None.
        components: networks that are loaded already.

    Raises:
        InvalidRequest: there is no run, or its output cannot be written.
        MissingWeights: the model's weights are not on this machine any more.
        WorkspaceError: the run is in use or damaged, or the weights have changed.
    """
    events = stream_resume(run_dir, settings=settings, components=components)
    return drain(events, on_event)


def stream_resume(
    run_dir: StrPath,
    *,
    settings: Settings | None = None,
    components: "Components | None" = None,
) -> Iterator[Event]:
    """Finish a stopped run while telling what happens; see :func:`resume` and :func:`stream`."""
    from framepack.pipeline.components import check_loading
    from framepack.pipeline.vae import check_vae
    from framepack.pipeline.workspace import Workspace
    from framepack.weights.locate import locate_all

    settings = settings or Settings.load()
    workspace = Workspace.open(Path(run_dir))
    planned = workspace.plan.request
    workspace.delivery.outputs.check(planned.codec, one_frame=planned.one_frame)
    spec = resolve_spec(workspace.plan.model, workspace.plan.variant)
    if components is None:
        check_loading(locate_all(spec, settings), settings)
    check_vae(workspace.plan.request, spec, settings, components)
    load = _loader(spec, settings, components, workspace)
    return _events(workspace, load, settings, is_new=False)


def save_partial(run_dir: StrPath, output: StrPath | None = None) -> int:
    """Write the frames that a stopped run has so far; return their number.

    The end of the video in the bi-directional variant, its start in the forward-only one.
    With 0 frames nothing is written. The run stays resumable.

    Args:
        run_dir: the directory of the run.
        output: the MP4 file to write; None for the run's own, which the finished video
            replaces.

    Raises:
        InvalidRequest: there is no run, or the output cannot be written.
        WorkspaceError: the run is in use or damaged, or the disk is full.
    """
    from framepack.pipeline.deliver import deliver_partial
    from framepack.pipeline.workspace import Workspace

    workspace = Workspace.open(Path(run_dir))
    return deliver_partial(workspace, Path(output) if output else workspace.delivery.path)


def _request(request: GenerationRequest | None, fields: dict[str, Any]) -> GenerationRequest:
    if request is None:
        return GenerationRequest.parse(**fields)
    if not fields:
        return request
    return request.updated(**fields)


def _of_components(request: GenerationRequest, components: "Components") -> GenerationRequest:
    """The request, made with the networks that are loaded."""
    loaded = components.spec.key
    if request.model is None:
        return request.updated(model=loaded)
    wanted = resolve_spec(request.model, request.variant).key
    if wanted != loaded:
        raise InvalidRequest(
            f"the request names model {wanted}, but the components are of {loaded}; leave the "
            "model out, or load its components"
        )
    return request


def _load_pictures(plan: Plan) -> "Pictures":
    """Load and fit the input pictures, which finds damaged ones."""
    from framepack.media.images import fit_image, load_image
    from framepack.pipeline.conditions import Pictures

    def fitted(path: Path | None) -> Any:
        return fit_image(load_image(path), plan.width, plan.height) if path is not None else None

    request = plan.request
    sections = tuple(fitted(path) for path in request.section_pictures)
    start = fitted(request.image)
    video = request.extend or request.video
    if start is None and video is not None:
        from framepack.media.source_video import source_frame

        start = source_frame(
            video,
            plan.num_prefix_frames,
            fps=plan.generated_fps,
            width=plan.width,
            height=plan.height,
        )
    return Pictures(start, fitted(request.end_image), sections)


def _loader(
    spec: ModelSpec,
    settings: Settings,
    components: "Components | None",
    workspace: "Workspace",
) -> "Callable[[], Components]":
    """The function that loads the networks, encoders only if the run will ask for them."""
    if components is not None:
        return lambda: components

    def load() -> "Components":
        from framepack.pipeline.components import load_components
        from framepack.pipeline.conditions import encoders_to_load

        loaded = load_components(spec, settings, preload=())
        needed = {"vae", "transformer"}
        if not workspace.has_progress:
            needed |= encoders_to_load(workspace.plan, loaded, workspace.pictures())
        loaded.load([name for name in COMPONENTS if name in needed])
        return loaded

    return load


def new_run_dir(settings: Settings, output: Path) -> Path:
    """Return a name, not used before, for the directory of a run in the outputs folder."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return settings.outputs_dir / "runs" / f"{stamp}-{output.stem[:40]}-{secrets.token_hex(3)}"


def _events(
    workspace: "Workspace",
    load: "Callable[[], Components]",
    settings: Settings,
    *,
    is_new: bool,
) -> Iterator[Event]:
    from framepack.pipeline.generate import generate as run

    try:
        yield from run(workspace.plan, load, workspace, settings)
    except RunInUse:
        raise  # what is there is the work of another process by now
    except (FramePackError, RuntimeError, OSError, MemoryError):
        if is_new and not workspace.has_progress:
            workspace.remove()
        raise


def drain(events: Iterator[Event], on_event: Callable[[Event], object] | None) -> Result:
    """Pull all events; the first says what is made, the last where it is."""
    first = last = None
    for event in events:
        first, last = first or event, event
        if on_event is not None:
            on_event(event)
    assert isinstance(first, Planned), "a run begins with its plan"
    assert isinstance(last, Finished), "a run that raised nothing is finished"
    return Result(
        path=Path(last.path),
        plan=Plan.model_validate(first.plan),
        statistics=last.stats,
        thumbnail=Path(last.thumbnail) if last.thumbnail else None,
    )
