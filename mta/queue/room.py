"""How many octets of large messages attempts have in memory together. One that finds no room waits until those before
it are done, in the order of arrival, so that a very large one is not overtaken for ever. Small messages have no part in
it: the number of attempts bounds them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

SMALL = 256 * 1024
"""Octets of a message that needs no room."""

_NOTHING = nullcontext()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Somebody who waits for room."""

    octets: int
    called: asyncio.Future[None]


class Room:
    """Shared by all attempts of a worker. Used by one event loop only."""

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._used = 0
        self._waiting: deque[_Waiter] = deque()

    @property
    def used(self) -> int:
        """Octets that are taken now."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def for_message(self, size: int) -> AbstractAsyncContextManager[None]:
        """Have room for a message of so many octets while this is entered; one that is larger than all the room has it
        to itself."""
        return _NOTHING if size <= SMALL else self._held(min(size, self._octets))

    @asynccontextmanager
    async def _held(self, octets: int) -> AsyncIterator[None]:
        if self._waiting or not self._fits(octets):
            await self._wait(octets)
        else:
            self._used += octets
        try:
            yield
        finally:
            self._give_back(octets)

    async def _wait(self, octets: int) -> None:
        waiter = _Waiter(octets, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            await waiter.called
        except asyncio.CancelledError:
            if waiter.called.cancelled():
                self._waiting.remove(waiter)
                self._serve()
            else:
                # both at once: it was called and cancelled
                self._give_back(octets)
            raise

    def _fits(self, octets: int) -> bool:
        return self._used + octets <= self._octets

    def _give_back(self, octets: int) -> None:
        self._used -= octets
        self._serve()

    def _serve(self) -> None:
        """Call those whose turn it is."""
        while self._waiting:
            first = self._waiting[0]
            if first.called.cancelled():
                # it goes by itself, and calls the next one then
                return
            if not self._fits(first.octets):
                return
            self._waiting.popleft()
            self._used += first.octets
            first.called.set_result(None)
