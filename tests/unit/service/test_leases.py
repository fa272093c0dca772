"""What workers tell: only the holder of a job's lease is listened to, and each job has one end."""

import threading
from pathlib import Path

import pytest
from tests.helpers.jobs import House

from framepack.service.leases import FARTHEST_RETRY_S
from framepack.service.records import JobError, Progress

DIED = JobError("worker_died", "it died")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "data")


def _claim(house: House) -> tuple[str, str]:
    job = house.leases.claim()
    assert job is not None
    assert job.lease is not None
    return job.id, job.lease


def test_a_job_is_taken_once_however_many_ask(house: House) -> None:
    ids = {house.add().id for _ in range(5)}
    taken: list[str] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        job = house.leases.claim()
        if job is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


def test_who_lost_the_lease_is_not_listened_to(house: House) -> None:
    house.add()
    job, old = _claim(house)
    assert house.leases.release_all() == (job,)
    job, new = _claim(house)
    before = house.store.get(job), house.kinds(job)
    leases = house.leases
    assert not leases.record(job, old, "StepDone", {}, Progress(fraction=0.5))
    assert not leases.complete(job, old, {"video": "old.mp4"})
    assert not leases.fail(job, old, DIED)
    assert not leases.stopped(job, old, "cancelled")
    assert not leases.release(job, old)
    assert not leases.heartbeat(job, old)
    assert (house.store.get(job), house.kinds(job)) == before
    assert leases.complete(job, new, {"video": "new.mp4"})
    assert not leases.complete(job, new, {"video": "again.mp4"})
    assert house.store.get(job).output == {"video": "new.mp4"}
    assert house.kinds(job).count("Completed") == 1


def test_completion_ends_progress_and_says_when_files_go(house: House) -> None:
    house.add()
    job, lease = _claim(house)
    house.leases.record(job, lease, "StepDone", {"step": 1}, Progress(0.4, seconds_left=9.0))
    house.leases.complete(job, lease, {"video": "video.mp4"}, keep_s=60)
    done = house.store.get(job)
    assert (done.progress.fraction, done.progress.seconds_left) == (1.0, 0.0)
    assert done.expires_at == house.clocks.wall + 60
    assert house.store.expired(house.clocks.wall + 59) == ()
    assert [each.id for each in house.store.expired(house.clocks.wall + 60)] == [job]


def test_a_job_put_back_after_a_failure_waits(house: House) -> None:
    house.add()
    job, lease = _claim(house)
    house.leases.release(job, lease, DIED, wait_s=10)
    assert house.store.get(job).attempts == 1
    assert house.leases.claim() is None
    house.clocks.wait(10)
    assert _claim(house)[0] == job
    assert house.kinds(job) == ["Queued", "Started", "Retried", "Resumed"]


def test_a_shutdown_does_not_count(house: House) -> None:
    house.add()
    job, lease = _claim(house)
    house.leases.release(job, lease)
    assert house.store.get(job).attempts == 0
    assert _claim(house)[0] == job


def test_a_wait_that_a_clock_set_back_made_endless_is_over(house: House) -> None:
    house.add()
    job, lease = _claim(house)
    house.leases.release(job, lease, DIED, wait_s=10)
    house.clocks.jump(-2 * FARTHEST_RETRY_S)  # while no server ran to notice
    assert _claim(house)[0] == job


def test_what_was_wanted_meanwhile_is_honoured(house: House) -> None:
    for wanted, state in (("cancel", "cancelled"), ("pause", "paused")):
        house.add()
        job, lease = _claim(house)
        getattr(house.store, wanted)(job)
        house.leases.release(job, lease)
        assert house.store.get(job).state == state


def test_a_clock_that_was_changed_moves_what_is_still_to_come(house: House) -> None:
    house.add()
    job, lease = _claim(house)
    house.leases.complete(job, lease, {}, keep_s=100)
    house.add()
    waiting, lease = _claim(house)
    house.leases.release(waiting, lease, DIED, wait_s=10)
    due = house.add()
    house.clocks.jump(5000)
    house.leases.shift(5000)
    assert house.store.get(job).expires_at == house.clocks.wall + 100
    assert house.store.get(waiting).available_at == house.clocks.wall + 10
    assert house.store.get(due.id).available_at < house.clocks.wall
    assert house.store.get(due.id).created_at == due.created_at


def test_changes_are_announced_after_they_are_kept(tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    seen: list[tuple[str, str]] = []
    house.leases._on_change = lambda job: seen.append((job, house.store.get(job).state))
    house.add()
    job, lease = _claim(house)
    house.leases.complete(job, lease, {})
    assert seen == [(job, "running"), (job, "completed")]
