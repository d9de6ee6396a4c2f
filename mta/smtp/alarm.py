"""One timer for the many waits of a connection: moved on, since making one for each would cost as much as reading a
command.
"""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls somebody when a wait has taken too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due: float | None = None
        """By the loop's clock; None: nobody waits."""
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """A wait begins that may take so long."""
        self._due = due = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= due:
                return  # it looks again when it comes too early
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def clear(self) -> None:
        """The wait is over."""
        self._due = None

    def close(self) -> None:
        """There will be no more waits."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        # a loop's timers may come a little early
        left = self._due - self._loop.time()
        if left > 0.001:
            self._timer = self._loop.call_at(self._due, self._look)
            return
        self._due = None
        self._ring()
