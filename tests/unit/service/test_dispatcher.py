"""Jobs go to the executor in their turn, and whatever happens there, each has one end."""

import itertools
import sqlite3
import time
from pathlib import Path

import pytest
from tests.helpers.jobs import House, ScriptedExecutor, section_done, step_done

from framepack.domain.errors import FramePackError
from framepack.domain.fallbacks import FALLBACKS
from framepack.service import database
from framepack.service.dispatcher import DAY_S, LONGEST_DELAY_S, Dispatcher, retry_delay_s
from framepack.service.files import JobFolder
from framepack.service.options import ServiceConfig
from framepack.service.records import StoreBusy

OUTPUT = {"video": "video.mp4", "num_frames": 29}


class Bench:
    """A dispatcher without its thread, in a house of its own."""

    def __init__(self, path: Path, **config: float) -> None:
        self.house = House(path)
        self.executor = ScriptedExecutor()
        self.config = ServiceConfig(**config)
        self.start()

    def start(self) -> None:
        self.dispatcher = Dispatcher(
            self.house.store,
            self.house.leases,
            self.executor,
            self.house.data,
            self.config,
            clock=lambda: self.house.clocks.wall,
            monotonic=lambda: self.house.clocks.steady,
        )
        self.dispatcher.prepare()

    def turn(self) -> None:
        self.dispatcher.turn(0)

    def end(self, *args: object, **kwargs: object) -> None:
        self.executor.end(*args, **kwargs)
        self.turn()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "data")


def test_jobs_are_taken_one_after_the_other_by_priority(bench: Bench) -> None:
    first, second = bench.house.add(), bench.house.add()
    bench.house.store.move(second.id, priority=5)
    bench.turn()
    bench.turn()
    assert [task.job_id for task in bench.executor.tasks] == [second.id]
    bench.end("finished", output=OUTPUT)
    assert [task.job_id for task in bench.executor.tasks] == [second.id, first.id]
    assert bench.house.store.get(second.id).output == OUTPUT


def test_task_has_the_seed_of_the_plan_so_that_every_try_makes_the_same_video(bench: Bench) -> None:
    job, _ = bench.house.store.create("video_1", {"prompt": "x"}, {"seed": 41})
    bench.turn()
    assert bench.executor.tasks[0].request == {"prompt": "x", "seed": 41}
    assert bench.executor.tasks[0].folder == bench.house.data.job(job.id).path


def test_events_are_logged_and_progress_grows(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    fractions = []
    for event in (step_done(1), step_done(2), section_done(0), step_done(1, 1), section_done(1)):
        bench.executor.tell(event)
        bench.turn()
        fractions.append(bench.house.store.get(job.id).progress.fraction)
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] < 1
    progress = bench.house.store.get(job.id).progress
    assert (progress.section, progress.num_sections) == (2, 2)
    logged = "StepDone StepDone SectionDone StepDone SectionDone"
    assert bench.house.kinds(job.id)[2:] == logged.split()


def test_a_section_is_logged_once_however_often_it_is_told(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    bench.executor.tell(section_done(0))
    bench.end("died", "worker_died")
    bench.house.clocks.wait(10)
    bench.turn()
    bench.executor.tell(section_done(0))
    bench.executor.tell(section_done(1))
    bench.turn()
    assert bench.house.kinds(job.id).count("SectionDone") == 2


def test_a_cancelled_job_is_stopped_once_and_ends_cancelled(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    bench.house.store.cancel(job.id)
    bench.turn()
    bench.turn()
    assert bench.executor.stopped == [bench.executor.tasks[0].lease]
    bench.end("stopped")
    ended = bench.house.store.get(job.id)
    assert (ended.state, ended.error and ended.error.code) == ("cancelled", "cancelled")


@pytest.mark.parametrize("outcome", ["died", "failed", "busy"])
def test_a_cancelled_job_is_not_tried_again_whatever_became_of_it(
    bench: Bench, outcome: str
) -> None:
    job = bench.house.add()
    bench.turn()
    bench.house.store.cancel(job.id)
    bench.end(outcome, "internal")
    assert bench.house.store.get(job.id).state == "cancelled"


def test_a_job_that_finished_before_the_cancel_reached_it_is_completed(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    bench.house.store.cancel(job.id)
    bench.end("finished", output=OUTPUT)
    assert bench.house.store.get(job.id).state == "completed"


def test_a_paused_job_waits_and_goes_on(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    bench.house.store.pause(job.id)
    bench.turn()
    bench.end("stopped")
    bench.turn()
    assert bench.house.store.get(job.id).state == "paused"
    assert len(bench.executor.tasks) == 1
    bench.house.store.unpause(job.id)
    bench.turn()
    assert [task.job_id for task in bench.executor.tasks] == [job.id] * 2


def test_a_dead_worker_means_another_try_after_a_growing_wait_and_then_failure(
    bench: Bench,
) -> None:
    job = bench.house.add(max_attempts=3)
    waits = []
    for _ in range(3):
        bench.turn()
        bench.end("died", "worker_died")
        started = bench.house.clocks.steady
        while bench.house.store.get(job.id).state == "queued":
            bench.turn()
            bench.house.clocks.wait(0.25)
        waits.append(bench.house.clocks.steady - started)
    assert waits[0] == pytest.approx(1, abs=0.5)
    assert waits[1] == pytest.approx(2, abs=0.5)
    failed = bench.house.store.get(job.id)
    assert (failed.state, failed.error and failed.error.code) == ("failed", "worker_died")
    assert len(bench.executor.tasks) == 3


def test_a_finished_section_renews_the_attempts(bench: Bench) -> None:
    job = bench.house.add(max_attempts=2)
    for index in range(4):
        bench.turn()
        bench.executor.tell(section_done(index, 9))
        bench.end("died", "worker_died")
        bench.house.clocks.wait(5)
    assert bench.house.store.get(job.id).state in ("queued", "running")


def test_waits_double_up_to_a_limit() -> None:
    waits = [retry_delay_s(attempts) for attempts in range(1, 12)]
    assert waits[:4] == [1, 2, 4, 8]
    assert all(a <= b for a, b in itertools.pairwise(waits))
    assert waits[-1] == LONGEST_DELAY_S


@pytest.mark.parametrize("code", ["invalid_request", "missing_weights", "damaged_run"])
def test_what_would_fail_again_is_tried_once(bench: Bench, code: str) -> None:
    job = bench.house.add()
    bench.turn()
    bench.end("failed", code)
    assert bench.house.store.get(job.id).state == "failed"


def test_memory_that_runs_out_is_met_with_each_fallback_and_then_fails_clearly(
    bench: Bench,
) -> None:
    job = bench.house.add(max_attempts=1)
    for _ in FALLBACKS:
        bench.turn()
        bench.end("failed", "out_of_memory")
    assert [task.fallback for task in bench.executor.tasks] == list(range(len(FALLBACKS)))
    failed = bench.house.store.get(job.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error.code == "out_of_memory"
    assert "smaller resolution" in failed.error.message


def test_a_fallback_outlives_the_server_and_ends_with_a_failure(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    bench.end("failed", "out_of_memory")
    assert bench.executor.tasks[-1].fallback == 1
    bench.dispatcher.stop(0)
    bench.dispatcher._wind_down()
    bench.executor = ScriptedExecutor()
    bench.start()
    bench.turn()
    assert bench.executor.tasks[-1].fallback == 1
    bench.end("failed", "invalid_request")
    bench.house.store.retry(job.id)
    bench.turn()
    assert bench.executor.tasks[-1].fallback == 0


def test_a_busy_run_is_tried_again_without_counting(bench: Bench) -> None:
    job = bench.house.add(max_attempts=1)
    for _ in range(5):
        bench.turn()
        bench.end("busy")
        bench.house.clocks.wait(1)
    assert bench.house.store.get(job.id).attempts == 0
    bench.turn()
    bench.end("finished", output=OUTPUT)
    assert bench.house.store.get(job.id).state == "completed"


def test_start_puts_back_what_a_dead_server_worked_on(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    lease = bench.executor.tasks[0].lease
    bench.dispatcher._lock.release()  # as the system does when a process dies
    bench.executor = ScriptedExecutor()
    bench.start()
    assert bench.house.store.get(job.id).state == "queued"
    assert bench.house.store.get(job.id).attempts == 0
    bench.turn()
    assert bench.executor.tasks[0].lease != lease
    assert not bench.house.leases.complete(job.id, lease, OUTPUT)


def test_two_servers_do_not_share_a_data_folder(bench: Bench) -> None:
    second = Dispatcher(
        bench.house.store, bench.house.leases, ScriptedExecutor(), bench.house.data, bench.config
    )
    with pytest.raises(FramePackError, match="another server uses the data folder"):
        second.start()


def test_heartbeats_are_kept_up_by_the_steady_clock(bench: Bench) -> None:
    job = bench.house.add()
    bench.turn()
    with bench.house.database.reading() as connection:
        beat = "SELECT heartbeat_at FROM jobs WHERE id = ?"
        first = connection.execute(beat, (job.id,)).fetchone()[0]
        bench.house.clocks.wait(6)
        bench.turn()
        assert connection.execute(beat, (job.id,)).fetchone()[0] == first + 6


def test_a_task_whose_lease_is_lost_is_stopped(bench: Bench) -> None:
    bench.house.add()
    bench.turn()
    bench.house.leases.release_all()
    bench.house.clocks.wait(6)
    bench.turn()
    assert bench.executor.stopped == [bench.executor.tasks[0].lease]


@pytest.mark.parametrize("jump_s", [-7 * DAY_S, -600, 600, 400 * DAY_S])
def test_a_clock_that_jumps_neither_shortens_nor_lengthens_a_wait(
    bench: Bench, jump_s: float
) -> None:
    bench.house.add()
    bench.turn()
    bench.end("died", "worker_died")
    bench.house.clocks.jump(jump_s)
    bench.house.clocks.wait(0.3)
    bench.turn()
    assert len(bench.executor.tasks) == 1
    bench.house.clocks.wait(1)
    bench.turn()
    assert len(bench.executor.tasks) == 2


def test_files_are_removed_when_their_time_is_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", keep_days=2)
    job = bench.house.add()
    bench.turn()
    folder = bench.house.data.job(job.id)
    (folder.output / "video.mp4").write_bytes(b"v")
    bench.end("finished", output=OUTPUT)
    bench.house.clocks.wait(1.9 * DAY_S)
    bench.turn()
    assert (folder.output / "video.mp4").exists()
    bench.house.clocks.wait(0.2 * DAY_S)
    bench.turn()
    assert not folder.output.exists()
    ended = bench.house.store.get(job.id)
    assert (ended.state, dict(ended.output)) == ("completed", {"num_frames": 29})
    assert bench.house.kinds(job.id)[-1] == "Expired"
    bench.house.clocks.wait(60)
    bench.turn()
    assert bench.house.kinds(job.id).count("Expired") == 1


@pytest.mark.parametrize("jump_s", [-30 * DAY_S, 30 * DAY_S])
def test_retention_is_not_fooled_by_a_clock_that_jumps(tmp_path: Path, jump_s: float) -> None:
    bench = Bench(tmp_path / "data", keep_days=2)
    job = bench.house.add()
    bench.turn()
    folder = bench.house.data.job(job.id)
    bench.end("finished", output=OUTPUT)
    bench.house.clocks.jump(jump_s)
    bench.turn()
    bench.house.clocks.wait(1.9 * DAY_S)
    bench.turn()
    assert folder.output.exists()
    bench.house.clocks.wait(0.2 * DAY_S)
    bench.turn()
    assert not folder.output.exists()


def test_nothing_that_was_said_is_lost_while_the_database_is_locked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    bench.house.open()
    bench.dispatcher._lock.release()
    bench.start()
    job = bench.house.add()
    bench.turn()
    other = sqlite3.connect(bench.house.data.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    bench.executor.tell(step_done(1))
    bench.executor.tell(section_done(0))
    bench.executor.end("finished", output=OUTPUT)
    for _ in range(3):
        with pytest.raises(StoreBusy):
            bench.turn()
    other.execute("ROLLBACK")
    other.close()
    bench.turn()
    assert bench.house.store.get(job.id).state == "completed"
    assert bench.house.kinds(job.id)[2:] == ["StepDone", "SectionDone", "Completed"]


def test_a_folder_that_cannot_be_made_fails_its_job_alone(bench: Bench) -> None:
    blocked, fine = bench.house.add(max_attempts=1), bench.house.add()
    bench.house.data.job(blocked.id).path.write_bytes(b"in the way")
    bench.turn()
    failed = bench.house.store.get(blocked.id)
    assert failed.error is not None
    assert (failed.state, failed.error.code) == ("failed", "internal")
    assert [task.job_id for task in bench.executor.tasks] == [fine.id]


def test_files_that_cannot_be_removed_are_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "data", keep_days=1)
    job = bench.house.add()
    bench.turn()
    bench.end("finished", output=OUTPUT)
    bench.house.clocks.wait(1.1 * DAY_S)

    def refuse(folder: JobFolder) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(JobFolder, "remove_outputs", refuse)
        bench.turn()
    assert bench.house.store.get(job.id).output == OUTPUT
    bench.house.clocks.wait(60)
    bench.turn()
    assert bench.house.kinds(job.id)[-1] == "Expired"


def test_stopping_puts_the_job_back_without_counting_and_closes_the_executor(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "data")
    job = bench.house.add()
    bench.dispatcher._thread.start()
    while not bench.executor.tasks:
        time.sleep(0.01)
    bench.dispatcher.stop(0)
    back = bench.house.store.get(job.id)
    assert (back.state, back.attempts) == ("queued", 0)
    assert bench.executor.closed
    assert not bench.dispatcher.is_alive
