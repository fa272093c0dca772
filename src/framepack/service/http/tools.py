"""``/v1/tools`` and ``/v1/tasks``: work on finished videos, and downloads, as tasks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from framepack.domain.errors import InvalidRequest
from framepack.service.http import examples
from framepack.service.http.body import Body, NeededBody
from framepack.service.http.checking import checked
from framepack.service.http.content import PartialFile
from framepack.service.http.errors import COMMON, RESPONSES
from framepack.service.http.guard import Caller, caller
from framepack.service.http.objects import Deleted, VideoError
from framepack.service.http.received import read_input, reference, request_folder
from framepack.service.inputs import Input
from framepack.service.records import NoSuchJob, StoreFull, WrongState
from framepack.service.service import Service
from framepack.service.tools.catalogue import TOOLS, FileField, Tool, tool_of
from framepack.service.tools.records import TaskState, ToolTask

__all__ = ["TaskObject", "router", "task_values"]

router = APIRouter(prefix="/v1", tags=["Tools"], responses=COMMON)

Who = Annotated[Caller, Depends(caller)]


class ToolObject(BaseModel):
    """Something that can be done to finished videos."""

    id: str
    title: str
    help: str
    fields: list[dict[str, Any]] = Field(
        description="As in the schema, and for files `many`, `needed` and `accepts`."
    )


class ToolList(BaseModel):
    """The tools of a server."""

    object: Literal["list"]
    data: list[ToolObject]


class TaskObject(BaseModel):
    """Work that is no video's rendering, and how far it is."""

    id: str
    object: Literal["task"]
    tool: str
    title: str
    state: TaskState
    progress: float = Field(description="0 to 1.")
    message: str = Field(description="What is done now.")
    created_at: int
    started_at: float | None
    finished_at: float | None
    fields: dict[str, Any] = Field(description="What was asked; files by their names.")
    output: dict[str, Any] = Field(
        description="Names of files by kind (video, plot), and a report; empty until completed."
    )
    error: VideoError | None


class TaskList(BaseModel):
    """Tasks, the newest first."""

    object: Literal["list"]
    data: list[TaskObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


_TASK = examples.answer(TaskObject, "The task.", examples.TASK)
_NEW = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {
                "schema": {"type": "object", "additionalProperties": True},
                "example": examples.NEW_TASK,
            }
            for kind in ("application/json", "multipart/form-data")
        },
    }
}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get("/tools", responses=examples.answer(ToolList, "The tools.", examples.TOOLS))
def list_tools(_: Who) -> JSONResponse:
    """List what can be done to finished videos, and the fields that each tool takes."""
    return JSONResponse({"object": "list", "data": [tool.form() for tool in TOOLS.values()]})


@router.post("/tools/{tool_id}", responses=_TASK, openapi_extra=_NEW)
async def use_tool(request: Request, who: Who, tool_id: str, body: NeededBody) -> JSONResponse:
    """Have something done to finished videos, named by upload, video or task, or sent along."""
    service, tool = _service(request), tool_of(tool_id)

    def work() -> ToolTask:
        with request_folder(service) as folder:
            names = {field.name for field in tool.files}
            try:
                files = {
                    field.name: [
                        _file(service, who, folder / f"{field.name}-{number}", field, said)
                        for number, said in enumerate(_listed(body, field))
                    ]
                    for field in tool.files
                }
            except OSError as error:
                raise StoreFull(
                    f"a file cannot be kept: {error.strerror}; free some space"
                ) from error
            values = {
                name: value
                for name, value in body.values.items()
                if name not in names and not (body.is_form and value == "")
            }
            return service.tools.submit(tool.id, values, files, owner=who.owner)

    return JSONResponse(task_values(await checked(request, work)))


@router.get("/tasks", responses=examples.answer(TaskList, "Tasks.", examples.TASKS))
def list_tasks(
    request: Request,
    who: Who,
    after: Annotated[str | None, Query(description="Last of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    state: Annotated[str, Query(description="States, with commas between them.")] = "",
    tool: Annotated[str | None, Query(description="Of this tool alone.")] = None,
) -> JSONResponse:
    """List tasks, the newest first."""
    page = _service(request).tools.store.page(
        after=after, limit=limit, owner=who.sees, states=_states(state), tool=tool
    )
    data = [task_values(task) for task in page.tasks]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return JSONResponse(
        {
            "object": "list",
            "data": data,
            "first_id": None,
            "last_id": None,
            **ends,
            "has_more": page.has_more,
        }
    )


@router.get("/tasks/{task_id}", responses=_TASK)
def get_task(request: Request, who: Who, task_id: str) -> JSONResponse:
    """Say how far a task is."""
    return JSONResponse(task_values(_service(request).tools.store.get(task_id, owner=who.sees)))


@router.post("/tasks/{task_id}/cancel", responses=_TASK)
def cancel_task(request: Request, who: Who, task_id: str) -> JSONResponse:
    """End a task without a result. What a download has fetched is kept for the next."""
    return JSONResponse(task_values(_service(request).tools.cancel(task_id, sees=who.sees)))


@router.delete(
    "/tasks/{task_id}",
    responses=examples.answer(Deleted, "It is gone.", examples.gone("task", examples.TASK["id"])),
)
def delete_task(request: Request, who: Who, task_id: str) -> JSONResponse:
    """Forget a task that has ended, and remove its files."""
    _service(request).tools.delete(task_id, sees=who.sees)
    return JSONResponse({"id": task_id, "object": "task.deleted", "deleted": True})


@router.head("/tasks/{task_id}/files/{name}", include_in_schema=False)
@router.get(
    "/tasks/{task_id}/files/{name}",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {
            "description": "The part that Range names.",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already: If-None-Match names its ETag."},
        416: RESPONSES[416],
    },
)
def download_file(
    request: Request,
    who: Who,
    task_id: str,
    name: str,
    download: Annotated[bool, Query(description="Have browsers save it.")] = False,
) -> Response:
    """Download a file that a completed task left. Range and ETag are honoured."""
    tools = _service(request).tools
    path = tools.file_of(tools.store.get(task_id, owner=who.sees), name)
    try:
        return PartialFile(path, name=f"{task_id}-{path.name}", attachment=download)
    except FileNotFoundError as error:
        raise NoSuchJob(f"{name} was removed a moment ago") from error


def task_values(task: ToolTask) -> dict[str, Any]:
    """A task as clients see it."""
    many = {field.name for field in _files_of(task.tool) if field.many}
    files: dict[str, Any] = {}
    for field, given in task.files.items():
        names = [name for _, name in given]
        files[field] = names if field in many else names[0]
    error = {"code": task.error.code, "message": task.error.message} if task.error else None
    hidden = ("source",)  # where a download's recipe lies on the server
    return {
        "id": task.id,
        "object": "task",
        "tool": task.tool,
        "title": task.title,
        "state": task.state,
        "progress": round(task.progress, 4),
        "message": task.message,
        "created_at": int(task.created_at),
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "fields": {**files, **{k: v for k, v in task.values.items() if k not in hidden}},
        "output": dict(task.output),
        "error": error,
    }


def _files_of(tool_id: str) -> tuple[FileField, ...]:
    tool: Tool | None = TOOLS.get(tool_id)
    return tool.files if tool is not None else ()


def _listed(body: Body, field: FileField) -> list[Any]:
    """What was said of a field that names files."""
    said = body.values.get(field.name)
    if said is None or said in ("", []):
        return []
    return said if isinstance(said, list) else [said]


def _file(service: Service, who: Caller, folder: Path, field: FileField, said: Any) -> Input:
    """The file that one value stands for: an upload, a video, or what another task left."""
    text = reference(field.name, said) if isinstance(said, str | dict) else ""
    try:
        if text.startswith("video_"):
            job = service.store.get(text, owner=who.sees)
            path = service.file_of(job, field.video_output)
            return Input(path, name=f"{field.video_output} of {text}")
        if text.startswith("task_"):
            task = service.tools.store.get(text, owner=who.sees)
            return Input(service.tools.file_of(task), name=f"video of {text}")
    except (NoSuchJob, WrongState) as error:
        raise InvalidRequest(f"{field.name}: {error}") from error
    folder.mkdir()
    return read_input(service, who, folder, field.name, said)


def _states(text: str) -> tuple[TaskState, ...]:
    known: tuple[TaskState, ...] = ("queued", "running", "completed", "failed", "cancelled")
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [each for each in asked if each not in known]:
        raise InvalidRequest(f"state is {wrong[0][:40]!r}; it must be of {', '.join(known)}")
    return tuple(state for state in known if state in asked)
