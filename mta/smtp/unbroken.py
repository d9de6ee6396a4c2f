"""Work that a server's stop must not cut short: once the store was asked, what was begun runs to its end.

A client's leaving cuts nothing short anyway, since its task finds out by itself. A message that was committed is
neither lost nor forgotten when the reply finds nobody (RFC 5321 §6.1, RFC 1047).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from mta.mail.reply import Reply


class Unbroken:
    """Knows which clients' tasks must not be cancelled now. It needs no task of its own for that."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._over = asyncio.Event()

    async def run(self, work: Coroutine[Any, Any, Reply]) -> Reply:
        """Return what the work returns, or raise what it raises. Meanwhile `holds` is true of this task."""
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)
            if not self._tasks:
                self._over.set()

    def holds(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a task is doing such work."""
        return task in self._tasks

    async def finish(self) -> None:
        """Wait until no such work is being done."""
        while self._tasks:
            self._over.clear()
            await self._over.wait()
