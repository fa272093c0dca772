"""What users ask of jobs: order, pages, pause, cancel, retry, quotas, idempotency."""

import threading
from pathlib import Path

import pytest
from tests.helpers.jobs import House

from framepack.service.records import (
    IdempotencyConflict,
    NoSuchJob,
    QueueFull,
    QuotaExceeded,
    WrongState,
)
from framepack.service.store import new_job_id


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "data")


def _run(house: House, job_id: str) -> str:
    job = house.leases.claim()
    assert job is not None
    assert job.id == job_id
    assert job.lease is not None
    return job.lease


def test_ids_cannot_be_guessed() -> None:
    ids = {new_job_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(each.startswith("video_") and len(each) == 30 for each in ids)


def test_a_job_is_kept_as_it_was_sent(house: House) -> None:
    sent = house.add(prompt="Ünïcödé — 火\n\0end", seed=2**32 - 1)
    house.database.close()
    house.open()
    assert house.store.get(sent.id) == sent
    assert sent.request["prompt"] == "Ünïcödé — 火\n\0end"


def test_pages_follow_each_other_without_gap_or_overlap(house: House) -> None:
    ids = [house.add().id for _ in range(7)]
    found: list[str] = []
    after = None
    for size, has_more in ((3, True), (3, True), (1, False)):
        page = house.store.page(after=after, limit=3)
        assert (len(page.jobs), page.has_more) == (size, has_more)
        found += [job.id for job in page.jobs]
        after = found[-1]
    assert found == ids[::-1]
    assert [job.id for job in house.store.page(newest_first=False).jobs] == ids


def test_a_page_holds_one_owners_jobs_in_the_states_asked_for(house: House) -> None:
    mine, _ = house.store.create(new_job_id(), {}, {}, owner="me")
    yours, _ = house.store.create(new_job_id(), {}, {}, owner="you")
    house.store.cancel(yours.id)
    assert [job.id for job in house.store.page(owner="me").jobs] == [mine.id]
    assert [job.id for job in house.store.page(states=["cancelled"]).jobs] == [yours.id]
    with pytest.raises(NoSuchJob):
        house.store.get(yours.id, owner="me")


def test_moving_changes_the_turn(house: House) -> None:
    a, b, c = (house.add().id for _ in range(3))
    house.store.move(c, before=a)
    assert [job.id for job in house.store.queue()] == [c, a, b]
    house.store.move(a, before=c)
    assert [job.id for job in house.store.queue()] == [a, c, b]
    house.store.move(b, priority=1)
    assert [job.id for job in house.store.queue()] == [b, a, c]
    house.store.move(a, before=b)
    assert [job.id for job in house.store.queue()] == [a, b, c]
    house.store.cancel(a)
    with pytest.raises(WrongState, match="is cancelled; needed: queued or paused"):
        house.store.move(a, priority=3)


def test_many_moves_between_the_same_two_keep_their_order(house: House) -> None:
    first, last = house.add().id, house.add().id
    moved = [house.add().id for _ in range(40)]
    for each in moved:
        house.store.move(each, before=last)
    assert [job.id for job in house.store.queue()] == [first, *moved, last]


def test_waiting_jobs_are_cancelled_and_paused_at_once(house: House) -> None:
    job = house.add().id
    assert house.store.pause(job).state == "paused"
    assert house.leases.claim() is None
    assert house.store.unpause(job).state == "queued"
    cancelled = house.store.cancel(job)
    assert cancelled.state == "cancelled"
    assert cancelled.error is not None
    assert cancelled.error.code == "cancelled"
    assert house.kinds(job) == ["Queued", "Paused", "Queued", "Cancelled"]


def test_running_jobs_are_asked(house: House) -> None:
    job = house.add().id
    _run(house, job)
    assert house.store.pause(job).wanted == "pause"
    assert house.store.cancel(job).wanted == "cancel"
    assert house.store.pause(job).wanted == "cancel"
    assert house.store.get(job).state == "running"


def test_jobs_that_have_ended_stay_as_they_are(house: House) -> None:
    job = house.add().id
    house.leases.complete(job, _run(house, job), {"video": "video.mp4"})
    assert house.store.cancel(job).state == "completed"
    with pytest.raises(WrongState):
        house.store.pause(job)
    with pytest.raises(WrongState):
        house.store.retry(job)


def test_a_retry_begins_with_fresh_attempts(house: House) -> None:
    job = house.add().id
    house.store.cancel(job)
    again = house.store.retry(job)
    assert (again.state, again.attempts, again.error) == ("queued", 0, None)


def test_a_paused_queue_begins_nothing_even_after_a_restart(house: House) -> None:
    house.add()
    house.store.pause_queue(True)
    house.open()
    assert house.store.is_paused
    assert house.leases.claim() is None
    house.store.pause_queue(False)
    assert house.leases.claim() is not None


def test_running_jobs_cannot_be_deleted_and_others_leave_nothing(house: House) -> None:
    job = house.add().id
    lease = _run(house, job)
    with pytest.raises(WrongState):
        house.store.delete(job)
    house.leases.stopped(job, lease, "cancelled")
    house.store.delete(job)
    with pytest.raises(NoSuchJob):
        house.store.get(job)
    assert house.store.events(job) == ()


def test_limits_of_waiting_jobs_refuse_one_more(house: House) -> None:
    def send(owner: str) -> None:
        house.store.create(new_job_id(), {}, {}, owner=owner, max_waiting=3, owner_max_waiting=2)

    send("a"), send("a")
    with pytest.raises(QuotaExceeded, match="has 2 jobs"):
        send("a")
    send("b")
    with pytest.raises(QueueFull, match="3 jobs wait"):
        send("c")
    assert house.store.counts() == {"queued": 3}


def test_the_same_key_is_the_same_job_and_another_request_a_conflict(house: House) -> None:
    def send(fingerprint: str, owner: str = "") -> tuple[str, bool]:
        job, is_new = house.store.create(
            new_job_id(), {}, {}, owner=owner, idempotency_key="k", fingerprint=fingerprint
        )
        return job.id, is_new

    first, is_new = send("one")
    assert is_new
    assert send("one") == (first, False)
    with pytest.raises(IdempotencyConflict):
        send("two")
    assert send("two", owner="other")[1]


def test_the_same_key_sent_at_the_same_time_makes_one_job(house: House) -> None:
    barrier = threading.Barrier(8)
    found: list[str] = []

    def send() -> None:
        barrier.wait()
        job, _ = house.store.create(new_job_id(), {}, {}, idempotency_key="k", fingerprint="f")
        found.append(job.id)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert house.store.counts() == {"queued": 1}


def test_events_are_numbered_without_gap_and_replayed_from_any(house: House) -> None:
    job = house.add().id
    house.store.pause(job)
    house.store.unpause(job)
    events = house.store.events(job)
    assert [event.seq for event in events] == [1, 2, 3]
    assert house.store.events(job, after=2) == events[2:]
    assert house.store.events(job, limit=1) == events[:1]


def test_jobs_are_found_by_words_of_their_prompts(house: House) -> None:
    ball = house.add(prompt="A RED ball, Größe zwei", seed=11)
    dog = house.add(prompt="a dog", section_prompts=[{"prompt": "a red bird"}], seed=22)

    def found(search: str) -> list[str]:
        return [job.id for job in house.store.page(search=search, newest_first=False).jobs]

    assert found("red") == [ball.id, dog.id]
    assert found("ball RED") == [ball.id]
    assert found("grösse") == [ball.id]  # as ß is folded
    assert found("dog bird") == [dog.id]
    assert found("cat") == []
    assert found("100%") == []
    assert found("  ") == [ball.id, dog.id]


def test_jobs_are_found_by_their_seed_and_the_beginning_of_their_id(house: House) -> None:
    first = house.add(seed=11)
    second = house.add(seed=112)
    assert [job.id for job in house.store.page(search="11").jobs] == [first.id]
    for text in (second.id, second.id[:14], second.id[6:16]):
        assert [job.id for job in house.store.page(search=text).jobs] == [second.id]
    assert house.store.page(search="video_").jobs == ()


def test_jobs_of_a_group_are_found(house: House) -> None:
    inside, _ = house.store.create(new_job_id(), {}, {}, options={"group": "grid"})
    alone = house.add()
    assert [job.id for job in house.store.page(group="grid").jobs] == [inside.id]
    assert [job.id for job in house.store.page(group="").jobs] == [alone.id]
