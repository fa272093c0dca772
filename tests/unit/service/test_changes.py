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
    assert changes._listeners == {}


def test_publishing_to_a_loop_that_is_gone_does_nothing() -> None:
    changes = Changes()

    async def main() -> None:
        changes.listening("a").__enter__()

    asyncio.run(main())
    changes.publish("a")
