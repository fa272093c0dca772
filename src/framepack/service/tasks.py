"""One try at a job, inside the worker: begin or resume its run, and say how it ended.

A finished try leaves ``result.json`` in the job's folder before it says so. When nobody heard it,
the next try finds that file and says it again; nothing is rendered or written twice.
"""

import gc
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from framepack.domain.errors import (
    FramePackError,
    InvalidRequest,
    MissingWeights,
    RunInUse,
    WorkspaceError,
    is_disk_full,
    is_out_of_memory,
)
from framepack.domain.events import Event, Finished, SectionDone, StageStarted
from framepack.domain.fallbacks import FALLBACKS, Fallback
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.service.files import JobFolder
from framepack.service.options import JobOptions
from framepack.service.records import JobError
from framepack.service.takes import forget_source, taken_over

if TYPE_CHECKING:
    from framepack.models.parts import ModelSpec
    from framepack.pipeline.components import Components

__all__ = ["TaskEnd", "TaskRunner", "settings_of", "settings_values"]

logger = logging.getLogger(__name__)

Outcome = Literal["finished", "stopped", "failed", "busy"]


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended.

    Attributes:
        outcome: see ``TaskEnded``.
        output: see ``Job.output``; when finished.
        error: when failed.
        leaves: the process had better end: its memory may be full or its device in a bad state.
    """

    outcome: Outcome
    output: Mapping[str, Any] = field(default_factory=dict)
    error: JobError | None = None
    leaves: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


class TaskRunner:
    """Runs tasks, and keeps the networks between them.

    Args:
        settings: of this machine.

    Attributes:
        is_worth_waiting: what is at work is done in a moment and would be lost.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: tuple[object, Components] | None = None
        self.is_worth_waiting = False

    def run(
        self,
        task: Mapping[str, Any],
        *,
        on_event: Callable[[Mapping[str, Any]], object],
        is_stopped: Callable[[], bool],
    ) -> TaskEnd:
        """Do a task; every error becomes an outcome.

        Args:
            task: ``Task`` as JSON-able values.
            on_event: told ``Event.to_dict()``.
            is_stopped: asked between steps.
        """
        folder = JobFolder(Path(task["folder"]))
        finished = read_result(folder)
        if finished is not None:
            return TaskEnd("finished", finished)
        try:
            return self._mended(task, folder, on_event, is_stopped)
        except RunInUse:
            return TaskEnd("busy")
        except Exception as error:  # noqa: BLE001 - the outermost frame of a task
            return _failed(error)
        finally:
            self.is_worth_waiting = False

    def load(self, model: str) -> str | None:
        """Read a model's networks, and say what went wrong, if anything did.

        Args:
            model: as ``GenerationRequest.model`` names it.
        """
        from framepack.models.spec import resolve_spec

        try:
            components, _ = self._components(resolve_spec(model, None), FALLBACKS[0])
            components.load()
        except Exception as error:  # noqa: BLE001 - the outermost frame of what was asked
            self._loaded = None
            end = _failed(error)
            return end.error.message if end.error is not None else str(error)
        return None

    def facts(self) -> dict[str, Any]:
        """Where it works and how much of that device's memory it holds; nothing before a task."""
        if self._loaded is None:
            return {"device": None, "device_memory_gb": None, "model": None}
        from framepack.pipeline.statistics import peak_device_gb

        components = self._loaded[1]
        return {
            "device": str(components.device),
            "device_memory_gb": peak_device_gb(components.device),
            "model": components.spec.key,
        }

    def _mended(
        self,
        task: Mapping[str, Any],
        folder: JobFolder,
        on_event: Callable[[Mapping[str, Any]], object],
        is_stopped: Callable[[], bool],
    ) -> TaskEnd:
        """Do a task, and once more if it failed for a damaged file that could be removed."""
        try:
            return self._attempt(task, folder, on_event, is_stopped)
        except RunInUse:
            raise
        except WorkspaceError as error:
            if is_disk_full(error) or not (_remove_damaged(folder.run) or forget_source(folder)):
                raise
            logger.warning("%s; what was damaged is made again", error)
        return self._attempt(task, folder, on_event, is_stopped)

    def _attempt(
        self,
        task: Mapping[str, Any],
        folder: JobFolder,
        on_event: Callable[[Mapping[str, Any]], object],
        is_stopped: Callable[[], bool],
    ) -> TaskEnd:
        events = self._begin(task, folder)
        for done in _told_again(folder.run):
            on_event(done.to_dict())
        unstored = set[int | None]()
        try:
            for event in events:
                stage = event.stage if isinstance(event, StageStarted) else None
                if isinstance(event, StageStarted) and event.stage == "write":
                    unstored.add(event.section)
                elif isinstance(event, SectionDone):
                    unstored.discard(event.section)
                if stage is not None or isinstance(event, SectionDone):
                    self.is_worth_waiting = stage == "decode" or bool(unstored)
                on_event(event.to_dict())
                if isinstance(event, Finished):
                    output = _output_of(event, folder)
                    _write_result(folder, output)
                    return TaskEnd("finished", output)
                if is_stopped() and stage != "write":  # what is decoded is soon written
                    break
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()
        return TaskEnd("stopped")

    def _begin(self, task: Mapping[str, Any], folder: JobFolder) -> Iterator[Event]:
        """The events of the run, begun or gone on with; input is checked here."""
        from framepack.api import begin, stream_resume
        from framepack.decisions import find_model
        from framepack.media.outputs import Outputs
        from framepack.models.spec import resolve_spec
        from framepack.pipeline.delivery import Delivery
        from framepack.pipeline.workspace import Workspace

        fallback = FALLBACKS[min(int(task["fallback"]), len(FALLBACKS) - 1)]
        if (folder.run / "run.json").is_file():
            plan = Workspace.open(folder.run).plan
            spec = resolve_spec(plan.model, plan.variant)
            components, settings = self._components(spec, fallback)
            return stream_resume(folder.run, settings=settings, components=components)
        request = GenerationRequest.parse(**task["request"])
        options = JobOptions(**task["options"])
        if not options.video:
            request = request.updated(codec="none")
        spec, _ = find_model(request, self._settings, ask_torch=True)
        components, settings = self._components(spec, fallback)
        suffix = "png" if request.one_frame else options.container
        outputs = Outputs.of(
            folder.output / f"video.{suffix}",
            frames_dir=folder.output / "frames" if options.frames else None,
            frames_format=options.frames or "png",
            raw=folder.output / "video.safetensors" if options.raw else None,
            audio=folder.inputs / options.audio if options.audio else None,
        )
        return begin(
            request,
            Delivery(outputs, thumbnail=options.thumbnail, keep_run=True),
            run_dir=folder.run,
            settings=settings,
            components=components,
            prepare=taken_over(folder),
        )

    def _components(self, spec: "ModelSpec", fallback: Fallback) -> "tuple[Components, Settings]":
        """The networks, read when they are first used and kept until others are needed."""
        import torch

        from framepack.pipeline.components import load_components
        from framepack.pipeline.device import choose_device, choose_dtype

        settings = self._settings
        device = choose_device(settings.device)
        offload = fallback.offload_for(settings.offload, on_cpu=device.type == "cpu")
        if (
            fallback.half_precision
            and choose_dtype(device, requested=settings.dtype) == torch.float32
        ):
            settings = settings.model_copy(update={"dtype": "bfloat16"})
        ways = settings.dtype, settings.attention, settings.compile
        key = (spec.key, fallback.memory_share, offload, *ways)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            components = load_components(
                spec, settings, memory_share=fallback.memory_share, offload=offload, preload=()
            )
            components.falls_back = False  # a new process frees all that this one holds
            self._loaded = key, components
        return self._loaded[1], settings


def settings_values(settings: Settings) -> dict[str, Any]:
    """Settings as JSON-able values, secrets included: for the worker's own pipe alone."""
    values = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            values[name] = value.get_secret_value()
    return values


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Read what :func:`settings_values` gave; nothing comes from file or environment."""
    return Settings(**values)


def read_result(folder: JobFolder) -> dict[str, Any] | None:
    """What a try that nobody heard of left; None if there was none or its files are gone."""
    try:
        output = json.loads(folder.result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kinds = ("video", "thumbnail", "raw", "frames")
    files = [folder.output / output[kind] for kind in kinds if kind in output]
    return output if all(path.exists() for path in files) else None


def _write_result(folder: JobFolder, output: Mapping[str, Any]) -> None:
    from framepack.pipeline.durable import write_json

    write_json(folder.result, output)


def _output_of(event: Finished, folder: JobFolder) -> dict[str, Any]:
    """See ``Job.output``."""
    main = Path(event.path)
    output: dict[str, Any] = {}
    if main.parent == folder.output and main.is_file() and main.suffix != ".safetensors":
        output["video"] = main.name
    if event.thumbnail:
        output["thumbnail"] = Path(event.thumbnail).name
    for kind, name in (("raw", "video.safetensors"), ("frames", "frames")):
        if (folder.output / name).exists():
            output[kind] = name
    return output | {
        "num_frames": event.num_frames,
        "duration_s": event.duration_s,
        "stats": dict(event.stats),
    }


def _failed(error: Exception) -> TaskEnd:
    """The outcome of an error, with a code for programs."""
    from framepack.pipeline.device import DeviceMemoryError

    message = str(error).strip() or type(error).__name__
    if is_out_of_memory(error) or isinstance(error, DeviceMemoryError):
        first = message.splitlines()[0].split(". ")[0]
        return TaskEnd("failed", error=JobError("out_of_memory", first), leaves=True)
    if is_disk_full(error):
        return TaskEnd("failed", error=JobError("disk_full", message))
    for kind, code in (
        (InvalidRequest, "invalid_request"),
        (MissingWeights, "missing_weights"),
        (WorkspaceError, "damaged_run"),
    ):
        if isinstance(error, kind):
            return TaskEnd("failed", error=JobError(code, message))
    if not isinstance(error, FramePackError):
        logger.error("a task failed", exc_info=error)
        message = f"{type(error).__name__}: {message}"
    return TaskEnd("failed", error=JobError("internal", message), leaves=True)


def _told_again(run: Path) -> list[SectionDone]:
    """Sections that are finished already: whoever heard of them may be gone.

    Their own times are not known any more; each says the mean.
    """
    from framepack.pipeline.workspace import Workspace

    workspace = Workspace.open(run)
    with workspace:
        state = workspace.load_state()
    if state is None:
        return []
    names = {segment.name for segment in state.segments}
    worked_s = sum(state.statistics.get("stage_s", {}).values())
    return [
        SectionDone(
            elapsed_s=worked_s,
            section=section.index,
            render_index=section.render_index,
            num_sections=workspace.plan.num_sections,
            seconds=worked_s / state.num_done,
            segment=str(workspace.segment_path(section.segment_name))
            if section.segment_name in names
            else None,
        )
        for section in workspace.plan.sections[: state.num_done]
    ]


def _remove_damaged(run: Path) -> bool:
    """Remove what cannot be read of a run, so that it is made again; False if all is sound."""
    from framepack.pipeline.run_files import delete_run_files
    from framepack.pipeline.workspace import Workspace

    try:
        workspace = Workspace.open(run)
    except WorkspaceError:
        delete_run_files(run)
        return True
    with workspace:
        checks: tuple[tuple[str, Callable[[], object]], ...] = (
            ("conditions.safetensors", workspace.load_conditions),
            ("state.safetensors", workspace.load_state),
        )
        for name, check in checks:
            try:
                check()
            except WorkspaceError as error:
                logger.warning("%s", error)
                (run / name).unlink(missing_ok=True)
                return True
    return False
