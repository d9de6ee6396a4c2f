"""Work beside the event loop: results and errors come to who asked, whoever else leaves."""

import asyncio
import threading

import pytest

from mta.delivery.threads import Threads


async def test_each_gets_what_its_own_work_returned_or_raised() -> None:
    def work(number: int) -> int:
        if number % 5 == 0:
            raise LookupError(number)
        return number * number

    with Threads(2, "work") as threads:
        calls = (threads.run(lambda number=number: work(number)) for number in range(100))  # type: ignore[misc]  # a default
        results = await asyncio.gather(*calls, return_exceptions=True)
    for number, result in enumerate(results):
        assert (str(result) if number % 5 == 0 else result) == (str(number) if number % 5 == 0 else number * number)


async def test_it_is_done_beside_the_loop_which_goes_on() -> None:
    go = threading.Event()
    with Threads(1, "work") as threads:
        waiting = asyncio.create_task(threads.run(lambda: go.wait(30)))
        await asyncio.sleep(0)
        go.set()
        assert await waiting is True


async def test_who_leaves_harms_nobody_else() -> None:
    go, begun = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        go.wait(30)
        return "first"

    with Threads(1, "work") as threads:
        leaver = asyncio.create_task(threads.run(first))
        await asyncio.to_thread(begun.wait, 30)
        other = asyncio.create_task(threads.run(lambda: "other"))
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        go.set()
        assert await other == "other"


async def test_at_the_end_no_thread_is_left() -> None:
    before = threading.active_count()
    with Threads(3, "work") as threads:
        assert await threads.run(threading.active_count) == before + 3
    assert threading.active_count() == before
