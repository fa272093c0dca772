"""The worker's loop: tasks in order, stops that reach them, and an end when nobody listens."""

import io
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from framepack.domain.settings import Settings
from framepack.service import logs
from framepack.service import worker as module
from framepack.service.lines import line_of, read_lines
from framepack.service.records import JobError
from framepack.service.tasks import TaskEnd, settings_values
from framepack.service.worker import Worker


class Runner:
    """Does tasks as they say themselves."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_worth_waiting = False
        self.jobs: list[str | None] = []

    def run(
        self,
        task: Mapping[str, Any],
        *,
        on_event: Callable[[Mapping[str, Any]], object],
        is_stopped: Callable[[], bool],
    ) -> TaskEnd:
        self.jobs.append(logs._job.get())
        on_event({"event": "SectionDone"})
        if task["does"] == "wait":
            while not is_stopped():
                threading.Event().wait(0.005)
            return TaskEnd("stopped")
        if task["does"] == "fail":
            return TaskEnd("failed", error=JobError("internal", "broken"), leaves=True)
        return TaskEnd("finished", {"device": self.settings.device})

    def load(self, model: str) -> str | None:
        return None if model == "tiny" else f"there is no {model}"

    def facts(self) -> dict[str, Any]:
        return {"device": "cpu", "device_memory_gb": None}


class Talk:
    """A worker on a thread, and what it says."""

    def __init__(self) -> None:
        self.said: list[Mapping[str, Any]] = []
        self.left = threading.Event()
        self.log_levels: list[int] = []
        self.worker = Worker(self.said.append, self.left.set, self.log_levels.append)
        self.thread = threading.Thread(target=self.worker.work)
        settings = settings_values(Settings(device="cpu"))
        self.worker.hear({"do": "settings", "settings": settings, "log_level": 30})
        self.thread.start()

    def run(self, lease: str, does: str = "work") -> None:
        self.worker.hear({"do": "run", "lease": lease, "job_id": f"video_{lease}", "does": does})

    def ended(self) -> list[tuple[str, str]]:
        return [(each["lease"], each["outcome"]) for each in self.said if each["say"] == "ended"]

    def finish(self) -> None:
        self.worker.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Talk:
    monkeypatch.setattr(module, "TaskRunner", Runner)
    return Talk()


def _wait(is_met: Callable[[], object]) -> None:
    for _ in range(2000):
        if is_met():
            return
        threading.Event().wait(0.005)
    raise AssertionError("waited for ten seconds")


def test_tasks_are_done_in_order_and_told_of(talk: Talk) -> None:
    talk.run("a"), talk.run("b")
    _wait(lambda: len(talk.ended()) == 2)
    talk.finish()
    assert talk.ended() == [("a", "finished"), ("b", "finished")]
    assert talk.log_levels == [30]
    runner: Any = talk.worker._runner
    assert runner.jobs == ["video_a", "video_b"]  # on every line that is logged meanwhile
    of_one = [each["say"] for each in talk.said][: len(talk.said) // 2]
    assert of_one == ["started", "event", "facts", "facts", "ended"]


def test_networks_are_read_when_they_are_asked_for(talk: Talk) -> None:
    for model in ("tiny", "huge"):
        talk.worker.hear({"do": "load", "model": model})
    _wait(lambda: len(talk.said) == 4)
    talk.finish()
    assert [each["say"] for each in talk.said] == ["facts", "loaded"] * 2
    assert [talk.said[1]["error"], talk.said[3]["error"]] == [None, "there is no huge"]


def test_a_stop_reaches_its_task_alone(talk: Talk) -> None:
    talk.run("a", "wait")
    talk.worker.hear({"do": "stop", "lease": "b"})
    _wait(lambda: len(talk.said) == 3)
    assert talk.ended() == []
    talk.worker.hear({"do": "stop", "lease": "a"})
    _wait(talk.ended)
    talk.finish()
    assert talk.ended() == [("a", "stopped")]


def test_closing_stops_the_task_and_takes_no_other(talk: Talk) -> None:
    talk.run("a", "wait"), talk.run("b")
    _wait(lambda: talk.said)
    talk.finish()
    assert talk.ended() == [("a", "stopped")]


def test_a_task_that_leaves_a_doubt_ends_the_worker(talk: Talk) -> None:
    talk.run("a", "fail"), talk.run("b")
    talk.thread.join(10)
    assert talk.ended() == [("a", "failed")]
    assert talk.said[-1]["leaves"]


def test_an_abandoned_worker_ends_at_once_unless_a_section_is_nearly_done(talk: Talk) -> None:
    talk.run("a", "wait")
    _wait(lambda: talk.said)
    runner: Any = talk.worker._runner
    runner.is_worth_waiting = True
    talk.worker.abandon()
    assert not talk.left.is_set()
    talk.thread.join(10)
    runner.is_worth_waiting = False
    talk.worker.abandon()
    assert talk.left.is_set()


def test_lines_carry_any_text_and_one_that_was_cut_short_is_left_out() -> None:
    said = [{"say": "ünï\n火\udcff"}, {"n": 1}]
    stream = b"".join(map(line_of, said))
    assert stream.isascii()
    assert stream.count(b"\n") == 2
    assert list(read_lines(io.BytesIO(stream))) == said
    assert list(read_lines(io.BytesIO(stream[:-1]))) == said[:1]
