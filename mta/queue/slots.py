"""How many attempts may be under way to one site: the rest wait here, in the order in which they came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mta.queue.seams import Site


@dataclass(slots=True)
class _Places:
    """A site's places, and who has or wants one."""

    semaphore: asyncio.Semaphore
    users: int = 0


class Slots:
    """Places at sites. A site that nobody writes to is forgotten."""

    def __init__(self, per_site: int) -> None:
        self._per_site = per_site
        self._sites: dict[str, _Places] = {}

    @asynccontextmanager
    async def of(self, site: Site) -> AsyncIterator[None]:
        """Wait for a place at a site, and have it while this is entered."""
        places = self._sites.setdefault(site.name, _Places(asyncio.Semaphore(self._per_site)))
        places.users += 1
        try:
            async with places.semaphore:
                yield
        finally:
            places.users -= 1
            if places.users == 0:
                self._sites.pop(site.name, None)

    @property
    def sites(self) -> int:
        """How many sites are written to."""
        return len(self._sites)
