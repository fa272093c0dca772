"""What the server says of jobs, events and the rest: OpenAI's shapes, with our fields beside."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from framepack.domain.plan import Plan
from framepack.domain.portable import without_folders
from framepack.service.estimates import Estimate
from framepack.service.recipes import model_name
from framepack.service.records import Job, JobEvent, Page, State
from framepack.service.uploads import Upload

__all__ = [
    "Deleted",
    "PlanObject",
    "UploadList",
    "UploadObject",
    "VideoList",
    "VideoObject",
    "WorkerObject",
    "event_values",
    "list_values",
    "named_values",
    "plan_values",
    "upload_values",
    "video_values",
    "worker_values",
]

Status = Literal["queued", "in_progress", "completed", "failed"]
_STATUS: Mapping[State, Status] = {
    "queued": "queued",
    "paused": "queued",
    "running": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "failed",
}


_FILES = frozenset(
    "image end_image extend video vae_weights rife_weights path segment preview thumbnail".split()
)
"""Keys of requests and events under which paths are."""


class VideoError(BaseModel):
    """Why there is no video."""

    code: str = Field(description="A word for programs; cancelled where that was asked for.")
    message: str


class ProgressDetail(BaseModel):
    """How far the video is, in detail."""

    fraction: float = Field(description="0 to 1.")
    stage: str = Field(description="load, encode, denoise, decode, write; empty before it begins.")
    section: int = Field(description="Sections rendered.")
    num_sections: int
    step: int = Field(description="Denoising steps done in the section at work.")
    num_steps: int
    seconds_left: float | None


class VideoObject(BaseModel):
    """A video, finished or not: OpenAI's fields first, then ours."""

    id: str
    object: Literal["video"]
    created_at: int = Field(description="Unix time in seconds.")
    completed_at: int | None
    expires_at: int | None = Field(description="When its files may be removed.")
    status: Status
    model: str
    prompt: str
    progress: int = Field(description="0 to 100.", ge=0, le=100)
    seconds: str = Field(description="Length of the video.")
    size: str = Field(description="WIDTHxHEIGHT in px.")
    remixed_from_video_id: str | None
    error: VideoError | None
    state: State = Field(description="As status, but tells paused and cancelled apart.")
    progress_detail: ProgressDetail
    started_at: float | None
    priority: int = Field(description="The higher go first.")
    attempts: int = Field(description="How often it was begun and failed.")
    seed: int
    variant: str
    fps: float
    num_frames: int
    notes: list[str] = Field(description="Lines that people should see.")
    request: dict[str, Any] = Field(description="What was asked; files by their names.")
    options: dict[str, Any] = Field(description="What is to be left besides the video.")
    group: str = Field(description="Videos that belong together have the same.")
    label: str = Field(description="Which one of its group it is.")
    output: dict[str, Any] = Field(description="What there is to download, and statistics.")


class VideoList(BaseModel):
    """A page of videos."""

    object: Literal["list"]
    data: list[VideoObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    """Something that is gone."""

    id: str
    object: str
    deleted: Literal[True]


class EstimateObject(BaseModel):
    """What a video will take, once it has its turn."""

    seconds: float | None = Field(description="null where nothing is known.")
    device_memory_gb: float | None = Field(description="Most memory on the accelerator.")
    host_memory_gb: float | None
    basis: str = Field(description="What this is taken from.")


class PlanObject(BaseModel):
    """What would be made of a request."""

    object: Literal["video.plan"]
    model: str
    variant: str
    size: str
    seconds: str
    fps: float
    num_frames: int
    num_sections: int
    seed: int = Field(description="Send it along to get this very video.")
    notes: list[str]
    estimate: EstimateObject
    plan: dict[str, Any] = Field(description="Every section, as `framepack plan --json` has it.")


class WorkerObject(BaseModel):
    """The process that makes videos."""

    object: Literal["worker"]
    alive: bool = Field(description="Its memory is taken; it is started when it is needed.")
    busy: bool
    device: str | None
    device_memory_gb: float | None
    host_memory_gb: float | None
    model: str | None = Field(description="Whose networks it keeps.")
    loading: str | None = Field(description="Whose networks are being read.")
    load_error: str | None = Field(
        description="Why the last ones that were asked for are not there; for operators."
    )


class UploadObject(BaseModel):
    """A file that was sent ahead of the request that uses it."""

    id: str
    object: Literal["upload"]
    filename: str
    bytes: int
    created_at: int
    expires_at: int


class UploadList(BaseModel):
    """The caller's uploads."""

    object: Literal["list"]
    data: list[UploadObject]


def video_values(job: Job) -> dict[str, Any]:
    """A job as ``VideoObject`` has it."""
    planned, error = _planned(job), job.error
    return {
        "id": job.id,
        "object": "video",
        "created_at": int(job.created_at),
        "completed_at": _seconds(job.finished_at) if job.state == "completed" else None,
        "expires_at": _seconds(job.expires_at),
        "status": _STATUS[job.state],
        "model": planned["model"],
        "prompt": job.request.get("prompt", ""),
        "progress": _percent(job),
        "seconds": planned["seconds"],
        "size": planned["size"],
        "remixed_from_video_id": job.parent,
        "error": None if error is None or not job.has_ended else asdict(error),
        "state": job.state,
        "progress_detail": asdict(job.progress),
        "started_at": job.started_at,
        "priority": job.priority,
        "attempts": job.attempts,
        "seed": planned["seed"],
        "variant": planned["variant"],
        "fps": planned["fps"],
        "num_frames": planned["num_frames"],
        "notes": planned["notes"],
        "request": _named(job.request),
        "options": dict(job.options),
        "group": job.options.get("group", ""),
        "label": job.options.get("label", ""),
        "output": dict(job.output),
    }


def _planned(job: Job) -> dict[str, Any]:
    """What a video object says of the plan, which never changes: read once, then remembered."""
    known = _known.get(job.id)
    if known is None:
        plan = job.plan
        known = {name: plan[name] for name in ("model", "seed", "variant", "fps", "num_frames")} | {
            "seconds": f"{_duration_s(plan):g}",
            "size": f"{plan['width']}x{plan['height']}",
            "notes": list(plan["notes"]),
        }
        known["model"] = model_name(str(known["model"]))
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[job.id] = known
    return known


_MOST_KNOWN = 2000
_known: dict[str, dict[str, Any]] = {}


def list_values(page: Page) -> dict[str, Any]:
    """Jobs as ``VideoList`` has them."""
    data = [video_values(job) for job in page.jobs]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
    }


def plan_values(plan: Plan, estimate: Estimate) -> dict[str, Any]:
    """A plan as ``PlanObject`` has it; it names files without their folders."""
    return {
        "object": "video.plan",
        "model": model_name(plan.model),
        "variant": plan.variant,
        "size": f"{plan.width}x{plan.height}",
        "seconds": f"{plan.duration_s:g}",
        "fps": plan.fps,
        "num_frames": plan.num_frames,
        "num_sections": plan.num_sections,
        "seed": plan.seed,
        "notes": list(plan.notes),
        "estimate": asdict(estimate),
        "plan": _named(without_folders(plan).to_dict()),
    }


def worker_values(facts: Mapping[str, Any], *, is_admin: bool) -> dict[str, Any]:
    """What an executor says as ``WorkerObject`` has it; errors may name the server's folders."""
    known = ("device", "device_memory_gb", "host_memory_gb", "model", "loading", "load_error")
    is_there = {name: bool(facts.get(name)) for name in ("alive", "busy")}
    values = {name: facts.get(name) for name in known}
    for name in ("model", "loading"):
        values[name] = _model(values[name])
    if not is_admin:
        values["load_error"] = None
    return {"object": "worker", **is_there, **values}


def event_values(event: JobEvent) -> dict[str, Any]:
    """An event of a job's log, with names in the place of paths."""
    return {"event": event.kind, "at": event.at, **_named(event.data)}


def upload_values(upload: Upload) -> dict[str, Any]:
    """An upload as ``UploadObject`` has it."""
    return {
        "id": upload.id,
        "object": "upload",
        "filename": upload.name,
        "bytes": upload.num_bytes,
        "created_at": int(upload.created_at),
        "expires_at": int(upload.expires_at),
    }


def named_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with names of files in the place of their paths."""
    return {**_named(values)}


def _named(value: Any) -> Any:
    """The same value, with names of files in the place of their paths, which are the server's."""
    if isinstance(value, Mapping):
        return {key: _named_at(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    return value


def _named_at(key: str, item: Any) -> Any:
    if not isinstance(item, str):
        return _named(item)
    return _name(item) if key in _FILES else model_name(item) if key == "model" else item


def _model(model: str | None) -> str | None:
    return model_name(model) if model is not None else None


def _name(path: str) -> str:
    return Path(path).name


def _percent(job: Job) -> int:
    if job.state == "completed":
        return 100
    return min(max(int(job.progress.fraction * 100), 0), 99)


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)


def _duration_s(plan: Mapping[str, Any]) -> float:
    if plan["request"].get("one_frame"):
        return 0.0
    return float(plan["num_frames"]) / float(plan["fps"])
