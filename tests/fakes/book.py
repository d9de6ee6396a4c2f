"""A book of standings that counts what is asked of it, and can be made to wait or to fail."""

import asyncio
from collections.abc import Sequence

from mta.accounts.standing import Book, Standing
from mta.errors import StoreUnavailable
from mta.events import Event
from mta.reputation.rates import Tally


class WatchedBook:
    """Another book, watched."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.judged: list[Standing] = []
        """Whose counts were read, in order."""
        self.reading: asyncio.Event | None = None
        """While set to an event, what was read is handed out only when it is set."""
        self.waiting = 0
        self.refuses_writes = False

    async def standings(self) -> Sequence[Standing]:
        """Return every standing."""
        found = list(await self._book.standings())
        await self._gate()
        return found

    async def slots(self, standing: Standing, since: int) -> Sequence[tuple[int, Tally]]:
        """Return the counts."""
        found = list(await self._book.slots(standing, since))
        self.judged.append(standing)
        await self._gate()
        return found

    async def write(self, standing: Standing, event: Event | None) -> None:
        """Replace a standing."""
        if self.refuses_writes:
            raise StoreUnavailable("the disk is full")
        await self._book.write(standing, event)

    async def _gate(self) -> None:
        if self.reading is not None:
            self.waiting += 1
            await self.reading.wait()
