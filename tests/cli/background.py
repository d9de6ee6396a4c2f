"""Runs what is asynchronous beside tests that are not: commands begin and end event loops of their own."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def in_background(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter a context in the event loop of another thread, which runs until this one is left."""
    entered: Future[T] = Future()
    leave: Future[None] = Future()

    async def live() -> None:
        async with context as value:
            entered.set_result(value)
            await asyncio.wrap_future(leave)

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield entered.result(timeout=60)
    finally:
        leave.set_result(None)
        thread.join(timeout=60)
