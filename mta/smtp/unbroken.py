"""Work that a client's leaving must not cut short: once the store was asked, what was begun runs to its end.

A message that was committed is neither lost nor forgotten when the reply finds nobody (RFC 5321 §6.1, RFC 1047).
"""

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from mta.mail.reply import Reply

_log = logging.getLogger(__name__)


class Unbroken:
    """Runs work for clients, and waits for it when they have gone."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Reply]] = set()

    async def run(self, work: Coroutine[Any, Any, Reply]) -> Reply:
        """Return what the work returns, or raise what it raises; when this is cancelled, the work goes on."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        # not asyncio.shield, which takes the reply through two more callbacks
        answer: asyncio.Future[Reply] = loop.create_future()
        self._running.add(task)
        task.add_done_callback(partial(self._ended, answer))
        return await answer

    async def finish(self) -> None:
        """Wait for all work whose clients have gone."""
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, answer: asyncio.Future[Reply], task: asyncio.Task[Reply]) -> None:
        self._running.discard(task)
        if task.cancelled():
            answer.cancel()
            return
        error = task.exception()
        if answer.done():
            # nobody waits for it any more
            if error is not None:
                _log.error("a message was not taken in; its client had gone and heard no reply", exc_info=error)
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(task.result())
