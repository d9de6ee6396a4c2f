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
        self.is_done = False
        self._error = error

    async def __call__(self) -> Reply:
        self.begun.set()
        await self.gate.wait()
        self.is_done = True
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


@pytest.mark.parametrize("error", [None, StoreUnavailable("locked"), ZeroDivisionError()])
async def test_it_runs_to_its_end_when_its_caller_is_cut_off_and_failures_are_told(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    unbroken, work = Unbroken(), Work(error)
    caller = asyncio.ensure_future(unbroken.run(work()))
    async with asyncio.timeout(30):
        await work.begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        finishing = asyncio.ensure_future(unbroken.finish())
        await asyncio.sleep(0)
        assert (work.is_done, finishing.done()) == (False, False)
        work.gate.set()
        await finishing
    assert work.is_done
    assert ("was not taken in" in caplog.text) is (error is not None)
