"""News of jobs reach those who wait, from any thread, and none are lost."""

import asyncio
import threading
import time

from framepack.service.changes import Changes


def test_news_from_another_thread_end_the_wait() -> None:
    changes = Changes()

    async def main() -> tuple[bool, float]:
        threading.Timer(0.05, changes.publish, ["a"]).start()
        began = time.perf_counter()
        return await changes.wait("a", 5.0), time.perf_counter() - began

    heard, took = asyncio.run(main())
    assert heard
    assert took < 1.0


def test_news_that_come_while_nobody_waits_are_kept() -> None:
    changes = Changes()

    async def main() -> tuple[bool, bool]:
        with changes.listening("a") as listener:
            changes.publish("a")
            changes.publish("a")
            return await listener.wait(1.0), await listener.wait(0.02)

    assert asyncio.run(main()) == (True, False)


def test_news_of_other_jobs_wake_nobody() -> None:
    changes = Changes()

    async def main() -> bool:
        with changes.listening("a") as listener:
            changes.publish("b")
            return await listener.wait(0.02)

    assert not asyncio.run(main())


def test_every_listener_of_a_job_is_woken_and_forgotten_afterwards() -> None:
    changes = Changes()

    async def main() -> list[bool]:
        waits = [asyncio.create_task(changes.wait("a", 2.0)) for _ in range(20)]
        await asyncio.sleep(0.01)
        changes.publish("a")
        return await asyncio.gather(*waits)

    assert asyncio.run(main()) == [True] * 20
    assert changes._audiences == {}


def test_publishing_to_a_loop_that_is_gone_does_nothing() -> None:
    changes = Changes()

    async def main() -> None:
        changes.listening("a").__enter__()

    asyncio.run(main())
    changes.publish("a")

    async def later() -> bool:
        waiting = asyncio.create_task(changes.wait("a", 2.0))
        await asyncio.sleep(0.01)
        changes.publish("a")
        return await waiting

    assert asyncio.run(later()), "who listens now is told all the same"


def test_what_many_need_is_read_once() -> None:
    changes, reads = Changes(), []

    def read() -> int:
        time.sleep(0.05)
        reads.append(1)
        return len(reads)

    async def main() -> list[int]:
        async def one() -> int:
            with changes.listening("a") as listener:
                await listener.wait(2.0)
                return await listener.read(7, read)

        tasks = [asyncio.create_task(one()) for _ in range(20)]
        await asyncio.sleep(0.01)
        changes.publish("a")
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [1] * 20


def test_nobody_joins_a_read_that_began_before_his_news() -> None:
    changes, there = Changes(), ["old"]
    started, may_go = threading.Event(), threading.Event()

    def read() -> list[str]:
        found = list(there)
        started.set()
        may_go.wait(2.0)
        return found

    async def main() -> tuple[list[str], list[str]]:
        with changes.listening("a") as first, changes.listening("a") as second:
            early = asyncio.create_task(first.read(1, read))
            await asyncio.to_thread(started.wait)
            there.append("new")
            changes.publish("a")
            await second.wait(1.0)
            late = asyncio.create_task(second.read(1, read))
            await asyncio.sleep(0.02)
            may_go.set()
            return await early, await late

    assert asyncio.run(main()) == (["old"], ["old", "new"])


def test_who_watches_everything_hears_what_the_news_are_of() -> None:
    changes = Changes()

    async def main() -> tuple[set[str], set[str]]:
        with changes.watching() as watcher:
            for name in ("a", "b", "a"):
                changes.publish(name)
            heard = await watcher.news(5.0)
            threading.Timer(0.05, changes.publish, [""]).start()
            return heard, await watcher.news(5.0)

    assert asyncio.run(main()) == ({"a", "b"}, {""})
    changes.publish("c")  # nobody watches any more
    assert not changes._watchers
