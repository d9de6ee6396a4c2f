"""Equal work at the same time is done once."""

import asyncio

import pytest

from mta.delivery.single_flight import SingleFlight


class _Work:
    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.started = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        self.started.set()
        await self.gate.wait()
        return self.begun


async def test_those_who_wait_get_the_result_of_the_first() -> None:
    flights, work = SingleFlight[str, int](), _Work()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(flights.do("a", work)) for _ in range(5)]
        await work.started.wait()
        work.gate.set()
    assert [task.result() for task in tasks] == [1] * 5


async def test_work_that_is_done_is_not_remembered() -> None:
    flights, work = SingleFlight[str, int](), _Work()
    work.gate.set()
    assert [await flights.do("a", work), await flights.do("a", work)] == [1, 2]


async def test_other_keys_do_not_wait() -> None:
    flights, work = SingleFlight[str, int](), _Work()
    done = _Work()
    done.gate.set()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(flights.do("a", work))
        await work.started.wait()
        assert await flights.do("b", done) == 1
        work.gate.set()
    assert waiting.result() == 1


async def test_when_the_first_is_cancelled_another_takes_over() -> None:
    flights, work = SingleFlight[str, int](), _Work()
    first = asyncio.ensure_future(flights.do("a", work))
    await work.started.wait()
    second = asyncio.ensure_future(flights.do("a", work))
    await asyncio.sleep(0)
    first.cancel()
    work.gate.set()
    assert await second == 2
    assert first.cancelled()


async def test_when_the_work_of_the_first_fails_another_tries() -> None:
    flights, gate, begun = SingleFlight[str, int](), asyncio.Event(), 0

    async def fails_once() -> int:
        nonlocal begun
        begun += 1
        await gate.wait()
        if begun == 1:
            raise RuntimeError("first")
        return begun

    first = asyncio.ensure_future(flights.do("a", fails_once))
    second = asyncio.ensure_future(flights.do("a", fails_once))
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(RuntimeError, match="first"):
        await first
    assert await second == 2
