"""Tasks are kept: they wait, can be cancelled, and begin again after a server that is gone."""

import errno
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.helpers.live_server import a_video
from tests.helpers.service import until

from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings
from framepack.service.database import Database
from framepack.service.files import DataFolder
from framepack.service.inputs import Input
from framepack.service.options import ServiceConfig
from framepack.service.records import NoSuchJob, QueueFull, StoreBusy, StoreFull, WrongState
from framepack.service.tools import runner
from framepack.service.tools.catalogue import TOOLS
from framepack.service.tools.records import ToolTask
from framepack.service.tools.toolbox import Toolbox

WORKER = """
import json, os, sys, time
from pathlib import Path
def say(**said):
    print(json.dumps(said), flush=True)
told = json.loads(sys.stdin.readline())
marks = Path(told["output"]).parents[2] / "marks"
with marks.open("a") as file:
    file.write(f"{told['id']} {os.getpid()}\\n")
say(say="progress", share=0.5, message="half")
do = told["values"].get("num_sections", 1)
if do == 2:  # hang
    time.sleep(60)
if do == 3:
    os._exit(7)
if do == 4:
    say(say="ended", output=None, error={"code": "invalid_request",
        "message": f"{told['files']['video'][0]} (--sections) is bad; see --sections"})
    sys.exit()
Path(told["output"]).mkdir(parents=True)
(Path(told["output"]) / "drift.png").write_text("plot")
say(say="ended", output={"plot": "drift.png", "report": {}}, error=None)
"""
HANG, DIE, FAIL = 2, 3, 4


class House:
    """A toolbox in a folder, which can be closed and opened again."""

    def __init__(
        self, folder: Path, *, clock: Callable[[], float] = time.time, **config: Any
    ) -> None:
        self.data = DataFolder.of(folder)
        self.data.make()
        self.news: list[str] = []
        self.video = folder / "dog.mp4"
        if not self.video.is_file():
            a_video(self.video)
        self.database = Database(self.data.database)
        self.tools = Toolbox(
            self.database,
            self.data,
            ServiceConfig(data_dir=folder, **config),
            settings=lambda: Settings(),
            on_change=self.news.append,
            clock=clock,
        )

    def drift(self, do: int = 1, owner: str = "") -> ToolTask:
        files = {"video": [Input(self.video, name="my dog.mp4")]}
        return self.tools.submit("drift", {"num_sections": do}, files, owner=owner)

    def until(self, task: ToolTask, is_so: Callable[[ToolTask], object]) -> ToolTask:
        ends = time.monotonic() + 30
        while not is_so(found := self.tools.store.get(task.id)):
            assert time.monotonic() < ends, found
            time.sleep(0.02)
        return found

    def ended(self, task: ToolTask) -> ToolTask:
        return self.until(task, lambda found: found.has_ended)

    def pid(self, task: ToolTask) -> int:
        lines = (self.data.path / "marks").read_text().splitlines()
        return int([line.split()[1] for line in lines if line.split()[0] == task.id][-1])

    def close(self) -> None:
        self.tools.stop(10)
        self.database.close()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    defaults = dict(runner.TaskRunner.__init__.__kwdefaults__ or {})
    defaults["command"] = (sys.executable, str(script))
    monkeypatch.setattr(runner.TaskRunner.__init__, "__kwdefaults__", defaults)


@pytest.fixture
def house(tmp_path: Path, worker: None) -> Iterator[House]:
    made = House(tmp_path / "data", max_waiting=2)
    yield made
    made.close()


def test_a_task_is_done_and_its_inputs_go(house: House) -> None:
    task = house.drift()
    assert (task.state, task.files) == ("queued", {"video": [("video_0.mp4", "my dog.mp4")]})
    house.tools.start()
    done = house.ended(task)
    assert (done.state, done.progress, done.message) == ("completed", 1.0, "")
    assert house.tools.file_of(done, "drift.png").read_text() == "plot"
    until(lambda: not house.data.task(task.id).inputs.exists())  # a moment later
    assert set(house.news) == {task.id}


def test_others_than_the_files_that_are_left_cannot_be_reached(house: House) -> None:
    house.tools.start()
    task = house.ended(house.drift())
    (house.data.task(task.id).output / "other").write_text("secret")
    for name in ("other", "../output/drift.png", "", "/etc/passwd"):
        with pytest.raises(NoSuchJob, match=r"left no .*; it has drift\.png"):
            house.tools.file_of(task, name)
    with pytest.raises(NoSuchJob, match="left no video"):
        house.tools.file_of(task)


def test_a_cancelled_task_ends_its_process_and_leaves_nothing(house: House) -> None:
    house.tools.start()
    task = house.drift(HANG)
    found = house.until(task, lambda each: each.progress == 0.5)
    assert (found.state, found.message) == ("running", "half")
    with pytest.raises(WrongState, match="cancel it first"):
        house.tools.delete(task.id)
    assert house.tools.cancel(task.id).state == "cancelled"
    pid = house.pid(task)
    ends = time.monotonic() + 10
    while psutil.pid_exists(pid) or house.data.task(task.id).path.exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    with pytest.raises(WrongState, match="is cancelled"):
        house.tools.cancel(task.id)
    assert house.ended(house.drift()).state == "completed"
    house.tools.delete(task.id)
    with pytest.raises(NoSuchJob):
        house.tools.store.get(task.id)


def test_a_task_that_waits_is_cancelled_at_once(house: House) -> None:
    task = house.drift()
    assert house.tools.cancel(task.id).state == "cancelled"
    assert not house.data.task(task.id).path.exists()
    house.tools.start()
    assert house.ended(house.drift()).state == "completed"
    assert house.tools.store.get(task.id).state == "cancelled"


def test_a_process_that_dies_fails_its_task_alone(house: House) -> None:
    house.tools.start()
    failed = house.ended(house.drift(DIE))
    assert failed.error is not None
    assert (failed.error.code, "exit code 7" in failed.error.message) == ("worker_died", True)
    assert house.ended(house.drift()).state == "completed"


def test_an_error_names_files_and_fields_as_their_sender_does(house: House) -> None:
    house.tools.start()
    failed = house.ended(house.drift(FAIL))
    assert failed.error is not None
    assert failed.error.message == "my dog.mp4 is bad; see num_sections"


def test_what_ran_when_the_server_stopped_runs_again(tmp_path: Path, worker: None) -> None:
    first = House(tmp_path / "data")
    first.tools.start()
    running, waiting = first.drift(HANG), first.drift()
    first.until(running, lambda each: each.progress == 0.5)
    pid = first.pid(running)
    first.close()
    assert not psutil.pid_exists(pid)
    again = House(tmp_path / "data")
    assert [again.tools.store.get(task.id).state for task in (running, waiting)] == ["queued"] * 2
    again.tools.start()
    again.until(running, lambda each: each.progress == 0.5)
    again.tools.cancel(running.id)
    assert again.ended(waiting).state == "completed"
    again.close()


def test_what_a_killed_server_left_running_waits_again(tmp_path: Path, worker: None) -> None:
    first = House(tmp_path / "data")
    task = first.drift()
    assert first.tools.store.claim(("drift",)) is not None
    stray = first.data.task("task_0123")
    stray.inputs.mkdir(parents=True)
    first.database.close()  # no more than a kill would have left
    again = House(tmp_path / "data")
    again.tools.start()
    assert again.ended(task).state == "completed"
    assert not stray.path.exists()
    again.close()


def test_a_download_does_not_wait_for_tools_and_is_not_begun_twice(house: House) -> None:
    house.tools.start()
    house.drift(HANG)
    first = house.tools.download("f1", "f1", "Download")
    assert house.ended(first).state == "completed"
    waiting = house.tools.download("f1", "f1", "Download")
    assert waiting.id != first.id
    last = house.tools.last_download("f1")  # which is begun at any moment
    assert last is not None
    assert last.id == waiting.id
    assert house.tools.last_download("i2v") is None


def test_what_a_task_left_is_kept_no_longer_than_videos_are(tmp_path: Path, worker: None) -> None:
    house = House(tmp_path / "data", keep_days=1)
    house.tools.start()
    task = house.ended(house.drift())
    house.tools.sweep()
    assert house.tools.file_of(task, "drift.png").is_file()
    house.close()
    later = House(tmp_path / "data", clock=lambda: time.time() + 86_401, keep_days=1)
    later.tools.start()
    ends = time.monotonic() + 10
    while later.data.task(task.id).path.exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    with pytest.raises(NoSuchJob):
        later.tools.store.get(task.id)
    later.close()


def test_a_database_that_refuses_for_a_moment_costs_no_task(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = house.drift()
    read, refused = house.tools.store.get, list[str]()

    def busy(task_id: str, **options: Any) -> ToolTask:
        if not refused and threading.current_thread() is not threading.main_thread():
            refused.append(task_id)
            raise StoreBusy("another program has it")
        return read(task_id, **options)

    monkeypatch.setattr(house.tools.store, "get", busy)
    house.tools.start()
    assert (house.ended(task).state, refused) == ("completed", [task.id])


def test_what_systems_leave_in_folders_is_no_task(house: House) -> None:
    tasks = house.data.path / "tasks"
    (tasks / ".DS_Store").touch()
    (tasks / "task_0123").mkdir()
    house.tools.start()
    assert [path.name for path in tasks.iterdir()] == [".DS_Store"]


def test_no_more_tasks_wait_than_may(house: House) -> None:
    house.drift()
    house.drift()
    with pytest.raises(QueueFull, match="2 tasks wait"):
        house.drift()
    assert len(list((house.data.path / "tasks").iterdir())) == 2


@pytest.mark.parametrize(
    ("ends_with", "is_told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreFull),
        (StoreBusy("another program has it"), StoreBusy),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_task_that_could_not_be_kept_leaves_no_files(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    ends_with: BaseException,
    is_told: type[BaseException],
) -> None:
    found = list[Path]()

    def refuse(task_id: str, *_: object, **__: object) -> None:
        found.extend(house.data.task(task_id).inputs.iterdir())
        raise ends_with

    monkeypatch.setattr(house.tools.store, "create", refuse)
    with pytest.raises(is_told):
        house.drift()
    assert [path.name for path in found] == ["video_0.mp4"]
    assert list((house.data.path / "tasks").iterdir()) == []


def test_files_that_are_missing_or_too_many_are_refused(house: House) -> None:
    with pytest.raises(InvalidRequest, match="video is missing"):
        house.tools.submit("drift", {}, {})
    two = [Input(house.video, name="a"), Input(house.video, name="b")]
    with pytest.raises(InvalidRequest, match="video names 2 files; it takes one"):
        house.tools.submit("drift", {}, {"video": two})


@pytest.mark.parametrize("tool", TOOLS)
def test_every_field_of_a_tool_is_its_own_and_explained(tool: str) -> None:
    fields = TOOLS[tool].form()["fields"]
    names = [field["name"] for field in fields]
    assert len(set(names)) == len(names)
    assert all(field["title"] and field["help"] for field in fields)
    assert "--" not in " ".join(f"{field['help']} {field['rule']}" for field in fields)


def test_the_server_with_its_tools_imports_no_torch(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from tests.helpers.service import new_service, running
from tests.helpers.live_server import a_video
folder = Path({str(tmp_path)!r})
with running(new_service(folder)) as client:
    sent = {{"videos": ("a.mp4", a_video(folder / "a.mp4"))}}
    assert client.post("/v1/tools/clip", files=sent).status_code == 200
    for path in ("/v1/tools", "/v1/tasks", "/v1/settings", "/v1/models", "/v1/loras",
                 "/v1/recipes", "/v1/models/tiny/recipe", "/v1/system", "/v1/schema"):
        assert client.get(path).status_code == 200, path
heavy = [name for name in ("torch", "diffusers", "transformers") if name in sys.modules]
assert not heavy, heavy
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
