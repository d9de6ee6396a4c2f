"""Places at sites: how many attempts may be under way to each, and in all, and who is next.

A site has a fair line of its own (`line`), and never more in it than it will soon serve: the rest stays in the store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mta.queue.lanes import Lane
from mta.queue.line import Line
from mta.queue.model import Stream
from mta.queue.pace import Pace

_REMEMBERED = 5000
"""Sites whose window is remembered while nobody writes to them."""


@dataclass(slots=True)
class _Site:
    """A site that is written to."""

    name: str
    places: int
    used: int = 0
    line: Line[asyncio.Future[None]] = field(default_factory=Line)


class Places:
    """Gives out places."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._sites: dict[str, _Site] = {}
        self._grown: OrderedDict[str, int] = OrderedDict()
        self._used = 0
        self._used_by_bulk = 0
        # sites with places of their own left, that wait for one of all, or of all of bulk's
        self._stopped: OrderedDict[str, None] = OrderedDict()
        self._stopped_bulk: OrderedDict[str, None] = OrderedDict()

    @property
    def sites(self) -> int:
        """How many sites are written to."""
        return len(self._sites)

    @property
    def used(self) -> int:
        """How many attempts are under way."""
        return self._used

    def is_full(self, site: str) -> bool:
        """Whether so many wait at a site that no more should be claimed for it."""
        found = self._sites.get(site)
        return found is not None and len(found.line) >= found.places

    def full(self) -> list[str]:
        """Return the sites that are full."""
        return [name for name in self._sites if self.is_full(name)]

    def free(self, site: str, lane: Lane) -> int:
        """Return how many more of a lane may come to a site. What waits of the other stream is in nobody's way."""
        found = self._sites.get(site)
        if found is None:
            return 3 * self._size(site)
        return max(0, 2 * found.places - found.line.waiting(lane.stream)) + max(0, found.places - found.used)

    @asynccontextmanager
    async def at(self, site: str, lane: Lane) -> AsyncIterator[None]:
        """Wait for a place at a site, and have it while this is entered."""
        found = self._site(site)
        if self._is_open(found, lane):
            self._count(found, lane, 1)
        else:
            await self._wait_for(found, lane)
        try:
            yield
        finally:
            self._give_back(found, lane)

    async def _wait_for(self, found: _Site, lane: Lane) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found.line.join(lane, waiter)
        self._serve(found)
        try:
            await waiter
        except asyncio.CancelledError:
            found.line.leave(lane, waiter)
            if waiter.cancelled():
                self._forget_if_done(found)
            else:
                # both at once: it was called and cancelled
                self._give_back(found, lane)
            raise

    def _is_open(self, site: _Site, lane: Lane) -> bool:
        """Whether there is a place, and nobody waits for it."""
        if len(site.line) or site.used >= site.places or self._used >= self._pace.at_once:
            return False
        return lane.stream is not Stream.BULK or self._bulk_may()

    def answered(self, site: str) -> None:
        """A host of a site took part in a transaction: it bears one more."""
        self._resize(site, min(self._size(site) + 1, self._pace.per_site))

    def troubled(self, site: str) -> None:
        """A site would not have so many."""
        self._resize(site, max(1, self._size(site) // 2))

    def _size(self, site: str) -> int:
        found = self._sites.get(site)
        if found is not None:
            return found.places
        return self._grown.get(site, min(self._pace.first_places, self._pace.per_site))

    def _resize(self, site: str, places: int) -> None:
        self._grown[site] = places
        self._grown.move_to_end(site)
        if len(self._grown) > _REMEMBERED:
            self._grown.popitem(last=False)
        if (found := self._sites.get(site)) is not None:
            found.places = places
            self._serve(found)

    def _site(self, name: str) -> _Site:
        found = self._sites.get(name)
        if found is None:
            found = self._sites[name] = _Site(name, self._size(name))
        return found

    def _serve(self, site: _Site) -> None:
        """Call those whose turn it is, as far as there are places."""
        while site.used < site.places and len(site.line):
            if self._used >= self._pace.at_once:
                self._stopped[site.name] = None
                return
            found = site.line.next(bulk=self._used_by_bulk < self._pace.bulk_at_once)
            if found is None:
                self._stopped_bulk[site.name] = None
                return
            lane, waiter = found
            if not waiter.done():
                self._count(site, lane, 1)
                waiter.set_result(None)

    def _give_back(self, site: _Site, lane: Lane) -> None:
        self._count(site, lane, -1)
        # other sites first: they stood before this one comes again
        while self._stopped and self._used < self._pace.at_once:
            self._serve_by_name(self._stopped.popitem(last=False)[0])
        while self._stopped_bulk and self._used < self._pace.at_once and self._bulk_may():
            self._serve_by_name(self._stopped_bulk.popitem(last=False)[0])
        self._serve(site)
        self._forget_if_done(site)

    def _bulk_may(self) -> bool:
        return self._used_by_bulk < self._pace.bulk_at_once

    def _serve_by_name(self, name: str) -> None:
        if (site := self._sites.get(name)) is not None:
            self._serve(site)

    def _count(self, site: _Site, lane: Lane, change: int) -> None:
        site.used += change
        self._used += change
        if lane.stream is Stream.BULK:
            self._used_by_bulk += change

    def _forget_if_done(self, site: _Site) -> None:
        if not site.used and not len(site.line) and self._sites.get(site.name) is site:
            del self._sites[site.name]
