"""The executor of one machine: its worker starts when needed, and its death is a message."""

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.helpers.jobs import Clocks, step_done

from framepack.domain.settings import Settings
from framepack.service.executor import Message, Task, TaskEnded, TaskEvent, TaskStarted
from framepack.service.local_executor import LocalExecutor

WORKER = f"""
import json, os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
def say(**said):
    print(json.dumps(said), flush=True)
for line in sys.stdin:
    said = json.loads(line)
    if said["do"] == "settings":
        device = said["settings"]["device"]
        continue
    lease = said.get("lease")
    if said["do"] == "load":
        if said["model"] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        error = "it is damaged" if said["model"] == "broken" else None
        model = None if error else said["model"]
        say(say="facts", device=device, device_memory_gb=1.5, model=model)
        say(say="loaded", error=error)
        continue
    if said["do"] == "stop":
        say(say="ended", lease=lease, outcome="stopped", output={{}}, error=None, leaves=False)
        continue
    say(say="started", lease=lease)
    say(say="event", lease="somebody else's", event={{}})
    say(say="event", lease=lease, event={step_done()})
    do = said["request"]["prompt"]
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "exit":
        sys.stdout.write('{{"say": "ended", "lease"')  # cut short
        sys.exit(3)
    if do in ("wait", "hang"):
        while do == "hang":
            time.sleep(1)
        continue
    say(say="facts", device=device, device_memory_gb=1.5, model="tiny")
    say(say="ended", lease=lease, outcome="finished", output={{"pid": os.getpid()}}, error=None,
        leaves=do == "leave")
    if do == "leave":
        sys.exit()
"""


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def executor(tmp_path: Path, clocks: Clocks) -> Iterator[LocalExecutor]:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    made = LocalExecutor(
        Settings(device="cpu"),
        idle_s=60,
        monotonic=lambda: clocks.steady,
        command=[sys.executable, str(script)],
    )
    yield made
    made.close(0)


def _task(do: str, lease: str = "a", folder: Path = Path("jobs")) -> Task:
    return Task(lease, "video_1", folder, {"prompt": do}, {})


def _until(executor: LocalExecutor, is_met: Callable[[list[Message]], object]) -> list[Message]:
    messages: list[Message] = []
    deadline = time.monotonic() + 20
    while not is_met(messages):
        assert time.monotonic() < deadline, messages
        messages += executor.messages(0.05)
    return messages


def _ended(messages: list[Message]) -> bool:
    return any(isinstance(each, TaskEnded) for each in messages)


def test_a_task_is_taken_told_of_and_ended(executor: LocalExecutor) -> None:
    assert executor.facts()["alive"] is False
    executor.submit(_task("work"))
    assert executor.capacity == 0
    messages = _until(executor, _ended)
    assert messages[:2] == [TaskStarted("a"), TaskEvent("a", step_done())]
    pid = executor.facts()["pid"]
    assert messages[2:] == [TaskEnded("a", "finished", {"pid": pid})]
    assert executor.capacity == 1
    facts = dict(executor.facts())
    assert 0 <= facts.pop("host_memory_gb") < 1
    assert (facts.pop("loading"), facts.pop("load_error")) == (None, None)
    assert facts == {
        "alive": True, "busy": False, "pid": pid, "device": "cpu", "device_memory_gb": 1.5,
        "model": "tiny",
    }  # fmt: skip


def test_the_worker_stays_for_the_next_task(executor: LocalExecutor) -> None:
    pids = set()
    for lease in "abc":
        executor.submit(_task("work", lease))
        ended = _until(executor, _ended)[-1]
        assert isinstance(ended, TaskEnded)
        pids.add(ended.output["pid"])
    assert len(pids) == 1


def test_other_settings_end_an_idle_worker_at_once(executor: LocalExecutor) -> None:
    executor.submit(_task("work"))
    _until(executor, _ended)
    executor.use(Settings(device="auto"))
    assert executor.capacity == 0
    _until(executor, lambda _: not executor.facts()["alive"])
    executor.submit(_task("work", "b"))
    _until(executor, _ended)
    assert executor.facts()["device"] == "auto"


def test_other_settings_wait_for_a_worker_that_is_busy(executor: LocalExecutor) -> None:
    executor.submit(_task("wait"))
    _until(executor, lambda messages: TaskStarted("a") in messages)
    executor.use(Settings(device="auto"))
    executor.messages(0.1)
    assert executor.facts()["alive"] is True
    executor.stop("a")
    _until(executor, _ended)
    _until(executor, lambda _: not executor.facts()["alive"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("do", "words"), [("die", "by SIGKILL; systems do that"), ("exit", "with exit code 3")]
)
def test_a_death_is_told_and_the_next_task_has_a_new_worker(
    executor: LocalExecutor, do: str, words: str
) -> None:
    executor.submit(_task(do))
    ended = _until(executor, _ended)[-1]
    assert isinstance(ended, TaskEnded)
    assert ended.outcome == "died"
    assert ended.error is not None
    assert ended.error.code == "worker_died"
    assert words in ended.error.message
    assert executor.facts()["alive"] is False
    executor.submit(_task("work", "b"))
    assert _until(executor, _ended)[-1].lease == "b"


def test_a_worker_that_does_not_start_is_a_death(tmp_path: Path) -> None:
    executor = LocalExecutor(Settings(), command=[str(tmp_path / "nothing")])
    executor.submit(_task("work"))
    ended = _until(executor, _ended)[-1]
    assert isinstance(ended, TaskEnded)
    assert ended.outcome == "died"
    assert executor.capacity == 1


def test_stop_reaches_the_task(executor: LocalExecutor) -> None:
    executor.submit(_task("wait"))
    _until(executor, lambda messages: TaskStarted("a") in messages)
    executor.stop("another")
    executor.stop("a")
    assert _until(executor, _ended)[-1] == TaskEnded("a", "stopped", {})


def test_an_idle_worker_ends_and_a_busy_one_does_not(
    executor: LocalExecutor, clocks: Clocks
) -> None:
    executor.submit(_task("wait"))
    _until(executor, lambda messages: TaskStarted("a") in messages)
    clocks.wait(3600)
    executor.messages(0.1)
    assert executor.facts()["alive"]
    executor.stop("a")
    _until(executor, _ended)
    clocks.wait(59)
    executor.messages(0.1)
    assert executor.facts()["alive"]
    clocks.wait(2)
    _until(executor, lambda _: not executor.facts()["alive"])
    assert executor.capacity == 1


def test_a_worker_that_had_better_end_is_waited_for(executor: LocalExecutor) -> None:
    executor.submit(_task("leave"))
    ended = _until(executor, _ended)[-1]
    assert isinstance(ended, TaskEnded)
    _until(executor, lambda _: executor.capacity)
    assert not psutil.pid_exists(ended.output["pid"])
    executor.submit(_task("work"))
    assert _until(executor, _ended)[-1].lease == "a"


def test_closing_kills_what_does_not_end(executor: LocalExecutor) -> None:
    executor.submit(_task("hang"))
    _until(executor, lambda messages: TaskStarted("a") in messages)
    pid = executor.facts()["pid"]
    executor.close(0.2)
    assert not psutil.pid_exists(pid)
    ended = _until(executor, _ended)[-1]
    assert isinstance(ended, TaskEnded)
    assert ended.outcome == "died"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups of this kind")
def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(executor: LocalExecutor) -> None:
    executor.submit(_task("wait"))
    _until(executor, lambda messages: TaskStarted("a") in messages)
    pid = executor.facts()["pid"]
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGINT)
    executor.stop("a")
    assert _until(executor, _ended)[-1] == TaskEnded("a", "stopped", {})


def test_networks_are_read_ahead_and_let_go(executor: LocalExecutor) -> None:
    executor.load("i2v")
    assert executor.facts()["loading"] == "i2v"
    assert not executor.facts()["alive"]
    _until(executor, lambda _: executor.facts()["model"] == "i2v")
    _until(executor, lambda _: executor.facts()["loading"] is None)
    pid = executor.facts()["pid"]
    executor.submit(_task("work"))
    ended = _until(executor, _ended)[-1]
    assert isinstance(ended, TaskEnded)
    assert ended.output == {"pid": pid}
    executor.unload()
    _until(executor, lambda _: not executor.facts()["alive"])
    assert executor.facts()["model"] is None
    executor.submit(_task("work", "b"))
    assert _until(executor, _ended)[-1].lease == "b"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("model", "words"), [("broken", "damaged"), ("die", "by SIGKILL")])
def test_networks_that_cannot_be_read_are_told_of(
    executor: LocalExecutor, model: str, words: str
) -> None:
    executor.load(model)
    _until(executor, lambda _: executor.facts()["load_error"])
    assert words in executor.facts()["load_error"]
    assert executor.facts()["loading"] is None
    executor.load("i2v")
    _until(executor, lambda _: executor.facts()["model"] == "i2v")
    assert executor.facts()["load_error"] is None


def test_a_task_at_work_is_done_before_anything_is_let_go(executor: LocalExecutor) -> None:
    executor.submit(_task("wait"))
    _until(executor, lambda messages: TaskStarted("a") in messages)
    executor.unload()
    executor.messages(0.1)
    assert executor.facts()["alive"]
    executor.stop("a")
    _until(executor, _ended)
    _until(executor, lambda _: not executor.facts()["alive"])


def test_changes_of_the_facts_are_told(executor: LocalExecutor) -> None:
    told: list[object] = []
    executor._on_change = lambda: told.append(executor.facts()["model"])
    executor.load("i2v")
    _until(executor, lambda _: executor.facts()["model"] == "i2v")
    executor.unload()
    _until(executor, lambda _: not executor.facts()["alive"])
    assert (told[0], "i2v" in told, told[-1]) == (None, True, None)
