"""What can be asked about tools and tasks, whoever asks."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings
from framepack.service.database import Database
from framepack.service.files import DataFolder, TaskFolder
from framepack.service.inputs import Input, store_inputs
from framepack.service.intake import check_file
from framepack.service.options import ServiceConfig
from framepack.service.records import NoSuchJob, StoreFull, WrongState
from framepack.service.requests import in_words
from framepack.service.tools.catalogue import DOWNLOAD, TOOLS, Tool, tool_of
from framepack.service.tools.records import ToolTask
from framepack.service.tools.runner import TaskRunner
from framepack.service.tools.store import TaskStore, new_task_id

__all__ = ["Toolbox"]

_MOST_FILES = 64
_DAY_S = 86400.0


class Toolbox:
    """Takes tasks and has them done: tools one at a time, and beside them one download.

    Args:
        database: of the service.
        data: where files are.
        config: limits.
        settings: of this machine, asked when they are needed.
        on_change: called with a task's id after anything about it was committed.
        quota_of: how many tasks of an owner may wait or run, by his key's id; None for any number.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        data: DataFolder,
        config: ServiceConfig,
        *,
        settings: Callable[[], Settings],
        on_change: Callable[[str], object],
        quota_of: Callable[[str], int | None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = TaskStore(database, on_change=on_change, clock=clock)
        self._clock = clock
        self._data = data
        self._config = config
        self._settings = settings
        self._quota_of = quota_of
        self._runners = tuple(
            TaskRunner(
                self.store,
                data.task,
                tools,
                settings=settings,
                config=config,
                in_words=self._in_words,
                on_idle=self.sweep,
            )
            for tools in (tuple(TOOLS), (DOWNLOAD,))
        )

    def start(self) -> None:
        """Go on with the tasks that wait, or that a server which is gone worked on."""
        self.store.put_back_all()
        self._remove_strays()
        for runner in self._runners:
            runner.start()

    def stop(self, timeout_s: float) -> None:
        """End what runs; it begins again with the next start."""
        deadline = time.monotonic() + timeout_s
        for runner in self._runners:
            runner.stop(max(deadline - time.monotonic(), 1.0))

    def submit(
        self,
        tool_id: str,
        values: Mapping[str, Any],
        files: Mapping[str, Sequence[Input]],
        *,
        owner: str = "",
    ) -> ToolTask:
        """Check what was asked and queue it.

        Args:
            tool_id: of the tool.
            values: its fields, besides files.
            files: by field.
            owner: id of the key that it came with.

        Raises:
            NoSuchJob: there is no such tool.
            InvalidRequest: bad input; nothing was kept.
            QueueFull, QuotaExceeded, StoreBusy, StoreFull: nothing was queued.
        """
        tool = tool_of(tool_id)
        parsed = self._parsed(tool, values)
        _check_files(tool, files)
        task_id = new_task_id()
        folder = self._data.task(task_id)
        is_kept = False
        try:
            folder.inputs.mkdir(parents=True)
            stored = self._stored(tool, files, folder.inputs)
            task = self.store.create(
                task_id,
                tool.id,
                tool.title,
                values=parsed,
                files=stored,
                owner=owner,
                max_waiting=self._config.max_waiting,
                owner_max_waiting=self._quota_of(owner),
            )
            is_kept = True
        except OSError as error:
            raise StoreFull(
                f"the task cannot be kept: {error.strerror}; free some space"
            ) from error
        finally:
            if not is_kept:
                folder.remove()
        self._wake()
        return task

    def download(self, model: str, source: str, title: str, *, owner: str = "") -> ToolTask:
        """Have a model's weights fetched; one that is being fetched is not begun again.

        Args:
            model: its id.
            source: what ``resolve_spec`` finds it by.
            title: for people.
            owner: id of the key that asked.
        """
        there = self.last_download(model)
        if there is not None and not there.has_ended:
            return there
        values = {"model": model, "source": source}
        task = self.store.create(
            new_task_id(), DOWNLOAD, title, values=values, files={}, owner=owner
        )
        self._wake()
        return task

    def last_download(self, model: str) -> ToolTask | None:
        """The newest download of a model, or None."""
        page = self.store.page(tool=DOWNLOAD, limit=100)
        return next((task for task in page.tasks if task.values.get("model") == model), None)

    def cancel(self, task_id: str, *, sees: str | None = None) -> ToolTask:
        """End a task without a result.

        Args:
            task_id: of the task.
            sees: whose tasks there are for the sender; None for all.

        Raises:
            NoSuchJob: there is none.
            WrongState: it has ended already.
        """
        task = self.store.get(task_id, owner=sees)
        if not self.store.end(task.id, "cancelled"):
            task = self.store.get(task_id, owner=sees)
            raise WrongState(f"{task_id} is {task.state}; needed: queued or running")
        for runner in self._runners:
            runner.drop(task.id)
        if task.state == "queued":
            self._data.task(task.id).remove()
        return self.store.get(task_id)

    def delete(self, task_id: str, *, sees: str | None = None) -> None:
        """Forget a task, and remove its files.

        Raises:
            NoSuchJob: there is none.
            WrongState: it waits or is worked on; cancel it first.
        """
        self.store.delete(self.store.get(task_id, owner=sees).id)
        self._data.task(task_id).remove()

    def sweep(self) -> None:
        """Forget tasks that ended longer ago than the server keeps what it made."""
        if self._config.keep_days is None:
            return
        for task_id in self.store.ended_before(self._clock() - self._config.keep_days * _DAY_S):
            with suppress(NoSuchJob):  # somebody else deleted it
                self.delete(task_id)

    def file_of(self, task: ToolTask, name: str | None = None) -> Path:
        """A file that a completed task left: by its name, or else its video.

        Raises:
            WrongState: it is not completed.
            NoSuchJob: it left none of that name, or its files were removed.
        """
        if task.state != "completed":
            raise WrongState(f"{task.id} is {task.state}; its files are there when it is completed")
        left = [value for value in task.output.values() if isinstance(value, str)]
        wanted = task.output.get("video") if name is None else name
        if wanted not in left:
            what = "video" if name is None else repr(name[:60])
            raise NoSuchJob(f"{task.id} left no {what}; it has {', '.join(left) or 'no files'}")
        try:
            return self._data.task(task.id).file(wanted)
        except InvalidRequest as error:
            raise NoSuchJob(f"{wanted} of {task.id} is not there any more") from error

    def _parsed(self, tool: Tool, values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return tool.parse(values)
        except InvalidRequest as error:
            raise in_words(error, {}, self._settings(), tool.options) from error

    def _stored(
        self, tool: Tool, files: Mapping[str, Sequence[Input]], folder: Path
    ) -> dict[str, list[tuple[str, str]]]:
        """Put the files into the task's folder and check them."""
        kept: dict[str, list[tuple[str, str]]] = {}
        for field in tool.files:
            given = list(files.get(field.name, ()))
            words = {f"{field.name}_{number}": each for number, each in enumerate(given)}
            stored = store_inputs(words, folder)
            names = {path: words[word].name for word, path in stored.items()}
            for path in stored.values():
                try:
                    check_file(path, field.kind, max_pixels=self._config.max_pixels)
                except InvalidRequest as error:
                    found = in_words(error, names, self._settings(), tool.options)
                    raise InvalidRequest(f"{field.name}: {found}") from error
            if given:
                kept[field.name] = [(path.name, names[path]) for path in stored.values()]
        return kept

    def _in_words(self, task: ToolTask, text: str) -> str:
        """An error's text for whoever sent the task, who does not know the server's folders."""
        if task.tool not in TOOLS:
            return text
        folder = self._data.task(task.id)
        names = {
            folder.inputs / stored: name for given in task.files.values() for stored, name in given
        }
        names[folder.output] = "output"
        options = TOOLS[task.tool].options
        return str(in_words(InvalidRequest(text), names, self._settings(), options))

    def _wake(self) -> None:
        for runner in self._runners:
            runner.wake()

    def _remove_strays(self) -> None:
        """Remove folders of tasks that were being sent when a server died, or were deleted."""
        for path in (self._data.path / "tasks").glob("task_*"):  # systems put files of theirs there
            try:
                self.store.get(path.name)
            except NoSuchJob:
                TaskFolder(path).remove()


def _check_files(tool: Tool, files: Mapping[str, Sequence[Input]]) -> None:
    for field in tool.files:
        count = len(files.get(field.name, ()))
        if field.needed and not count:
            raise InvalidRequest(f"{field.name} is missing; name {_what(field.many)}")
        if count > (_MOST_FILES if field.many else 1):
            raise InvalidRequest(
                f"{field.name} names {count} files; it takes "
                f"{f'at most {_MOST_FILES}' if field.many else 'one'}"
            )


def _what(many: bool) -> str:
    one = "an upload, a video of this server or a task"
    return f"one or more, each {one}" if many else one
