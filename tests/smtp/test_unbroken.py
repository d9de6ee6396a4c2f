import asyncio

import pytest

from mta.errors import StoreUnavailable
from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.unbroken import Unbroken


class Work:
    """Waits until a test lets it, then ends."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self._error = error

    async def __call__(self) -> Reply:
        self.begun.set()
        await self.gate.wait()
        if self._error is not None:
            raise self._error
        return failures.OK


async def test_its_reply_and_its_errors_are_the_callers() -> None:
    unbroken, fine, bad = Unbroken(), Work(), Work(StoreUnavailable("locked"))
    fine.gate.set()
    bad.gate.set()
    assert await unbroken.run(fine()) == failures.OK
    with pytest.raises(StoreUnavailable):
        await unbroken.run(bad())
    async with asyncio.timeout(30):
        await unbroken.finish()


async def test_it_knows_whose_work_is_under_way_and_waits_for_all_of_it() -> None:
    unbroken, works = Unbroken(), [Work(), Work(StoreUnavailable("locked")), Work()]
    async with asyncio.timeout(30):
        tasks = [asyncio.create_task(unbroken.run(work())) for work in works]
        idle = asyncio.create_task(asyncio.sleep(0))
        for work in works:
            await work.begun.wait()
        assert [unbroken.holds(task) for task in (*tasks, idle)] == [True, True, True, False]
        finishing = asyncio.create_task(unbroken.finish())
        for number, work in enumerate(works):
            assert not finishing.done()
            work.gate.set()
            await asyncio.wait([tasks[number]])
            assert not unbroken.holds(tasks[number])
        await finishing
        # it can be waited for again, whatever was done before
        last = Work()
        task = asyncio.create_task(unbroken.run(last()))
        await last.begun.wait()
        finishing = asyncio.create_task(unbroken.finish())
        await asyncio.sleep(0)
        assert not finishing.done()
        last.gate.set()
        await finishing
        assert await task == failures.OK
