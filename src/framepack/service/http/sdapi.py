"""``/sdapi/v1``: the routes of SD.Next that its clients use, by its names."""

import base64
import io
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from framepack.domain.errors import FramePackError
from framepack.service.http.checking import asking, checked
from framepack.service.http.errors import COMMON, error_response
from framepack.service.http.guard import Caller, caller
from framepack.service.http.outputs import output_names
from framepack.service.http.received import received
from framepack.service.http.sdnext import (
    FramepackAnswer,
    FramepackRequest,
    Translated,
    fit_model,
    translated,
)
from framepack.service.inputs import Input
from framepack.service.logs import about_job
from framepack.service.prompts import EnhancerFailed, longer_prompt
from framepack.service.records import Job, Progress, State
from framepack.service.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/sdapi/v1", tags=["SD.Next"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]

_MOST_EVENTS = 10_000
_MOST_JOBS = 300
"""Of a history that names none."""
_LOOK_S = 5.0
_ERROR_STATUS = {"invalid_request": 422, "missing_weights": 422, "disk_full": 507}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# --- Making a video ----------------------------------------------------------------------------


@router.post("/framepack", response_model=FramepackAnswer)
async def framepack(request: Request, sent: FramepackRequest, who: Who) -> Response:
    """Make a video and answer when it is there. A client that goes does not stop it."""
    service = _service(request)
    job, notes = await checked(request, lambda: _submit(service, sent, who))
    with about_job(job.id):
        ended = await _end_of(request, service, job.id)
    if ended is None:
        return error_response(
            503, f"the server stops; {job.id} goes on when it starts again, and history has it then"
        )
    return _answer(service, ended, notes)


def _submit(service: Service, sent: FramepackRequest, who: Caller) -> tuple[Job, list[str]]:
    made = translated(sent, service.settings)
    with received(service, made.asked, who) as files:
        shape = files.get("image") or files.get("end_image")
        fit_model(
            made,
            service.settings,
            picture=shape.path if shape else None,
            max_pixels=service.config.max_pixels,
            is_asked=bool(sent.system_prompt),
        )
        _drop_surplus_lines(service, made, files)
        job = service.submit(made.fields, inputs=files, options=made.asked.options, owner=who.owner)
    return job, made.notes


def _drop_surplus_lines(service: Service, made: Translated, files: Mapping[str, Input]) -> None:
    """A video has no more lines than sections, of which only its plan knows how many there are."""
    if not made.lines:
        return
    lines = made.lines
    if len(lines) > 1:
        kept = {word: replace(given, is_ours=False) for word, given in files.items()}
        number = len(service.plan(made.fields, kept, made.asked.options).sections)
        if number < len(lines):
            made.notes.append(
                f"section_prompt: {len(lines) - number} of {len(lines)} lines were left out, the "
                f"video has {number} sections"
            )
            lines = lines[:number]
    made.fields["section_prompts"] = lines


async def _end_of(request: Request, service: Service, job_id: str) -> Job | None:
    """The job when it has ended; None if the server stops, or nobody waits for it any more."""
    with service.changes.listening(job_id) as listener:
        while True:
            job = await run_in_threadpool(service.store.get, job_id)
            if job.has_ended:
                return job
            if service.changes.is_over:
                return None
            if not await listener.wait(_LOOK_S) and await request.is_disconnected():
                return None


def _answer(service: Service, job: Job, notes: list[str]) -> Response:
    if job.state == "failed":
        assert job.error is not None
        status = _ERROR_STATUS.get(job.error.code, 500)
        return error_response(status, job.error.message, code=job.error.code)
    names = output_names(service, job)
    text = "interrupted"
    if job.state == "completed":
        plan = job.plan
        number = job.output.get("num_frames", plan["num_frames"])
        text = (
            f"{plan['width']}x{plan['height']} px, {number} frames in {len(plan['sections'])} "
            f"sections, seed {plan['request']['seed']}"
        )
    values = {"id": job.id, "filename": names[0] if names else ""}
    return JSONResponse({**values, "message": "; ".join([text, *notes])})


# --- How far it is -----------------------------------------------------------------------------


class WorkState(BaseModel):
    """What is worked on."""

    skipped: bool
    interrupted: bool
    job: str
    job_count: int
    job_timestamp: str
    job_no: int
    sampling_step: int
    sampling_steps: int


class ProgressAnswer(BaseModel):
    """How far the job at work is; without one, the last that was."""

    id: str
    progress: float = Field(description="0 to 1.")
    eta_relative: float = Field(description="Seconds that are left.")
    state: WorkState
    current_image: str | None = Field(description="A JPEG of the video so far, in base64.")
    textinfo: str | None


@router.get("/progress", response_model=ProgressAnswer)
async def progress(
    request: Request,
    who: Who,
    skip_current_image: Annotated[bool, Query(description="Send no picture.")] = False,
) -> JSONResponse:
    """How far the job at work is. When nothing is worked on, the last job's id stays."""

    def work() -> dict[str, Any]:
        service = _service(request)
        job = _current(service, who)
        image = None if job is None or skip_current_image else _picture(service, job)
        return {**_progress_of(service, job), "current_image": image}

    return JSONResponse(await run_in_threadpool(work))


def _current(service: Service, who: Caller) -> Job | None:
    """The caller's job at work, else the one whose turn is next, else the last that ended."""
    owner = who.sees
    states: tuple[State, ...] = ("running", "queued")
    for state in states:
        jobs = service.store.page(owner=owner, states=(state,), newest_first=False, limit=1).jobs
        if jobs:
            return jobs[0]
    with service.database.reading() as connection:
        row = connection.execute(
            "SELECT id FROM jobs WHERE finished_at IS NOT NULL AND IFNULL(?, owner) = owner "
            "ORDER BY finished_at DESC LIMIT 1",
            (owner,),
        ).fetchone()
    return None if row is None else service.store.get(row["id"])


def _progress_of(service: Service, job: Job | None) -> dict[str, Any]:
    done = job.progress if job is not None else Progress()
    is_cut = job is not None and (job.state == "cancelled" or job.wanted == "cancel")
    began = time.localtime((job.started_at or job.created_at) if job is not None else 0)
    is_at_work = job is not None and not job.has_ended
    return {
        "id": job.id if job is not None else "",
        "progress": round(done.fraction, 4),
        "eta_relative": round(done.seconds_left or 0.0, 1) if is_at_work else 0.0,
        "state": {
            "skipped": False,
            "interrupted": is_cut,
            "job": "FramePack" if is_at_work else "",
            "job_count": service.store.counts().get("queued", 0) + 1 if is_at_work else 0,
            "job_timestamp": time.strftime("%Y%m%d%H%M%S", began) if job is not None else "",
            "job_no": 0,
            "sampling_step": done.step,
            "sampling_steps": done.num_steps,
        },
        "textinfo": _text(done) if job is not None else None,
    }


def _text(done: Progress) -> str:
    return (
        f"Step {done.step}/{done.num_steps} | Section {done.section}/{done.num_sections} | "
        f"Progress {done.fraction:.0%}"
    )


def _picture(service: Service, job: Job) -> str | None:
    """What there is to see of a job, as JPEG in base64."""
    folder = service.data.job(job.id)
    paths = [folder.run / "preview.webp"]
    if isinstance(job.output.get("thumbnail"), str):
        paths.insert(0, folder.output / job.output["thumbnail"])
    for path in paths:
        with suppress(OSError, SyntaxError), Image.open(path) as picture:
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "JPEG", quality=85)
            return base64.b64encode(buffer.getvalue()).decode()
    return None


class Happening(BaseModel):
    """One line of the history."""

    id: str
    job: str
    op: str = Field(description="begin, output or end.")
    timestamp: float = Field(description="Unix time in seconds.")
    duration: float | None = Field(description="Seconds that the job took; of end only.")
    outputs: list[str] = Field(description="For /file=; of output and end.")


@router.get("/history", response_model=list[Happening])
async def history(
    request: Request, who: Who, id: Annotated[str | None, Query(description="Of a job.")] = None
) -> JSONResponse:
    """What happened to a job, or to the caller's last ones. The last line has the outputs."""

    def work() -> list[dict[str, Any]]:
        service = _service(request)
        if id is None:
            page = service.store.page(owner=who.sees, limit=_MOST_JOBS)
            jobs = page.jobs[::-1]
        else:
            with suppress(FramePackError):
                return _happenings(service, service.store.get(id, owner=who.sees))
            return []
        return [line for job in jobs for line in _happenings(service, job)]

    return JSONResponse(await run_in_threadpool(work))


def _happenings(service: Service, job: Job) -> list[dict[str, Any]]:
    if job.started_at is None:
        return []
    line: dict[str, Any] = {"id": job.id, "job": "FramePack", "duration": None, "outputs": []}
    lines = [{**line, "op": "begin", "timestamp": job.started_at}]
    if job.has_ended and job.finished_at is not None:
        outputs = output_names(service, job)
        end = {**line, "timestamp": job.finished_at, "outputs": outputs}
        if outputs:
            lines.append({**end, "op": "output"})
        seconds = round(max(job.finished_at - job.started_at, 0.0), 3)
        lines.append({**end, "op": "end", "duration": seconds})
    return lines


class StatusAnswer(BaseModel):
    """What the server does."""

    status: str = Field(description="idle or running.")
    task: str
    timestamp: str
    current: str
    id: str
    job: int
    jobs: int
    total: int
    step: int
    steps: int
    queued: int
    uptime: int
    elapsed: float | None
    eta: float | None
    progress: float


@router.get("/status", response_model=StatusAnswer)
async def status(request: Request, who: Who) -> JSONResponse:
    """What is worked on, and how much waits."""

    def work() -> dict[str, Any]:
        service = _service(request)
        job, counts = _current(service, who), service.store.counts()
        is_running = job is not None and job.state == "running"
        done = job.progress if job is not None else Progress()
        known = _progress_of(service, job)
        began = job.started_at if job is not None and is_running else None
        return {
            "status": "running" if is_running else "idle",
            "task": "FramePack" if is_running else "",
            "timestamp": known["state"]["job_timestamp"],
            "current": done.stage,
            "id": known["id"],
            "job": 0,
            "jobs": counts.get("running", 0),
            "total": sum(counts.values()),
            "step": done.step,
            "steps": done.num_steps,
            "queued": counts.get("queued", 0),
            "uptime": int(time.monotonic() - request.app.state.metrics.began),
            "elapsed": round(time.time() - began, 1) if began else None,
            "eta": done.seconds_left if is_running else None,
            "progress": known["progress"],
        }

    return JSONResponse(await run_in_threadpool(work))


@router.get("/log", response_model=list[str])
async def log(
    request: Request,
    who: Who,
    lines: Annotated[int, Query(ge=1, le=1000, description="The last ones.")] = 100,
) -> JSONResponse:
    """What happened to the caller's current job, a line each."""

    def work() -> list[str]:
        service = _service(request)
        job = _current(service, who)
        if job is None:
            return []
        events = service.store.events(job.id, limit=_MOST_EVENTS)[-lines:]
        return [
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event.at))} {job.id} {event.kind}"
            for event in events
        ]

    return JSONResponse(await run_in_threadpool(work))


# --- What else SD.Next's clients do ------------------------------------------------------------


@router.post("/interrupt", status_code=204)
async def interrupt(request: Request, who: Who) -> Response:
    """End the caller's job at work, within a step."""
    await run_in_threadpool(_interrupt, _service(request), who)
    return Response(status_code=204)


@router.post("/skip", status_code=204)
async def skip(request: Request, who: Who) -> Response:
    """End the caller's job at work; the next one begins."""
    await run_in_threadpool(_interrupt, _service(request), who)
    return Response(status_code=204)


def _interrupt(service: Service, who: Caller) -> None:
    for job in service.store.page(owner=who.sees, states=("running",)).jobs:
        service.store.cancel(job.id)


class EnhanceRequest(BaseModel):
    """A prompt to expand."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = Field(max_length=10_000, description="What happens in the video.")
    seed: int = Field(-1, description="Comes back as it is.")


class EnhanceAnswer(BaseModel):
    """A longer prompt."""

    prompt: str
    seed: int


@router.post("/prompt-enhance", response_model=EnhanceAnswer)
async def prompt_enhance(request: Request, sent: EnhanceRequest) -> Response:
    """Expand a prompt by the server's endpoint, or by a form of words where it has none."""
    text = sent.prompt
    if text.strip():
        try:
            text, _ = await asking(
                request, partial(longer_prompt, text, _service(request).settings)
            )
        except EnhancerFailed as error:
            return error_response(502, str(error), code="enhancer_failed")
    return JSONResponse({"prompt": " ".join(text.split()), "seed": sent.seed})
