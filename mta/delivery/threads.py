"""Threads for work that would keep the event loop from everything else. What they have done is told together.

An executor of the library wakes the loop for each result, and joins two futures by callbacks for it: with a few hundred
signatures a second that costs the loop more than anything else about them.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec import Struct

T = TypeVar("T")


class _Job(Struct, frozen=True, eq=False):
    work: Callable[[], Any]
    answer: asyncio.Future[Any]


class _Done(Struct, frozen=True):
    job: _Job
    value: Any = None
    error: Exception | None = None


class Threads:
    """Used within one event loop. What still waits when the block ends is done before it ends."""

    def __init__(self, count: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[_Done] = deque()
        self._is_told = False
        """Whether the loop will look at what is done anyway."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._labour, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises. It is done to its end even if nobody waits for it."""
        job = _Job(work, asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        value: T = await job.answer
        return value

    def _answer(self) -> None:
        # first this, then the look: what is done in between tells again
        self._is_told = False
        while self._done:
            done = self._done.popleft()
            # who was cancelled does not wait any more
            if done.job.answer.done():
                continue
            if done.error is not None:
                done.job.answer.set_exception(done.error)
            else:
                done.job.answer.set_result(done.value)

    # from here on: their own

    def _labour(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                done = _Done(job, job.work())
            except Exception as error:
                done = _Done(job, error=error)
            self._done.append(done)
            if not self._is_told and self._loop is not None:
                self._is_told = True
                try:
                    self._loop.call_soon_threadsafe(self._answer)
                except RuntimeError:
                    return  # the loop is gone, and who waited with it
