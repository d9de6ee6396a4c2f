"""Work that a client's leaving must not cut short: once the store was asked, what was begun runs to its end.

A message that was committed is neither lost nor forgotten when the reply finds nobody (RFC 5321 §6.1, RFC 1047).
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from mta.mail.reply import Reply

_log = logging.getLogger(__name__)


class Unbroken:
    """Runs work for clients, and waits for it when they have gone."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Reply]] = set()

    async def run(self, work: Coroutine[Any, Any, Reply]) -> Reply:
        """Return what the work returns, or raise what it raises; when this is cancelled, the work goes on."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell)
            raise

    async def finish(self) -> None:
        """Wait for all work whose clients have gone."""
        while self._running:
            await asyncio.wait(self._running)


def _tell(task: asyncio.Task[Reply]) -> None:
    """Say what went wrong where no client is left to hear of it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a message was not taken in; its client had gone and heard no reply", exc_info=error)
